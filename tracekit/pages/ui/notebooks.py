"""The notebooks as applications: marimo's server beside ours, behind the same token."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

from tracekit.pages.notebooks import VARIABLE, can_run, notebooks
from tracekit.pages.ui.guard import Guard, named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tracekit.pages.ui.server import Server

_MISSING: Final = (
    "The notebooks need marimo, which is not installed: install tracekit-agents[notebooks], then "
    "start `tracekit ui` again."
)
_POLICY: Final = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""marimo's pages are scripts; what they may not do is ask anybody else."""


@contextlib.contextmanager
def served(server: Server, lake: Path) -> Iterator[None]:
    """Serve the notebooks as long as the block runs, and tell the server where; or why not.

    Args:
        server: The application's server.
        lake: The lake they read.
    """
    if not can_run():
        server.missing = _MISSING
        server.notebooks = [(notebook, "") for notebook in notebooks()]
        yield
        return
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        port = int(listening.getsockname()[1])
        ours = server.guard
        guard = Guard(
            ours.token, port, ours.cookie_port, frozenset({"none", "same-origin", "same-site"})
        )
        os.environ[VARIABLE] = str(lake)  # marimo runs the notebooks in this process
        with _running(guarded(_application(), guard), listening):
            server.notebooks = [
                (notebook, f"http://127.0.0.1:{port}/{notebook.name}/") for notebook in notebooks()
            ]
            yield


def _application() -> Any:
    import marimo  # noqa: PLC0415 - an extra, and slow to load

    builder = marimo.create_asgi_app(quiet=True, include_code=False)
    for notebook in notebooks():
        builder = builder.with_app(path=f"/{notebook.name}", root=str(notebook.path))
    return builder.build()


@contextlib.contextmanager
def _running(application: Any, listening: socket.socket) -> Iterator[None]:
    import uvicorn  # noqa: PLC0415 - comes with marimo

    config = uvicorn.Config(application, log_level="warning", access_log=False, server_header=False)
    runner = uvicorn.Server(config)
    thread = threading.Thread(
        target=runner.run, kwargs={"sockets": [listening]}, name="notebooks", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        runner.should_exit = True
        thread.join(5)


def guarded(application: Any, guard: Guard) -> Any:
    """Return an ASGI application that answers only what a guard lets through."""

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await application(scope, receive, send)
            return
        pairs = (
            (name.decode("latin-1"), text.decode("latin-1")) for name, text in scope["headers"]
        )
        headers = named(pairs)
        if guard.refusal(headers) or not guard.knows(headers):
            await _refuse(scope["type"], send)
            return

        async def confined(message: Any) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.encode())
                message = message | {"headers": [*message.get("headers", []), policy]}
            await send(message)

        await application(scope, receive, confined)

    return asked


async def _refuse(kind: str, send: Any) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": 403, "headers": []})
    await send({"type": "http.response.body", "body": b"refused: come from `tracekit ui`"})
