"""A headless Chromium, driven through its DevTools protocol: pages as people get them.

`with Browser.launch() as browser, browser.page(1280) as page: page.open(url)`. A page keeps what
the console said and which addresses were asked for.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.connection import Connection

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
TIMEOUT_S = 60.0


def executable() -> str | None:
    """Return the browser of this machine; TRACEKIT_CHROMIUM names another."""
    named = os.environ.get("TRACEKIT_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@dataclass
class Page:
    """A tab."""

    browser: Browser
    session: str
    target: str
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    loaded: bool = False

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a command for this tab."""
        return self.browser.call(method, self.session, **params)

    def open(self, url: str) -> Self:
        """Go to an address and wait until it is loaded."""
        self.loaded = False
        self.call("Page.navigate", url=url)
        self.wait()
        return self

    def wait(self) -> None:
        """Wait until the page is loaded."""
        while not self.loaded:
            self.browser.receive()

    def submit(self, script: str) -> None:
        """Run a script that leads to another page, and wait for that."""
        self.loaded = False
        self.value(script)
        self.wait()

    def value(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str) -> Any:
        """Return the first value of an expression that is true, asked again with every frame."""
        wait = f"new Promise(done => {{const ask = () => {{const found = ({script}); "
        wait += "found ? done(found) : requestAnimationFrame(ask)}; ask()})"
        return self.value(wait)

    def text(self) -> str:
        """Return what a reader sees."""
        return str(self.value("document.body.innerText"))

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.value("document.scrollingElement.scrollWidth - window.innerWidth"))

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window as wide and high as this."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a picture."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def foreign(self, *own: str) -> list[str]:
        """Return the addresses asked for that begin with none of these."""
        return [url for url in self.requests if not url.startswith((*own, "data:", "blob:"))]


class Browser:
    """A running browser with one connection to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._number = 0
        self._results: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}

    @classmethod
    @contextlib.contextmanager
    def launch(cls) -> Iterator[Self]:
        """Start the browser with an empty profile, and end it."""
        command = executable()
        assert command is not None
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            process = subprocess.Popen(
                [command, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                assert process.stderr is not None
                address = next(
                    line.split()[-1] for line in process.stderr if "DevTools listening" in line
                )
                with connect(address, max_size=None, compression=None) as connection:
                    yield cls(connection)
            finally:
                process.terminate()
                process.communicate()

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Return the result of a command."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        self._connection.send(json.dumps(message))
        while number not in self._results:
            self.receive()
        answer = self._results.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def receive(self) -> None:
        """Take in one message: an answer, or something that happened in a page."""
        message = json.loads(self._connection.recv(TIMEOUT_S))
        if "id" in message:
            self._results[message["id"]] = message
            return
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None:
            _note(page, message["method"], message["params"])

    @contextlib.contextmanager
    def page(self, width: int = 1280) -> Iterator[Page]:
        """Open a tab with cookies of its own, in a window of this width."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"], target["targetId"])
        self._pages[page.session] = page
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.resize(width)
        try:
            yield page
        finally:
            del self._pages[page.session]
            self.call("Target.disposeBrowserContext", browserContextId=context)


def _note(page: Page, method: str, params: dict[str, Any]) -> None:
    if method == "Page.loadEventFired":
        page.loaded = True
    elif method == "Network.requestWillBeSent":
        page.requests.append(params["request"]["url"])
    elif method == "Network.webSocketCreated":
        page.requests.append(params["url"])
    elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
        page.console.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
    elif method == "Runtime.exceptionThrown":
        page.console.append(str(params["exceptionDetails"]))
    elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
        page.console.append(str([part.get("value") for part in params["args"]]))
