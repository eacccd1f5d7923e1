"""The application's HTTP server: a thread per request, pages only, on the loopback address."""

from __future__ import annotations

import logging
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from tracekit.errors import TracekitError
from tracekit.pages.render import page, style
from tracekit.pages.ui import details, lists
from tracekit.pages.ui.guard import HEADERS, Guard, named
from tracekit.pages.ui.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.lake.lake import Lake
    from tracekit.pages.notebooks import Notebook

HOST: Final = "127.0.0.1"
_SESSION: Final = "/session/"
_HTML: Final = "text/html; charset=utf-8"

_log = logging.getLogger("tracekit")


class Server(ThreadingHTTPServer):
    """Pages about one lake, for whoever has the token.

    Attributes:
        state: The lake.
        guard: Who may ask.
        notebooks: What to list on the page of the notebooks, each with its address; empty: none.
        missing: Why there are no notebooks, where there are none.
    """

    daemon_threads = True

    def __init__(self, lake: Lake, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.state = State(lake)
        own = int(self.server_address[1])
        self.guard = Guard(secrets.token_urlsafe(24), own, own)
        self.notebooks: Sequence[tuple[Notebook, str]] = ()
        self.missing = ""

    @property
    def address(self) -> str:
        """Return the address to open, with the token."""
        return f"http://{HOST}:{self.guard.port}/?token={self.guard.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as above it
        """Leave a connection that broke at that: browsers close them as they like."""
        _log.debug("a request of %s broke", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "tracekit"
    sys_version = ""
    timeout = 20

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by http.server
        """Print nothing: addresses may hold the token, and sessions' ids."""

    def _answer(self) -> None:
        address = urlsplit(self.path)
        guard, headers = self.server.guard, named(self.headers.items())
        refusal = guard.refusal(headers)
        if refusal:
            self._send(403, _message("Refused", refusal))
        elif guard.brings(address.query):
            target = _without_token(address.path, address.query)
            self._send(303, "", {"Location": target}, known=True)
        elif not guard.knows(headers):
            words = "Open the address that `tracekit ui` printed: it holds the token."
            self._send(401, _message("Token missing", words))
        else:
            self._page(address.path, dict(parse_qsl(address.query)))

    def _page(self, path: str, words: dict[str, str]) -> None:
        if path == "/style.css":
            self._send(200, style(), {"Content-Type": "text/css; charset=utf-8"})
            return
        try:
            status, text = self._route(path, words)
        except TracekitError as error:
            status, text = 500, _message("This went wrong", str(error))
        except Exception:  # noqa: BLE001 - the page says so; the server goes on
            _log.exception("tracekit ui: the page %s failed", path)
            status, text = 500, _message("This went wrong", "The log of `tracekit ui` has more.")
        self._send(status, text)

    def _route(self, path: str, words: dict[str, str]) -> tuple[int, str]:
        state = self.server.state
        if path == "/":
            return lists.show(state, words)
        if path == "/notebooks":
            shown = page(
                "notebooks.html", notebooks=self.server.notebooks, missing=self.server.missing
            )
            return 200, shown
        if path.startswith(_SESSION):
            return details.show(state, unquote(path.removeprefix(_SESSION)))
        return 404, _message("No such page", "There is a list of sessions, and a page for each.")

    def _send(
        self, status: int, text: str, headers: dict[str, str] | None = None, *, known: bool = False
    ) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in (HEADERS | {"Content-Type": _HTML} | (headers or {})).items():
            self.send_header(name, value)
        if known:
            self.send_header("Set-Cookie", self.server.guard.cookie())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _message(title: str, message: str) -> str:
    return page("message.html", title=title, message=message)


def _without_token(path: str, query: str) -> str:
    rest = "&".join(part for part in query.split("&") if not part.startswith("token="))
    # A path of two slashes would be another host.
    return "/" + path.lstrip("/") + (f"?{rest}" if rest else "")
