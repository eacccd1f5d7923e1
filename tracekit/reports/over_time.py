"""What happened when: tasks, failures and money per hour, day, week or month."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from tracekit.errors import UsageError
from tracekit.reports import query
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

PERIODS: Final = {
    "hour": timedelta(days=2),
    "day": timedelta(days=45),
    "week": timedelta(days=7 * 45),
    "month": timedelta.max,
}
"""Calendar units, UTC, and the longest time each is chosen for: at most some 48 of them."""


def over_time(
    con: duckdb.DuckDBPyConnection, selection: Selection | None = None, period: str | None = None
) -> Table:
    """Return the number of tasks per period and stop category, and how they ended.

    Periods without tasks have no rows; `periods` lists them all.

    Args:
        con: Connection with the lake's views.
        selection: Which tasks to speak of; all by default.
        period: One of `PERIODS`; by default the shortest that gives few enough of them.

    Raises:
        UsageError: If the selection or the period is wrong.
    """
    selection = selection or Selection()
    if period is not None and period not in PERIODS:
        raise UsageError(f"no period {period!r}; there are: {', '.join(PERIODS)}")
    period = period or _period(con, selection)
    rows = query.report(con, "over_time", "tasks", selection, period=period)
    return Table(
        title=f"Tasks per {period}",
        columns=(
            ColumnSpec("period", Kind.TIME, title=period),
            ColumnSpec("stop_category", title="category"),
            ColumnSpec("tasks", Kind.COUNT),
            ColumnSpec("successes", Kind.COUNT),
            ColumnSpec("failures", Kind.COUNT),
            ColumnSpec("cost_usd", Kind.USD),
            ColumnSpec("wasted_cost_usd", Kind.USD),
        ),
        rows=tuple(query.plain(row | {"period": _iso(row["period"])}) for row in rows),
    )


def _period(con: duckdb.DuckDBPyConnection, selection: Selection) -> str:
    (row,) = query.report(con, "span_of_time", "tasks", selection)
    if row["first_start"] is None:
        return "day"
    length = row["last_start"] - row["first_start"]
    return next(name for name, longest in PERIODS.items() if length <= longest)


def _iso(start: date) -> str:
    """Return a period's start as text; DuckDB gives a date for days and longer periods."""
    return start.isoformat() if isinstance(start, datetime) else f"{start.isoformat()}T00:00:00"


def periods(table: Table) -> list[str]:
    """Return the starts of all periods from the first to the last row of `over_time`, UTC."""
    if not table.rows:
        return []
    starts = [datetime.fromisoformat(str(row["period"])) for row in table.rows]
    return [moment.isoformat() for moment in _between(min(starts), max(starts), period_of(table))]


def period_of(table: Table) -> str:
    """Return the period of a table of `over_time`."""
    return table.columns[0].header


def _between(first: datetime, last: datetime, period: str) -> Iterator[datetime]:
    moment = first
    while moment <= last:
        yield moment
        if period == "month":
            moment = (moment + timedelta(days=31)).replace(day=1)
        else:
            moment += timedelta(**{f"{period}s": 1})
