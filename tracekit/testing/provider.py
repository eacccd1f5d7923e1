"""A model provider on loopback that answers as it is told.

    with ScriptedProvider(json_reply({"choices": [...]}), error_reply(429)) as provider:
        client = openai.OpenAI(base_url=provider.url + "/v1", api_key="none")

A real HTTP server, for the real SDKs: replies are given in order, one per request, whatever its
path. Standard library only.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked.

    Attributes:
        method: HTTP method.
        path: Path with the query.
        headers: Headers by lower-case name.
        body: The body as sent.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as the JSON it is."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer.

    Attributes:
        chunks: The body; more than one chunk are sent one by one, as a stream.
        status: HTTP status.
        headers: Headers beside those that belong to the body.
        is_stream: Send with chunked transfer encoding.
        cut: Break the connection after so many chunks; None sends all. A body that is no stream
            is broken off in its middle, whatever the number.
        waits: Number of a chunk, from 0 -> what to wait for before it is sent.
    """

    chunks: Sequence[bytes] = (b"",)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    is_stream: bool = False
    cut: int | None = None
    waits: Mapping[int, threading.Event] = field(default_factory=dict)

    def cut_after(self, chunks: int) -> Reply:
        """Return the same reply, broken off."""
        return replace(self, cut=chunks)


def json_reply(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """Answer with a JSON document."""
    kind = {"content-type": "application/json"}
    return Reply((json.dumps(document).encode(),), status, {**kind, **(headers or {})})


def error_reply(
    status: int, document: object = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """Refuse; without a document with one that names no code."""
    body = {"error": {"message": f"status {status}"}} if document is None else document
    return json_reply(body, status, headers)


def sse_event(data: object, name: str | None = None) -> bytes:
    """Return one server-sent event; data that is no text becomes JSON."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def sse_reply(
    events: Iterable[object],
    *,
    names: str | None = None,
    done: str | None = None,
    encoding: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Answer with a stream of server-sent events, one chunk each.

    Args:
        events: Data of the events.
        names: Field of the data that is the event's name as well.
        done: Text of a last event, `[DONE]`.
        encoding: `gzip` compresses the stream.
        headers: Further headers.
    """
    chunks = [sse_event(data, _name(data, names)) for data in events]
    if done is not None:
        chunks.append(sse_event(done))
    known = {"content-type": "text/event-stream; charset=utf-8", **(headers or {})}
    if encoding == "gzip":
        chunks = [gzip.compress(b"".join(chunks))]
        known["content-encoding"] = encoding
    return Reply(tuple(chunks), headers=known, is_stream=True)


def _name(data: object, field: str | None) -> str | None:
    return data.get(field) if field and isinstance(data, dict) else None


class ScriptedProvider:
    """The server; a context manager.

    Attributes:
        requests: What was asked so far.
    """

    def __init__(self, *replies: Reply, answer: Callable[[Request], Reply] | None = None) -> None:
        """Make a server; it listens from the beginning of the `with` block.

        Args:
            replies: What to answer, in order.
            answer: Asked for a reply when the script is at its end; without it, error 500.
        """
        self.requests: list[Request] = []
        self._replies = deque(replies)
        self._answer = answer
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Address without a path: `http://127.0.0.1:40000`."""
        if self._server is None:
            raise RuntimeError("the provider is not running: use it in a `with` block")
        return f"http://{HOST}:{self._server.server_address[1]}"

    def add(self, *replies: Reply) -> None:
        """Go on with further replies."""
        with self._lock:
            self._replies.extend(replies)

    def reply_to(self, request: Request) -> Reply:
        """Return the next reply, and note what was asked."""
        with self._lock:
            self.requests.append(request)
            if self._replies:
                return self._replies.popleft()
        if self._answer is not None:
            return self._answer(request)
        return error_reply(500, {"error": {"message": f"nothing scripted for {request.path}"}})

    def __enter__(self) -> Self:
        self._server = _Server(self)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Handlers wait for the next request of a connection a client keeps: closing waits for none.
    block_on_close = False

    def __init__(self, provider: ScriptedProvider) -> None:
        super().__init__((HOST, 0), _Handler)
        self.provider = provider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the script."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and chunks go out at once: a client that delays its acknowledgements costs 40 ms each.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer."""
        self._respond()

    def do_GET(self) -> None:
        """Answer."""
        self._respond()

    def _respond(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        reply = self.server.provider.reply_to(Request(self.command, self.path, headers, body))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.is_stream:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(sum(map(len, reply.chunks))))
        self.end_headers()
        if reply.is_stream:
            self._stream(reply)
        else:
            whole = b"".join(reply.chunks)
            self.wfile.write(whole if reply.cut is None else whole[: len(whole) // 2])
        if reply.cut is not None:
            self.close_connection = True

    def _stream(self, reply: Reply) -> None:
        for number, chunk in enumerate(reply.chunks[: reply.cut]):
            if number in reply.waits:
                reply.waits[number].wait()
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            self.wfile.flush()
        if reply.cut is None:
            self.wfile.write(b"0\r\n\r\n")
