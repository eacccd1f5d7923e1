"""Captured content: off by default, and redacted before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tracekit.instrumentation.fingerprints import canonical
from tracekit.instrumentation.runtime import count, failed, latched, worked

if TYPE_CHECKING:
    from tracekit.instrumentation.runtime import Redacts, Settings

LIMIT: Final = 64 * 1024
"""Longest captured text, in characters; a longer one is left out and counted."""


def captured(value: object, settings: Settings) -> str | None:
    """Return a value as the text to write, or None where it must not or cannot be written.

    Args:
        value: Text, or plain data that becomes JSON.
        settings: Whether content is captured, and how it is redacted.
    """
    if not settings.capture_content:
        return None
    text = value if isinstance(value, str) else _json(value)
    if text is None:
        return None
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


def _json(value: object) -> str | None:
    data = canonical(value)
    return None if data is None else data.decode()
