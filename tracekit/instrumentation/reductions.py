"""Values that have no JSON form as a whole, reduced to what can be compared."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import orjson

from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_DEEPEST: Final = 64
_MOST: Final = 20_000
"""Values that are looked at; more are left out with their number."""

_SCALARS: Final = (bool, float, type(None))


class Reduction:
    """Reduces one value: what has no JSON form becomes the name of its type.

    Attributes:
        room: Bytes of text that are still taken; None takes all.
    """

    def __init__(self, plain: Any, room: int | None = None) -> None:
        self._plain = plain
        self.room = room
        self._left = _MOST
        self._says = False

    def json(self, value: object) -> bytes | None:
        """Return what is left as JSON, or None where nothing is."""
        try:
            data = orjson.dumps(self._reduced(value, 0), None, _OPTIONS)
        except Exception:  # noqa: BLE001 - objects of the host's own may raise anything
            return None
        return data if self._says else None

    def _reduced(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return f"<{type(value).__name__}>"
        if isinstance(value, (str, bytes, bytearray)):
            return self._text(value)
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple, deque)):
            return self._items(value, depth)
        if isinstance(value, (set, frozenset)):
            return sorted(self._items(value, depth), key=_text)
        return self._scalar(value, depth)

    def _text(self, value: str | bytes | bytearray) -> str:
        self._says = True
        size = len(value)
        if self.room is not None:
            value = value[: self.room]
            self.room -= len(value)
        text = as_text(value) if isinstance(value, str) else value.hex()
        return text if len(value) == size else f"{text}<{size}>"

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found = {}
        items = value.items()
        # In any order of keys the same values must be left out.
        within = items if len(items) > self._left else sorted(items, key=_key)
        for number, (key, each) in enumerate(within):
            if self._left <= 0:
                found["<more>"] = len(value) - number
                break
            name = key if isinstance(key, str) else _text(self._reduced(key, depth + 1))
            found[as_text(name)] = self._reduced(each, depth + 1)
        return found

    def _items(self, value: Any, depth: int) -> list[Any]:
        found = []
        for number, each in enumerate(value):
            if self._left <= 0:
                found.append(f"<{len(value) - number} more>")
                break
            found.append(self._reduced(each, depth + 1))
        return found

    def _scalar(self, value: Any, depth: int) -> Any:
        if isinstance(value, _SCALARS):
            self._says = True
            return value
        if isinstance(value, int):
            self._says = True
            return str(value) if value.bit_length() > 63 else int(value)  # noqa: PLR2004 - of JSON's
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inside = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
            return self._mapping(inside, depth)
        try:
            known = orjson.loads(orjson.dumps(value))  # times, UUIDs, enumerations
        except TypeError:
            known = self._known(value)
        if known is value:
            return f"<{type(value).__module__}.{type(value).__qualname__}>"
        return self._reduced(known, depth + 1)

    def _known(self, value: Any) -> Any:
        try:
            return self._plain(value)
        except Exception:  # noqa: BLE001 - a method of the host's own
            return value


def _key(item: tuple[Any, Any]) -> str:
    return item[0] if isinstance(item[0], str) else ""


def _text(reduced: Any) -> str:
    return reduced if isinstance(reduced, str) else orjson.dumps(reduced, None, _OPTIONS).decode()
