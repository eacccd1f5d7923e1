"""Taking bodies apart as they pass by: content encodings, server-sent events, AWS event frames."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from tracekit.instrumentation.runtime import count

if TYPE_CHECKING:
    from tracekit.instrumentation.clients.reading import Reading

LIMIT: Final = 16 * 1024 * 1024
"""Largest body, and largest event of a stream, that is looked at, in bytes."""

_FRAME_OVERHEAD: Final = 16
"""Bytes of an AWS frame that are neither headers nor payload."""


class Body(Protocol):
    """Takes the decoded bytes of one response."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes, however they were cut."""
        ...

    def end(self) -> None:
        """Note that there are no more."""
        ...


class Document:
    """A body that is one JSON document."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._size += len(data)
        if self._size <= LIMIT:
            self._parts.append(data)

    def end(self) -> None:
        """Read the document."""
        if self._size > LIMIT:
            count("content_too_large")
        elif self._parts:
            self._reading.document(b"".join(self._parts))
        self._parts.clear()


class Events:
    """A body of server-sent events."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._buffer = bytearray()
        self._has_return = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes; lines may end in any of the three ways the format allows."""
        if self._has_return:
            data = b"\r" + data
        self._has_return = data.endswith(b"\r")
        if self._has_return:
            data = data[:-1]
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        seen = max(len(self._buffer) - 1, 0)
        self._buffer += data
        while (end := self._buffer.find(b"\n\n", seen)) >= 0:
            self._event(bytes(self._buffer[:end]))
            del self._buffer[: end + 2]
            seen = 0
        if len(self._buffer) > LIMIT:
            count("content_too_large")
            self._buffer.clear()

    def end(self) -> None:
        """Read what the last event has, where nothing ended it."""
        self._event(bytes(self._buffer))
        self._buffer.clear()

    def _event(self, block: bytes) -> None:
        name, data = b"", []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.strip()
        if data:
            self._reading.event(name.decode(errors="replace"), b"\n".join(data))


class Frames:
    """A body of AWS event frames around a model's own events.

    A frame: total length, length of the headers and CRC of both (12 bytes), headers, payload, CRC.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data
        while len(self._buffer) >= _FRAME_OVERHEAD:
            total = int.from_bytes(self._buffer[:4], "big")
            headers = int.from_bytes(self._buffer[4:8], "big")
            if not _FRAME_OVERHEAD + headers <= total <= LIMIT:
                raise ValueError(f"not a frame: {total} bytes with {headers} of headers")
            if len(self._buffer) < total:
                return
            self._frame(bytes(self._buffer[12 + headers : total - 4]))
            del self._buffer[:total]

    def end(self) -> None:
        """Forget an incomplete frame."""
        self._buffer.clear()

    def _frame(self, payload: bytes) -> None:
        document = orjson.loads(payload)
        inner = document.get("bytes")
        data = base64.b64decode(inner) if isinstance(inner, str) else payload
        event = orjson.loads(data)
        name = event.get("type", "") if isinstance(event, dict) else ""
        self._reading.event(str(name), data)


class Inflated:
    """Undoes gzip or deflate in front of another body."""

    def __init__(self, body: Body, *, raw: bool) -> None:
        self._body = body
        self._maybe_raw = raw
        # 32: a gzip or a zlib header, whichever is there.
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def feed(self, data: bytes) -> None:
        """Take the next compressed bytes."""
        try:
            text = self._inflate.decompress(data)
        except zlib.error:
            if not self._maybe_raw:
                raise
            # Some servers send deflate without the header the standard asks for.
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            text = self._inflate.decompress(data)
        self._maybe_raw = False
        self._body.feed(text)

    def end(self) -> None:
        """Pass on what is left."""
        self._body.feed(self._inflate.flush())
        self._body.end()


class Chunks:
    """A stream an SDK has cut into JSON documents itself: each `feed` is one."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        reading.is_stream = True

    def feed(self, data: bytes) -> None:
        """Take the next document."""
        self._reading.event("", data)

    def end(self) -> None:
        """Do nothing: documents are complete."""


class Unlabelled:
    """A body whose content type says nothing: its first character tells."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._body: Document | Events | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        start = data.lstrip()[:1]
        if self._body is None and start:
            is_json = start in {b"{", b"["}
            self._body = (Document if is_json else Events)(self._reading)
            self._reading.is_stream = not is_json
        if self._body is not None:
            self._body.feed(data)

    def end(self) -> None:
        """Pass it on."""
        if self._body is not None:
            self._body.end()


class Unread:
    """A body nobody here can read: audio, an unknown encoding."""

    def feed(self, data: bytes) -> None:
        """Let it pass."""

    def end(self) -> None:
        """Do nothing."""


_FORMS: Final = (
    ("text/event-stream", Events),
    ("application/vnd.amazon.eventstream", Frames),
    ("application/json", Document),
    ("text/plain", Unlabelled),
    ("", Unlabelled),
)


def body_for(reading: Reading, content_type: str, encoding: str) -> Body:
    """Return what reads a body.

    Args:
        reading: Filled in as the body passes.
        content_type: As the response's header says.
        encoding: Content encoding as the header says; empty where it is undone already.
    """
    kind = content_type.partition(";")[0].strip().lower()
    form = next((form for name, form in _FORMS if kind == name), None)
    if form is None:
        return Unread()
    body: Body = form(reading)
    reading.is_stream = form in {Events, Frames}
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return Inflated(body, raw=False)
        case "deflate":
            return Inflated(body, raw=True)
    count("unread_stream")
    reading.is_stream = False
    return Unread()
