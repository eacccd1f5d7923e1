"""Numbers as people read them. Values in one column share their number of decimals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tracekit.reports.table import ColumnSpec, Row, Value

MISSING = "\N{EN DASH}"
"""What stands for an unknown or inapplicable value."""

_LONG = 1e6
"""Numbers from here on are shown without decimals rather than with an exponent."""
_SECOND_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def decimals(kind: Kind, values: Iterable[Value]) -> int:
    """Return how many decimals a column's values are shown with.

    Money and durations get enough that the largest has about four digits.
    """
    if kind is Kind.NINES:
        return 3
    if kind in {Kind.SHARE, Kind.FACTOR}:
        return 1
    largest = max((abs(value) for value in values if isinstance(value, int | float)), default=0.0)
    if kind is Kind.USD:
        return next(
            (n for limit, n in ((1000, 0), (10, 2), (1, 3), (0.1, 4)) if largest >= limit), 5
        )
    if kind is Kind.SECONDS:
        return next((n for limit, n in ((1000, 0), (10, 1)) if largest >= limit), 2)
    return 0


def figure(value: Value, kind: Kind, places: int = 0) -> str:
    """Return a value as a terminal shows it, without its unit.

    Args:
        value: The value; None is shown as a dash.
        kind: What it is.
        places: Decimals of a number.
    """
    match value:
        case None | "":
            return MISSING
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(value) or MISSING
        case str():
            return value.removesuffix("Z").replace("T", " ")[:19] if kind is Kind.TIME else value
        case _:
            return _number(value, kind, places)


def _number(value: float, kind: Kind, places: int) -> str:
    if kind is Kind.NUMBER:
        return str(value) if isinstance(value, int) else _significant(value)
    if value == 0:
        return "0"  # exactly, which 0.000 would leave open
    scaled = value * 100 if kind in {Kind.SHARE, Kind.NINES} else value
    least = 10.0**-places
    return f"<{least:.{places}f}" if 0 < scaled < least / 2 else f"{scaled:,.{places}f}"


def _significant(value: float) -> str:
    return f"{value:.6g}" if abs(value) < _LONG else f"{value:.0f}"


def usd(value: Value, *, bound: bool = False) -> str:
    """Return an amount of money alone, with its unit: `≥ 0.0123 USD`."""
    if not isinstance(value, int | float):
        return "unknown"
    return f"{'≥ ' if bound else ''}{value:,.{decimals(Kind.USD, [value])}f} USD"


def percent(value: Value) -> str:
    """Return a share alone, with its unit: `84.2 %`."""
    return f"{value:.1%}".replace("%", " %") if isinstance(value, int | float) else "unknown"


def nines(value: Value) -> str:
    """Return an availability alone, with its unit: `99.950 %`."""
    return f"{value:.3%}".replace("%", " %") if isinstance(value, int | float) else "unknown"


def share_range(low: Value, high: Value) -> str:
    """Return both ends of a share's interval as percent, a dash between them, with the unit."""
    ends = (f"{end * 100:.1f}" if isinstance(end, int | float) else "?" for end in (low, high))
    return f"{MISSING.join(ends)} %"


def cells(column: ColumnSpec, rows: Sequence[Row]) -> list[str]:
    """Return a column's values as a table shows them: with as many decimals, and ≥ for bounds."""
    places = decimals(column.kind, [row[column.name] for row in rows])
    texts = [figure(row[column.name], column.kind, places) for row in rows]
    return [
        ("≥ 0" if text.startswith("<") else f"≥ {text}")
        if column.bound is not None and row[column.bound] and text != MISSING
        else text
        for text, row in zip(texts, rows, strict=True)
    ]


def duration(seconds: Value) -> str:
    """Return a duration alone, with its unit: `850 ms`, `12.3 s`, `4.2 min`."""
    if not isinstance(seconds, int | float):
        return MISSING
    for size, unit in _SECOND_UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def tokens(count: Value) -> str:
    """Return a number of tokens, short: `850`, `12.3k`, `1.2M`."""
    if not isinstance(count, int | float):
        return MISSING
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
