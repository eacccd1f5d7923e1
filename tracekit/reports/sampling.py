"""How well the kept sessions speak for all of them, where the ledger has all of them.

The same shares twice: estimated from the kept sessions by their weights, with an interval, and
counted over the ledger. That interval is about these sessions: all that is open is how the coins
fell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracekit.reports import query
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.stats.weighted import RatioSums, rate

if TYPE_CHECKING:
    import duckdb


def quality(con: duckdb.DuckDBPyConnection, selection: Selection | None = None) -> Table:
    """Return shares of the sessions that could be kept: estimated, and as they are.

    `unweighted` is the share among the kept ones: what a chart shows that forgets the weights.

    Args:
        con: Connection with the lake's views.
        selection: Which sessions to speak of; all by default.

    Raises:
        UsageError: If the selection is wrong.
    """
    rows = query.report(con, "sampling", "sessions", selection or Selection())
    return Table(
        "Shares of sessions, estimated from kept ones and counted over all",
        (
            ColumnSpec("quantity"),
            ColumnSpec("sessions", Kind.COUNT),
            ColumnSpec("kept", Kind.COUNT),
            ColumnSpec("census", Kind.SHARE),
            ColumnSpec("estimate", Kind.SHARE, ends=("low", "high")),
            ColumnSpec("low", Kind.SHARE, hidden=True),
            ColumnSpec("high", Kind.SHARE, hidden=True),
            ColumnSpec("unweighted", Kind.SHARE),
        ),
        tuple(_row(row) for row in rows),
    )


def _row(row: dict[str, Any]) -> Row:
    y, x, yy, xy, xx, largest = (
        float(row[name]) for name in ("y", "x", "yy", "xy", "xx", "largest")
    )
    estimate = rate(RatioSums(row["kept"], y, x, yy, xy, xx, largest))
    return query.plain(
        {name: row[name] for name in ("quantity", "sessions", "kept", "census", "unweighted")}
        | {"estimate": query.finite(estimate.value), "low": estimate.low, "high": estimate.high}
    )


def kept(con: duckdb.DuckDBPyConnection, selection: Selection | None = None) -> Table:
    """Return how many sessions a collector kept, by stop category and outcome.

    Args:
        con: Connection with the lake's views.
        selection: Which sessions to speak of; all by default.

    Raises:
        UsageError: If the selection is wrong.
    """
    rows = query.report(con, "kept", "sessions", selection or Selection())
    return Table(
        "Kept sessions by how they ended",
        (
            ColumnSpec("stop_category", title="stop category"),
            ColumnSpec("outcome"),
            ColumnSpec("sessions", Kind.COUNT),
            ColumnSpec("kept", Kind.COUNT),
            ColumnSpec("never", Kind.COUNT, title="could not\nbe kept"),
            ColumnSpec("by_hand", Kind.COUNT, title="kept\nby hand"),
            ColumnSpec("spans", Kind.COUNT),
            ColumnSpec("kept_spans", Kind.COUNT, title="kept\nspans"),
        ),
        tuple(query.plain(row) for row in rows),
    )
