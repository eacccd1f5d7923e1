"""OTLP/JSON documents as OTLP protobuf bytes.

The encoding is the one of the OTLP specification: lowerCamelCase keys, trace and span ids in hex,
enums as integers, 64-bit integers as strings or numbers, bytes in base64, doubles as numbers or
"NaN" and "Infinity", unknown keys ignored, null as absent. Keys in snake_case and enums by name are
taken too, as several tools write them.

Wire bytes are written directly, field by field from tables made of the message descriptors; that
is several times faster than filling messages, because an attribute seen before costs one lookup.
"""

from __future__ import annotations

import base64
import binascii
import functools
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tracekit.otlp.varints import varint

Encoder = Callable[[Any], bytes]
"""Turns a JSON value into a field: its tag and its content."""

_HEX_FIELDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})
_CACHED_TEXT: Final = 256
"""Longest attribute value that is remembered; longer ones seldom repeat."""
_CACHE_SIZE: Final = 1 << 16
_INT_RANGE: Final = {
    FieldDescriptor.TYPE_INT64: (-(1 << 63), 1 << 63),
    FieldDescriptor.TYPE_FIXED64: (0, 1 << 64),
    FieldDescriptor.TYPE_UINT32: (0, 1 << 32),
    FieldDescriptor.TYPE_FIXED32: (0, 1 << 32),
    FieldDescriptor.TYPE_INT32: (-(1 << 31), 1 << 31),
}
_FIXED: Final = {FieldDescriptor.TYPE_FIXED64: "<Q", FieldDescriptor.TYPE_FIXED32: "<I"}
_WIRE: Final = {
    FieldDescriptor.TYPE_FIXED64: 1,
    FieldDescriptor.TYPE_FIXED32: 5,
    FieldDescriptor.TYPE_DOUBLE: 1,
    FieldDescriptor.TYPE_STRING: 2,
    FieldDescriptor.TYPE_BYTES: 2,
    FieldDescriptor.TYPE_MESSAGE: 2,
}
"""Wire types; all others are varints."""


class EncodingError(ValueError):
    """A JSON value does not fit the field it is for; the message names the field by its path."""


def encode_request(document: Mapping[str, Any]) -> bytes:
    """Return an OTLP/JSON traces document as `ExportTraceServiceRequest` bytes.

    Raises:
        EncodingError: A value does not fit its field, or values are nested beyond reason.
    """
    try:
        return _message(_table(ExportTraceServiceRequest.DESCRIPTOR), document)
    except RecursionError:
        raise EncodingError("attribute values are nested too deeply") from None


def _message(table: Mapping[str, Encoder], value: Any) -> bytes:
    if not isinstance(value, dict):
        raise EncodingError(f"expected an object, found {_brief(value)}")
    parts = []
    for key, item in value.items():
        encoder = table.get(key)
        if encoder is not None and item is not None:
            try:
                parts.append(encoder(item))
            except EncodingError as error:
                raise EncodingError(f"{key}: {error}") from None
    return b"".join(parts)


@functools.cache
def _table(message: Descriptor) -> dict[str, Encoder]:
    """Return the encoders of a message by its keys in JSON."""
    table: dict[str, Encoder] = {}
    for field in message.fields:
        table[field.json_name] = table[field.name] = _encoder(field)
    return table


def _encoder(field: FieldDescriptor) -> Encoder:
    tag = varint(field.number << 3 | _WIRE.get(field.type, 0))
    message = field.message_type
    if message is not None and message.full_name == KeyValue.DESCRIPTOR.full_name:
        return _key_values(tag)
    one = _scalar(field, tag) if message is None else _submessage(message, tag)
    return _repeated(one) if field.is_repeated else one


def _repeated(one: Encoder) -> Encoder:
    def encode(values: Any) -> bytes:
        return b"".join([one(value) for value in _list(values)])

    return encode


