"""Protobuf files of traces: one request, or many with a length before each.

Three framings are in use. A *plain* file is one `ExportTraceServiceRequest`; as all of its content
is one repeated field, it is read field by field and never held as a whole, and several requests
written one after the other read the same way. A *delimited* file has a varint length before each
request, as protobuf libraries write them. A *sized* file has the length as four bytes, big-endian,
as the OpenTelemetry Collector's file exporter writes it, with `compression: zstd` around each
request and with requests in JSON too.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from tracekit.otlp.encode import RESOURCE_SPANS_TAG
from tracekit.otlp.streams import ZSTD_MAGIC, Stream
from tracekit.otlp.varints import LONGEST, read_varint, varint

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEN: Final = 2
_SIZES: Final = {1: 8, 5: 4}
"""Bytes of the fixed-size wire types."""
_RESOURCE_FIELDS: Final = frozenset({1, 2, 3, 1000})
"""resource, scope_spans, schema_url, and what instrumentation libraries were before scopes."""


class Framing(enum.Enum):
    """How the requests of a protobuf file are told apart."""

    PLAIN = "one request"
    DELIMITED = "requests with a varint length before each"
    SIZED = "requests with a 4-byte big-endian length before each"


class _Short(Exception):  # noqa: N818  not an error: the bytes at hand end here
    pass


def framing_of(head: bytes) -> tuple[Framing, bool] | None:
    """Tell the framing from the first bytes of a file.

    Returns:
        The framing, and whether the first record was there as a whole and held together; None for
        what is no protobuf file of telemetry.
    """
    if _sized(head):
        return Framing.SIZED, True
    for framing, check in ((Framing.PLAIN, _plain), (Framing.DELIMITED, _delimited)):
        try:
            if check(head):
                return framing, True
        except _Short:
            return framing, False
        except (IndexError, ValueError):
            continue
    return None


def _sized(head: bytes) -> bool:
    size = int.from_bytes(head[:4], "big")
    body = head[4 : 4 + size]
    if body.startswith((b"{", ZSTD_MAGIC)):
        return not head.lstrip().startswith((b"{", b"["))  # indented JSON looks much like it
    try:
        return bool(body) and _message(body, size)
    except _Short:
        return True
    except (IndexError, ValueError):
        return False


def _delimited(head: bytes) -> bool:
    size, at = read_varint(head, 0)
    return size > 0 and _message(head[at : at + size], size)


def _plain(head: bytes) -> bool:
    if head[0] != RESOURCE_SPANS_TAG:
        return False
    size, at = read_varint(head, 1)
    return _resource(head[at : at + size], size)


def _message(body: bytes, size: int) -> bool:
    """Check that a request of `size` bytes consists of resource records."""
    at = 0
    while at < size:
        if at >= len(body):
            raise _Short
        if body[at] != RESOURCE_SPANS_TAG:
            return False
        length, at = read_varint(body, at + 1)
        if at + length > size or not _resource(body[at : at + length], length):
            return False
        at += length
    return True


def _resource(body: bytes, size: int) -> bool:
    """Check that a resource record of `size` bytes holds the fields of one, each inside it."""
    at = 0
    while at < size:
        if at >= len(body):
            raise _Short
        tag, at = read_varint(body, at)
        if tag & 7 != _LEN or tag >> 3 not in _RESOURCE_FIELDS:
            return False
        length, at = read_varint(body, at)
        at += length
    return at == size


def signal_of(request: bytes) -> str:
    """Tell what a request carries from its first item: `traces`, `logs` or `metrics`.

    The three have the same outer shape. A span starts with a 16-byte trace id and an 8-byte span
    id; a log record with a fixed-size time or a severity; a metric with its name, and all of its
    fields have a length. What starts as neither counts as a span: the scanner names its faults.
    """
    try:
        item = _inner(_inner(_inner(request, 1), 2), 2)
        if not item:
            return "traces"
        tag = item[0]
        if tag != RESOURCE_SPANS_TAG:
            return "logs" if tag & 7 != _LEN else "traces"
        return "metrics" if _has_name(item) and _all_sized(item) else "traces"
    except (IndexError, ValueError):
        return "traces"


def _has_name(item: bytes) -> bool:
    size, at = read_varint(item, 1)
    has_ids = size == 16 and item[at + size : at + size + 2] == b"\x12\x08"  # noqa: PLR2004
    return size > 0 and not has_ids


def _all_sized(body: bytes) -> bool:
    at = 0
    while at < len(body):
        tag, at = read_varint(body, at)
        if tag & 7 != _LEN:
            return False
        length, at = read_varint(body, at)
        at += length
    return True


def _inner(body: bytes, field: int) -> bytes:
    """Return the first length-delimited field of that number; empty without one."""
    at = 0
    while at < len(body):
        tag, at = read_varint(body, at)
        if tag & 7 == _LEN:
            length, at = read_varint(body, at)
            if tag >> 3 == field:
                return body[at : at + length]
            at += length
        elif tag & 7 == 0:
            _, at = read_varint(body, at)
        else:
            at += _SIZES[tag & 7] if tag & 7 in _SIZES else len(body)
    return b""


def requests(stream: Stream, framing: Framing) -> Iterator[bytes]:
    """Yield the requests of a protobuf file; of a plain file, one per resource.

    Raises:
        InputError: A length points beyond the file or the limit, or the file is something else.
    """
    if framing is Framing.SIZED:
        return _sized_requests(stream)
    if framing is Framing.DELIMITED:
        return _delimited_requests(stream)
    return _plain_requests(stream)


def _sized_requests(stream: Stream) -> Iterator[bytes]:
    while prefix := stream.upto(4):
        if len(prefix) < 4:  # noqa: PLR2004
            raise stream.error("the file ends within a length")
        yield stream.exactly(int.from_bytes(prefix, "big"), "a request")


def _delimited_requests(stream: Stream) -> Iterator[bytes]:
    while (size := _stream_varint(stream)) is not None:
        request = stream.exactly(size, "a request")
        if request and request[0] != RESOURCE_SPANS_TAG:
            raise stream.error("no OTLP request before here: the lengths do not add up")
        yield request


def _plain_requests(stream: Stream) -> Iterator[bytes]:
    while (tag := _stream_varint(stream)) is not None:
        if tag & 7 != _LEN:
            raise stream.error(f"tag {tag} belongs to no field of an OTLP request")
        size = _stream_varint(stream)
        if size is None:
            raise stream.error("the file ends within a length")
        record = stream.exactly(size, "a resource")
        if tag == RESOURCE_SPANS_TAG:  # fields of later versions are passed over
            yield bytes([RESOURCE_SPANS_TAG]) + varint(size) + record


def _stream_varint(stream: Stream) -> int | None:
    """Consume a varint; None at the end of the stream."""
    data = stream.upto(1)
    if not data:
        return None
    while data[-1] & 0x80:
        byte = stream.upto(1)
        if not byte or len(data) == LONGEST:
            raise stream.error("no valid length here: not an OTLP protobuf file, or a damaged one")
        data += byte
    return read_varint(data, 0)[0]
