"""Which sessions to read first: one of each way to fail, the most frequent way first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.reports import query
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Table

if TYPE_CHECKING:
    import duckdb


def worth_reading(
    con: duckdb.DuckDBPyConnection, selection: Selection | None = None, limit: int = 12
) -> Table:
    """Return the costliest session of each kind of failure, and the one that wasted most.

    Args:
        con: Connection with the lake's views.
        selection: Which sessions to speak of; all by default.
        limit: How many to list.

    Raises:
        UsageError: If the selection is wrong.
    """
    rows = query.report(con, "reading", "sessions", selection or Selection(), limit=str(limit))
    return Table(
        title="Sessions worth reading",
        columns=(
            ColumnSpec("session_id", Kind.ID, title="session"),
            ColumnSpec("why", Kind.PROSE),
            ColumnSpec("alike", Kind.COUNT, title="sessions\nlike it"),
            ColumnSpec("agent_name", title="agent"),
            ColumnSpec("stop_raw", title="provider said"),
            ColumnSpec("stop_reason", title="stop"),
            ColumnSpec("outcome"),
            ColumnSpec("started_at", Kind.TIME, title="started"),
            ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD"),
            ColumnSpec("wasted_cost_usd", Kind.USD, title="wasted\nUSD"),
        ),
        rows=tuple(query.plain(row) for row in rows),
    )
