"""Names and ids as the text that is written: hosts also hand over numbers and UUIDs."""

from __future__ import annotations

from typing import overload


@overload
def as_text(value: None) -> None: ...


@overload
def as_text(value: str) -> str: ...


@overload
def as_text(value: object) -> str | None: ...


def as_text(value: object) -> str | None:
    """Return a value as text that every encoder takes, or None for None; never raises.

    Args:
        value: Text, in which lone surrogates become question marks, or anything with a text form.
    """
    if value is None:
        return None
    try:
        # Of a text enumeration the text, not the name of its member.
        text = str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:  # noqa: BLE001 - an object of the host's own
        text = type(value).__qualname__
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
