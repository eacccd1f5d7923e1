"""Captured content: off by default, and redacted before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from tracekit.instrumentation.runtime import count, failed, latched, worked

if TYPE_CHECKING:
    from tracekit.instrumentation.runtime import Redacts, Settings

LIMIT: Final = 64 * 1024
"""Longest captured text, in characters; a longer one is left out and counted."""

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS

_DEEPEST: Final = 50
_PARTS: Final = 10_000
"""How deep, and at how many parts, a value is looked at that JSON does not take as it is."""


def captured(value: object, settings: Settings) -> str | None:
    """Return a value as the text to write, or None where it must not or cannot be written.

    Args:
        value: Text, or data that becomes JSON; what JSON does not have is named instead.
        settings: Whether content is captured, and how it is redacted.
    """
    if not settings.capture_content:
        return None
    text = _text(value)
    if len(text) > LIMIT:
        count("content_too_large")
        return None
    return text if settings.redact is None else redacted(text, settings.redact)


def redacted(text: str, redact: Redacts) -> str | None:
    """Return a text as it may be written, or None: what cannot be redacted is not written."""
    if latched("redact"):
        count("content_not_redacted")
        return None
    try:
        kept = redact(text)
    except Exception:  # noqa: BLE001 - a callback of the host's; the host goes on
        failed("redact")
        return None
    worked("redact")
    return kept if isinstance(kept, str) else None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, _BYTES):
        return _decoded(value)
    try:
        return orjson.dumps(value, _plain, _OPTIONS).decode()
    except (TypeError, ValueError, RecursionError):
        return orjson.dumps(_Taming().tamed(value, _DEEPEST), _plain, _OPTIONS).decode()


_BYTES: Final = (bytes, bytearray, memoryview)


def _decoded(value: bytes | bytearray | memoryview) -> str:
    """Return bytes as the text they are, for redaction to read, or how many they are."""
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return f"[bytes:{len(value)}]"


def _plain(value: Any) -> Any:
    """Return what JSON has instead of a value; of an unknown object only its type."""
    if isinstance(value, _BYTES):
        return _decoded(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    dump = getattr(type(value), "model_dump", None)
    return _named(value) if dump is None else dump(value)


def _named(value: object) -> str:
    return f"[object:{type(value).__qualname__}]"


class _Taming:
    """Makes JSON of a value that is none as a whole: the parts that are none are replaced."""

    def __init__(self) -> None:
        self._left = _PARTS

    def tamed(self, value: object, depth: int) -> Any:
        if isinstance(value, str):
            return value.encode(errors="replace").decode()
        self._left -= 1
        if isinstance(value, (dict, list, tuple)) and (depth == 0 or self._left < 0):
            return _named(value)  # it may hold itself
        if isinstance(value, dict):
            items = value.items()
            return {self._key(key): self.tamed(item, depth - 1) for key, item in items}
        if isinstance(value, (list, tuple)):
            return [self.tamed(item, depth - 1) for item in value]
        try:
            orjson.dumps(value, _plain, _OPTIONS)
        except (TypeError, ValueError, RecursionError):
            return str(value) if isinstance(value, int) else _named(value)
        return value

    def _key(self, key: object) -> str:
        tamed = self.tamed(key, 1)
        return tamed if isinstance(tamed, str) else _text(tamed)
