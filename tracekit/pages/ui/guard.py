"""Who may ask: this machine's browser, on its own behalf, with the token that was printed.

A page of somebody else's may send requests to a local server, under its own name (DNS rebinding)
or from another origin. Neither knows the token; Host and Origin are checked besides.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy of every page: no script, nothing from elsewhere."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer."""


def named(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by their names as this module writes them: case means nothing in HTTP."""
    return {name.title(): value for name, value in headers}


@dataclass(frozen=True, slots=True)
class Guard:
    """What a request must bring.

    Attributes:
        token: The secret in the address that was printed.
        port: Where the server listens.
        cookie_port: Port in the name of the cookie: browsers share cookies between ports.
        sites: Relations to the page a request comes from, as Sec-Fetch-Site names them.
    """

    token: str
    port: int
    cookie_port: int
    sites: frozenset[str] = frozenset({"none", "same-origin"})

    @property
    def cookie_name(self) -> str:
        """Return the name of the cookie that holds the token."""
        return f"tracekit-{self.cookie_port}"

    def cookie(self) -> str:
        """Return the cookie as a header sets it."""
        return f"{self.cookie_name}={self.token}; Path=/; HttpOnly; SameSite=Strict"

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Return why a request is refused whoever sends it; empty where it is not.

        Args:
            headers: Headers of the request, as `named` returns them.
        """
        hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        if headers.get("Host", "").lower() not in hosts:
            return "this server answers to 127.0.0.1 and localhost only"
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in hosts:
            return "requests of other sites are not answered"
        if headers.get("Sec-Fetch-Site", "none") not in self.sites:
            return "requests of other sites are not answered"
        return ""

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request has the cookie."""
        try:
            cookies = SimpleCookie(headers.get("Cookie", ""))
        except CookieError:
            return False
        found = cookies.get(self.cookie_name)
        return found is not None and self._is_token(found.value)

    def brings(self, query: str) -> bool:
        """Return whether the query of an address has the token."""
        return any(map(self._is_token, parse_qs(query).get("token", [])))

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())
