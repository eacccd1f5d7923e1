"""Keyed fingerprints of arguments, results and identities: equal or not, and nothing else.

Arguments are compared as canonical JSON: keys sorted, positional and named arguments alike,
volatile ones left out.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def fingerprint(data: bytes, key: int) -> int:
    """Return 64 bits of BLAKE2b of some bytes, keyed, as a signed integer.

    Args:
        data: What to fingerprint.
        key: 64-bit key.
    """
    digest = blake2b(data, digest_size=8, key=key.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little", signed=True)


def value_fingerprint(value: object, key: int) -> int | None:
    """Return the fingerprint of a value, or None where it has no canonical form."""
    data = canonical(value)
    return None if data is None else fingerprint(data, key)


def canonical(value: object) -> bytes | None:
    """Return a value as canonical JSON, or None where it is not made of plain data.

    Data classes, pydantic models, enums, times and sets are plain data too. A text that is JSON
    counts as what it says, so that another order of keys is the same value.
    """
    try:
        if isinstance(value, str) and value[:1] in ("{", "["):
            with suppress(ValueError):
                value = orjson.loads(value)
        return orjson.dumps(value, _plain, _OPTIONS)
    except (TypeError, ValueError, RecursionError):
        return None


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
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        return dump(value)
    raise TypeError(type(value).__name__)
