"""Why sessions stopped: derived stop codes against what the provider said, or any other column."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tracekit.reports import query, sampled
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

_NUMBERS = (
    ColumnSpec("stop_reason", title="stop"),
    ColumnSpec("stop_category", hidden=True),
    ColumnSpec("stop_outcome", title="says", rank=1),
    ColumnSpec("stop_fault", title="fault", rank=2),
    ColumnSpec("tasks", Kind.COUNT),
    ColumnSpec("successes", Kind.COUNT, hidden=True),
    ColumnSpec("failures", Kind.COUNT, hidden=True),
    ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD"),
)
_FAULTS = "fault: P provider, A application or agent, U user or caller, X policy, - nobody."
NOTHING = "(none)"
"""Header of the tasks that have no value in the column the codes are laid out against."""
_WIDE = 120
"""Characters from which there is room for the fault, too."""
_WIDEST = 18
"""Characters of a value that a header shows; frameworks write whole sentences."""


def stops(
    con: duckdb.DuckDBPyConnection, by: str = "stop_raw", selection: Selection | None = None
) -> Table:
    """Return the number of tasks per stop code and value of another column, one row each.

    Args:
        con: Connection with the lake's views.
        by: Column of `tasks`, or a word of `dimensions.yaml`, to lay the codes out against.
        selection: Which tasks to speak of; all by default.

    Raises:
        UsageError: If the selection or the column is wrong.
    """
    keys = query.grouping(con, "tasks", [by], (column.name for column in _NUMBERS))
    rows = query.report(con, "stops", "tasks", selection or Selection(), keys)
    return Table(
        title=f"Stops by {', '.join(keys.keys)}",
        columns=(*(ColumnSpec(name) for name in keys.keys), *_NUMBERS),
        rows=tuple(query.plain(row) for row in rows),
        notes=(_FAULTS, *sampled.unweighted(con)),
    )


def matrix(long: Table, *, width: int) -> Table:
    """Lay out the rows of `stops` as a matrix: a row per code, a column per value.

    Values are ordered by their number of tasks; those that do not fit are summed up as "other".

    Args:
        long: Table from `stops`.
        width: Characters there are for the whole.
    """
    by = long.columns[0].name
    totals: Counter[str] = Counter()
    for row in long.rows:
        totals[_value(row, by)] += _count(row)
    wide = width >= _WIDE
    longest = max((len(str(row["stop_reason"])) for row in long.rows), default=0)
    taken = (
        longest + len("undetermined") + len(f"{sum(totals.values()):,}") + 6 + (7 if wide else 0)
    )
    shown, other = _fit(totals, width - taken)
    columns = (
        ColumnSpec("stop_reason", title="stop"),
        ColumnSpec("stop_outcome", title="says", rank=1),
        *([ColumnSpec("stop_fault", title="fault", rank=2)] if wide else []),
        *(ColumnSpec(f"={name}", Kind.COUNT, title=_short(name)) for name in shown),
        *([ColumnSpec("other", Kind.COUNT, title=f"{other} other")] if other else []),
        ColumnSpec("tasks", Kind.COUNT, title="all"),
    )
    rows = tuple(_pivot(long.rows, by, shown))
    notes = tuple(note for note in long.notes if wide or note != _FAULTS)
    return Table(long.title, columns, rows, notes=notes)


def _pivot(rows: Iterable[Row], by: str, shown: list[str]) -> Iterable[Row]:
    codes: dict[str, dict[str, Value]] = {}
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        code = str(row["stop_reason"])
        codes.setdefault(
            code, {name: row[name] for name in ("stop_reason", "stop_outcome", "stop_fault")}
        )
        value = _value(row, by)
        for cell in (f"={value}" if value in shown else "other", "tasks"):
            counts[code][cell] += _count(row)
    cells = [*(f"={name}" for name in shown), "other", "tasks"]
    for code, line in codes.items():
        yield line | {cell: counts[code][cell] or None for cell in cells}


def _fit(totals: Counter[str], width: int) -> tuple[list[str], int]:
    """Return the most frequent values whose headers fit, and the number of the others."""
    shown: list[str] = []
    free = width - len("99 other")
    for name, tasks in totals.most_common():
        free -= max(len(_short(name)), len(f"{tasks:,}")) + 2
        if free < 0 and shown:
            break
        shown.append(name)
    return shown, len(totals) - len(shown)


def _short(value: str) -> str:
    return value if len(value) <= _WIDEST else value[: _WIDEST - 1] + "…"


def _value(row: Row, by: str) -> str:
    value = row[by]
    return NOTHING if value in {None, ""} else str(value)


def _count(row: Row) -> int:
    value = row["tasks"]
    return value if isinstance(value, int) else 0


def categories(con: duckdb.DuckDBPyConnection, selection: Selection | None = None) -> Table:
    """Return the number of tasks per stop category, and how they ended.

    Args:
        con: Connection with the lake's views.
        selection: Which tasks to speak of; all by default.

    Raises:
        UsageError: If the selection is wrong.
    """
    rows = query.report(con, "stop_categories", "tasks", selection or Selection())
    counts = ("tasks", "successes", "failures", "undetermined")
    return Table(
        title="Stops by category and outcome",
        columns=(
            ColumnSpec("stop_category", title="category"),
            *(ColumnSpec(name, Kind.COUNT) for name in counts),
            ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD"),
        ),
        rows=tuple(query.plain(row) for row in rows),
        notes=sampled.unweighted(con),
    )


def codes(con: duckdb.DuckDBPyConnection, selection: Selection | None = None) -> Table:
    """Return the number of tasks per stop code, the most frequent first.

    Args:
        con: Connection with the lake's views.
        selection: Which tasks to speak of; all by default.

    Raises:
        UsageError: If the selection is wrong.
    """
    rows = query.report(con, "stop_codes", "tasks", selection or Selection())
    return Table(
        title="Stops",
        columns=(
            ColumnSpec("stop_reason", title="stop"),
            ColumnSpec("stop_outcome", title="says"),
            ColumnSpec("stop_fault", title="fault"),
            ColumnSpec("tasks", Kind.COUNT),
            ColumnSpec("share", Kind.SHARE, title="%"),
            ColumnSpec("cost_usd", Kind.USD, title="cost USD", bound="unpriced_calls"),
            ColumnSpec("unpriced_calls", Kind.COUNT, hidden=True),
        ),
        rows=tuple(query.plain(row) for row in rows),
        notes=sampled.unweighted(con),
    )
