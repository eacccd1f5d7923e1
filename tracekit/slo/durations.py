"""Durations as OpenSLO writes them: `5m`, `1h`, `28d`, `4w`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""Seconds of each unit. OpenSLO has no seconds; it writes months, quarters and years, too, which
have no fixed length: `objectives.TimeWindow` knows the month."""

_FORM: Final = re.compile(r"(\d{1,6})([smhdw])")


def parsed(value: Any) -> Any:
    """Return the seconds of a duration that is written as text; everything else as it is.

    Raises:
        ValueError: The text is no duration.
    """
    if not isinstance(value, str):
        return value
    found = _FORM.fullmatch(value.strip())
    if not found:
        raise ValueError(f"{value!r} is no duration like 5m, 1h, 28d; units are s, m, h, d and w")
    return int(found[1]) * SECONDS[found[2]]


def shorthand(seconds: int) -> str:
    """Return a duration as it is written, in the largest unit it is a multiple of.

    Weeks are written as days: 28d is what people look for.
    """
    units = [unit for unit in ("d", "h", "m") if seconds and seconds % SECONDS[unit] == 0]
    unit = units[0] if units else "s"
    return f"{seconds // SECONDS[unit]}{unit}"


Duration = Annotated[int, BeforeValidator(parsed), Field(gt=0, le=400 * 86_400)]
"""A duration in seconds: `5m`, `1h`, `28d`, or a number of seconds."""

Lag = Annotated[int, BeforeValidator(parsed), Field(ge=0, le=400 * 86_400)]
"""A duration that may be 0."""
