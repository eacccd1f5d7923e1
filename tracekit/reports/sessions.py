"""Which sessions there are: filtered, sorted, the first few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracekit.errors import UsageError
from tracekit.reports import query
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Table

if TYPE_CHECKING:
    import duckdb

COLUMNS = (
    ColumnSpec("session_id", Kind.ID, title="session"),
    ColumnSpec("started_at", Kind.TIME, title="started", rank=4),
    ColumnSpec("agent_name", title="agent", rank=3),
    ColumnSpec("model", rank=5),
    ColumnSpec("provider", hidden=True),
    ColumnSpec("outcome"),
    ColumnSpec("outcome_source", title="evidence", rank=6),
    ColumnSpec("outcome_inferred", hidden=True),
    ColumnSpec("stop_reason", title="stop"),
    ColumnSpec("stop_category", hidden=True),
    ColumnSpec("stop_raw", hidden=True),
    ColumnSpec("tasks", Kind.COUNT, hidden=True),
    ColumnSpec("llm_calls", Kind.COUNT, title="LLM\ncalls", rank=7),
    ColumnSpec("tool_calls", Kind.COUNT, title="tool\ncalls", rank=8),
    ColumnSpec("tool_errors", Kind.COUNT, title="tool\nerrors", rank=9),
    ColumnSpec("input_tokens", Kind.COUNT, hidden=True),
    ColumnSpec("output_tokens", Kind.COUNT, hidden=True),
    ColumnSpec("duration_s", Kind.SECONDS, title="duration\ns", rank=2),
    ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD", bound="unpriced_calls"),
    ColumnSpec("unpriced_calls", Kind.COUNT, hidden=True),
    ColumnSpec("wasted_cost_usd", Kind.USD, title="wasted\nUSD", rank=1),
)
"""Columns of the list, in order."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which sessions come first.

    Attributes:
        sort: Column of `sessions`; unknown values come last.
        descending: Whether the largest come first.
        limit: How many to list.
    """

    sort: str = "started_at"
    descending: bool = True
    limit: int = 20


def sessions(
    con: duckdb.DuckDBPyConnection, selection: Selection | None = None, order: Order | None = None
) -> Table:
    """Return the first sessions of an order.

    Args:
        con: Connection with the lake's views.
        selection: Which sessions to list; all by default.
        order: What to sort by, and how many to list; the latest 20 by default.

    Raises:
        UsageError: If the selection or the column is wrong, or the limit negative.
    """
    selection, order = selection or Selection(), order or Order()
    if order.limit < 0:
        raise UsageError(f"--limit must not be negative, but it is {order.limit}")
    known = query.columns_of(con, "sessions")
    if order.sort not in known:
        raise UsageError(
            f"sessions has no column {order.sort!r}{query.suggestion(order.sort, known)}"
        )
    rows = query.report(
        con,
        "sessions",
        "sessions",
        selection,
        columns=", ".join(column.name for column in COLUMNS),
        sort=query.quoted(order.sort),
        direction="DESC" if order.descending else "ASC",
        limit=str(order.limit),
    )
    count = f"SELECT count(*) AS n FROM sessions WHERE {selection.sql()}"
    (total,) = query.fetch(con, count, view="sessions")
    more = total["n"] - len(rows)
    return Table(
        title=f"{total['n']:,} sessions",
        columns=COLUMNS,
        rows=tuple(query.plain(row) for row in rows),
        notes=(f"{more:,} more: --limit shows them.",) if more else (),
    )
