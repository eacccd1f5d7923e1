"""Protobuf fields and OTLP attribute values as bytes, for `span_encoder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from tracekit.otlp.varints import varint

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS: Final = tuple(varint(n) for n in range(1 << 10))
"""Small lengths and counts as varints."""

_TRUE: Final = b"\x02\x10\x01"
_FALSE: Final = b"\x02\x10\x00"
_NONE: Final = b"\x00"

_double: Final = Struct("<d").pack
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1
_UINT64: Final = (1 << 64) - 1


def text_field(tag: bytes, text: str | None) -> bytes:
    """Return a text as a field; nothing for an empty one, which is the default."""
    if not text:
        return b""
    data = _utf8(text)
    return b"".join((tag, length(len(data)), data))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace")


def field(tag: bytes, body: bytes) -> bytes:
    """Return a length-delimited field."""
    return b"".join((tag, length(len(body)), body))


def length(size: int) -> bytes:
    """Return a length as a varint."""
    return LENGTHS[size] if size < len(LENGTHS) else varint(size)


def _str(value: str) -> bytes:
    data = _utf8(value)
    body = b"".join((b"\x0a", length(len(data)), data))
    return length(len(body)) + body


def _bytes(value: bytes) -> bytes:
    body = b"".join((b"\x3a", length(len(value)), value))
    return length(len(body)) + body


def _bool(value: bool) -> bytes:
    return _TRUE if value else _FALSE


def _int(value: int) -> bytes:
    if not _LEAST <= value <= _MOST:
        raise ValueError(f"{value} does not fit 64 bits")
    data = varint(value & _UINT64)
    return b"".join((LENGTHS[len(data) + 1], b"\x18", data))


def _float(value: float) -> bytes:
    return b"\x09\x21" + _double(value)


def _sequence(value: Sequence[Any]) -> bytes:
    out: list[bytes] = []
    for item in value:
        out += (b"\x0a", value_of(item))
    body = field(b"\x2a", b"".join(out))
    return length(len(body)) + body


def _mapping(value: Mapping[Any, Any]) -> bytes:
    out: list[bytes] = []
    for key, item in value.items():
        out.append(field(b"\x0a", (text_field(b"\x0a", str(key)) + b"\x12") + value_of(item)))
    body = field(b"\x32", b"".join(out))
    return length(len(body)) + body


def _none(_: None) -> bytes:
    return _NONE


_SIZED: Final[dict[type, Callable[[Any], bytes]]] = {
    str: _str,
    bool: _bool,
    int: _int,
    float: _float,
    bytes: _bytes,
    tuple: _sequence,
    list: _sequence,
    dict: _mapping,
    type(None): _none,
}


def value_of(value: Any) -> bytes:
    """Return an `AnyValue` with its length before it.

    Raises:
        ValueError: The value has no place in OTLP.
    """
    kind = type(value)
    return _SIZED[kind](value) if kind in _SIZED else _other(value)


def _other(value: Any) -> bytes:
    """Encode a value of a type that is derived from, or acts as, one of the known types."""
    for kind in (bool, str, int, float, bytes):
        if isinstance(value, kind):
            return _SIZED[kind](value)
    if isinstance(value, Sequence):
        return _sequence(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    raise ValueError(f"a {type(value).__name__} has no place in OTLP")
