"""An attribute's value as what its column holds. Pure functions over plain Python values.

A value is what an OTLP `AnyValue` says: None (empty), str, bool, int, float, bytes, a list or a
dict. The scanners share these functions, so that both read a value the same way.
"""

from __future__ import annotations

import json
import math
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tracekit.dialects.unpack import Form, parse
from tracekit.otlp.fingerprint import fingerprint
from tracekit.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

Value = str | int | float | bool
"""A value of a column."""

LIST_COLUMNS: Final = frozenset({"stop_raw"})
"""Columns whose text may itself be an array written as JSON or as a Python literal."""

_INT64: Final = range(-(1 << 63), 1 << 63)
_DECIMAL: Final = re.compile(r"-?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_NUMBER_LENGTH: Final = 64
_LARGEST: Final = sys.float_info.max


def _utf8(text: str) -> str:
    # JSON and Python literals can spell half a surrogate pair, which no UTF-8 text can hold.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _scalar_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _utf8(value)
    return repr(value) if isinstance(value, int | float) else None


def _joined(values: list[Any]) -> str | None:
    texts = [text for value in values if (text := _scalar_text(value)) is not None]
    return ",".join(texts) if texts else None


def _text(value: Any) -> str | None:
    text = _joined(value) if isinstance(value, list) else _scalar_text(value)
    return text or None


def _content(value: Any) -> str | None:
    structured = isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
    )
    if structured:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=bytes.hex)
        return _utf8(text)
    return _joined(value) if isinstance(value, list) else _scalar_text(value)


def _int(value: Any) -> int | None:
    number: int | None = None
    match value:
        case bool():
            pass
        case int():
            number = value
        case float() if value.is_integer():
            number = int(value)
        case str() if _DECIMAL.fullmatch(value):
            number = int(value)
    return number if number is not None and number in _INT64 else None


def _double(value: Any) -> float | None:
    number: float | None = None
    match value:
        case bool():
            pass
        case int() | float():
            number = float(value) if -_LARGEST <= value <= _LARGEST else None
        case str() if len(value) <= _NUMBER_LENGTH and _NUMBER.fullmatch(value):
            number = float(value)
    return number if number is not None and math.isfinite(number) else None


def _bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


_CONVERT: Final[dict[Kind, Callable[[Any], Value | None]]] = {
    Kind.SYMBOL: _text,
    Kind.TEXT: _text,
    Kind.CONTENT: _content,
    Kind.INT: _int,
    Kind.DOUBLE: _double,
    Kind.BOOL: _bool,
}


def coerce(kind: Kind, value: Any, *, key: int = 0, scale: float = 1.0) -> Value | None:
    """Return a value as a column of some kind holds it, or None where it cannot be one.

    * SYMBOL, TEXT: a string; numbers as Python writes them, booleans as true and false; the scalars
      of an array joined with a comma, its other elements left out. Nothing else, and never "".
    * CONTENT: the same, but "" stays, and a map or an array that holds arrays or maps becomes
      compact JSON (bytes in it in hexadecimal).
    * INT: an int; a double without fraction; a decimal string (a minus sign, up to 19 digits); if
      it fits 64 bits. No boolean.
    * DOUBLE: a double, an int, a numeric string of up to 64 characters; finite. No boolean.
    * BOOL: a boolean; "true" and "false" in any case.
    * HASH: the fingerprint of a string (as UTF-8), of bytes, or of the text that CONTENT would make
      of an array or a map; an int is a fingerprint already.

    Args:
        kind: Kind of the column.
        value: Value of the attribute.
        key: Fingerprint key, for HASH.
        scale: Factor from the attribute's unit to the column's, for DOUBLE.
    """
    if kind is Kind.HASH:
        if isinstance(value, list | dict):
            value = _content(value)
        if isinstance(value, str | bytes):
            return fingerprint(_utf8(value).encode() if isinstance(value, str) else value, key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    result = _CONVERT[kind](value)
    return result * scale if kind is Kind.DOUBLE and isinstance(result, float) else result


def spread_list(text: str) -> str | None:
    """Return the text of a LIST_COLUMNS column with an array in it joined: `["stop"]` is `stop`.

    The array is JSON or a Python literal. A text that is no array is returned as it is; an array
    without scalars is None.
    """
    if not text.startswith("[") or not text.endswith("]"):
        return text
    forms: tuple[Form, ...] = ("json", "python")
    for form in forms:
        with suppress(ValueError):
            parsed = parse(text, form)
            return _text(parsed) if isinstance(parsed, list) else text
    return text
