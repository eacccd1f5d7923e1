"""Bodies of OTLP/HTTP requests as the protobuf bytes they stand for.

Compressed bodies are limited while they inflate: a piece is reserved before it is allocated, and
nothing beyond the limit is ever made.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa

from tracekit.errors import InputError
from tracekit.otlp.files import loads
from tracekit.otlp.json_encoding import EncodingError, encode_request

if TYPE_CHECKING:
    from samplers.collector.web.budget import Lease

ENCODINGS: Final = ("identity", "gzip", "zstd")

_PIECE: Final = 1 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS
_TRACES: Final = frozenset({"resourceSpans", "resource_spans"})


class TooLargeError(Exception):
    """A body inflates to more than the limit."""


def inflate(body: bytes, encoding: str, limit: int, lease: Lease) -> bytes:
    """Return a body without its content encoding.

    Args:
        body: As it came.
        encoding: One of `ENCODINGS`.
        limit: Most bytes that may come out.
        lease: Charged with them, piece by piece.

    Raises:
        InputError: It is no such stream, or ends too early.
        TooLargeError: More than `limit` would come out.
        BudgetExceededError: The lease allows no more.
    """
    match encoding:
        case "gzip":
            return _gunzip(body, limit, lease)
        case "zstd":
            return _unzstd(body, limit, lease)
        case _:
            return body


def _gunzip(body: bytes, limit: int, lease: Lease) -> bytes:
    parts: list[bytes] = []
    left = limit
    rest = body
    try:
        while rest:  # a gzip stream may have several members
            member = zlib.decompressobj(_GZIP)
            while not member.eof:
                piece = min(_PIECE, left + 1)
                lease.take(piece)
                part = member.decompress(rest, piece)
                rest = member.unconsumed_tail
                if not part and not rest and not member.eof:
                    raise InputError("the gzip stream ends too early")
                left -= len(part)
                if left < 0:
                    raise TooLargeError
                parts.append(part)
            rest = member.unused_data
    except zlib.error as error:
        raise InputError(f"the gzip stream is corrupt ({error})") from error
    return b"".join(parts)


def _unzstd(body: bytes, limit: int, lease: Lease) -> bytes:
    parts: list[bytes] = []
    left = limit
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            while True:
                piece = min(_PIECE, left + 1)
                lease.take(piece)
                part = stream.read(piece)
                if not part:
                    return b"".join(parts)
                left -= len(part)
                if left < 0:
                    raise TooLargeError
                parts.append(part)
    except OSError as error:
        raise InputError(f"the zstd stream is corrupt or ends too early ({error})") from error


def from_json(body: bytes, nesting: int) -> bytes:
    """Return an OTLP/JSON body as protobuf bytes.

    Args:
        body: The document.
        nesting: How deep objects and arrays may lie within one another.

    Raises:
        InputError: It is no OTLP/JSON document of traces, or nested too deeply.
    """
    try:
        document = loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"not valid JSON: line {error.lineno:,}, column {error.colno:,}: {error.msg}"
        ) from error
    if not isinstance(document, dict):
        raise InputError("not an OTLP/JSON document: expected an object")
    if document and _TRACES.isdisjoint(document):
        raise InputError(
            f"not an OTLP/JSON document of traces: no resourceSpans, but {next(iter(document))!r}"
        )
    if _deeper(document, nesting):
        raise InputError(f"JSON is nested deeper than {nesting} levels")
    try:
        return encode_request(document)
    except EncodingError as error:
        raise InputError(str(error)) from error


def _deeper(document: dict[str, Any], limit: int) -> bool:
    """Whether containers lie deeper than a limit; level by level, since recursion has its own."""
    level: list[Any] = [document]
    for _ in range(limit):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return False
    return True
