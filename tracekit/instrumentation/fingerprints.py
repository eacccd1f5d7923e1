"""Keyed fingerprints of arguments, results and identities: equal or not, and nothing else.

Arguments are compared as canonical JSON: keys sorted, positional and named arguments alike,
volatile ones left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import orjson

from tracekit.instrumentation.reductions import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS

LIMIT: Final = 1024 * 1024
"""Bytes that are fingerprinted: of more, the first of them and the length."""

_LOOKED_AT: Final = 256
"""Values looked at, to find out whether there is more."""

_FEW: Final = 16

_SIZED: Final = frozenset({str, bytes, bytearray, dict, list, tuple})


def fingerprint(data: bytes, key: int) -> int:
    """Return 64 bits of BLAKE2b of some bytes, keyed, as a signed integer.

    Args:
        data: What to fingerprint.
        key: 64-bit key.
    """
    digest = blake2b(data, digest_size=8, key=key.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little", signed=True)


def value_fingerprint(value: object, key: int) -> int | None:
    """Return the fingerprint of a value, or None where nothing in it can be compared.

    Beyond `LIMIT` bytes, values that begin alike and are as long have the same fingerprint.
    """
    is_large = _is_large(value)
    data = Reduction(_plain, LIMIT).json(value) if is_large else canonical(value)
    if data is None:
        return None
    if len(data) > LIMIT and not is_large:
        data = b"%b%d" % (data[:LIMIT], len(data))
    return fingerprint(data, key)


def canonical(value: object) -> bytes | None:
    """Return a value as canonical JSON, or None where there is no plain data in it.

    Data classes, pydantic models, enums, times, decimals, paths and sets are plain data too. A text
    that is JSON counts as what it says, so that another order of keys is the same value. Of any
    other object only its type is compared.
    """
    try:
        if isinstance(value, str) and value[:1] in ("{", "["):
            with suppress(ValueError):
                value = orjson.loads(value)
        return orjson.dumps(value, _plain, _OPTIONS)
    except (TypeError, ValueError, RecursionError):
        return Reduction(_plain).json(value)


def _is_large(value: Any) -> bool:
    """Return whether a value is, as far as is looked, longer than the limit as JSON."""
    kind = type(value)
    if kind not in _SIZED:
        return False
    if kind is str:
        return len(value) > LIMIT
    if kind is dict and len(value) <= _FEW:  # arguments, as most are
        for each in value.values():
            kind = type(each)
            if kind in _SIZED and (kind is not str or len(each) > LIMIT // _FEW):
                break
        else:
            return False
    return _holds_much(value)


def _holds_much(value: Any) -> bool:
    room = LIMIT
    waiting = [value]
    for each in waiting:
        kind = type(each)
        if kind is str or kind is bytes or kind is bytearray:
            room -= len(each)
        elif kind is dict or kind is list or kind is tuple:
            room -= 2 * len(each)  # as JSON, with the comma
            if len(waiting) < _LOOKED_AT:
                inside = each.values() if kind is dict else each
                waiting.extend(islice(inside, _LOOKED_AT))
        if room < 0:
            return True
    return False


def named(
    parameters: tuple[str, ...],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    volatile: Collection[str] = (),
) -> dict[str, object]:
    """Return arguments by name.

    Args:
        parameters: Names of the positional parameters; the empty name is left out (`self`).
        args: Positional arguments.
        kwargs: Keyword arguments.
        volatile: Names to leave out.
    """
    found: dict[str, object] = dict(zip(parameters, args, strict=False))
    found.pop("", None)
    if len(args) > len(parameters):
        found["*"] = args[len(parameters) :]
    found.update(kwargs)
    for name in volatile:
        found.pop(name, None)
    return found


def _plain(value: Any) -> Any:
    for kinds, convert in _CONVERTED:
        if isinstance(value, kinds):
            return convert(value)
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        return dump(value)
    raise TypeError(type(value).__name__)


def _ordered(value: Any) -> list[Any]:
    return sorted(value, key=repr)


def _named_class(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


_CONVERTED: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    ((set, frozenset), _ordered),
    (bytes, bytes.hex),
    (bytearray, bytearray.hex),
    ((Decimal, PurePath, timedelta), str),
    ((tuple, deque), list),
    (Mapping, dict),
    (type, _named_class),
)
"""What orjson does not write itself, and as what it is written."""