def _submessage(message: Descriptor, tag: bytes) -> Encoder:
    def encode(value: Any) -> bytes:  # the table is looked up late: messages contain themselves
        body = _message(_table(message), value)
        return tag + varint(len(body)) + body

    return encode


def _scalar(field: FieldDescriptor, tag: bytes) -> Encoder:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return lambda value: tag + _sized(_text(value).encode())
        case FieldDescriptor.TYPE_BYTES:
            decode = _hex if field.name in _HEX_FIELDS else _base64
            return lambda value: tag + _sized(decode(_text(value)))
        case FieldDescriptor.TYPE_DOUBLE:
            return lambda value: tag + struct.pack("<d", _double(value))
        case FieldDescriptor.TYPE_BOOL:
            return lambda value: tag + (b"\x01" if _bool(value) else b"\x00")
        case FieldDescriptor.TYPE_ENUM:
            numbers = _enum_numbers(field.enum_type)
            return lambda value: tag + _varint(_enum(value, numbers))
        case _:
            return _integer(field.type, tag)


def _integer(kind: int, tag: bytes) -> Encoder:
    low, high = _INT_RANGE[kind]
    layout = _FIXED.get(kind)

    def encode(value: Any) -> bytes:
        number = _int(value)
        if not low <= number < high:
            raise EncodingError(f"{number} is out of range")
        return tag + (struct.pack(layout, number) if layout else _varint(number))

    return encode


def _key_values(tag: bytes) -> Encoder:
    """Return the encoder of attributes; those with short text values come from the cache."""

    def encode(values: Any) -> bytes:
        parts = []
        for value in _list(values):
            parts.append(tag)
            parts.append(_key_value(value))
        return b"".join(parts)

    return encode


_cache: dict[tuple[str, str, str], bytes] = {}


def _key_value(pair: Any) -> bytes:
    """Return one attribute with its length before it."""
    try:
        key = pair["key"]
        ((kind, content),) = pair["value"].items()
    except (KeyError, TypeError, ValueError, AttributeError):
        return _encode_key_value(pair)  # odd but allowed: no value, an empty one, other fields
    if type(content) is not str or type(key) is not str or len(content) > _CACHED_TEXT:
        return _encode_key_value(pair)
    known = _cache.get((key, kind, content))
    if known is None:
        known = _encode_key_value({"key": key, "value": pair["value"]})
        if len(_cache) >= _CACHE_SIZE:
            _cache.clear()
        _cache[key, kind, content] = known
    return known


def _encode_key_value(pair: Any) -> bytes:
    return _sized(_message(_table(KeyValue.DESCRIPTOR), pair))


def _sized(content: bytes) -> bytes:
    return varint(len(content)) + content


def _varint(number: int) -> bytes:
    return varint(number & 0xFFFF_FFFF_FFFF_FFFF)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise EncodingError(f"expected an array, found {_brief(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise EncodingError(f"expected a string, found {_brief(value)}")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise EncodingError(f"expected true or false, found {_brief(value)}")
    return value


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise EncodingError(f"expected hex digits, found {_brief(text)}") from None


def _base64(text: str) -> bytes:
    try:
        if "-" in text or "_" in text:
            return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise EncodingError(f"expected base64, found {_brief(text)}") from None


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    try:
        if isinstance(value, str):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
    except ValueError:
        pass
    raise EncodingError(f"expected an integer, found {_brief(value)}")


def _double(value: Any) -> float:
    if isinstance(value, (float, int)) and not isinstance(value, bool):
        return float(value)
    try:
        if isinstance(value, str):
            return float(value)  # "NaN", "Infinity" and "-Infinity" are spelled alike
    except ValueError:
        pass
    raise EncodingError(f"expected a number, found {_brief(value)}")


def _enum_numbers(enum: EnumDescriptor | None) -> dict[str, int]:
    return {value.name: value.number for value in enum.values} if enum else {}


def _enum(value: Any, numbers: Mapping[str, int]) -> int:
    if isinstance(value, str) and value in numbers:
        return numbers[value]
    return _int(value)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004  fits a line
