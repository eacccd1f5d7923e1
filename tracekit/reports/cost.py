"""What it cost: calls, tokens and money by model, agent, day or any other column of the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracekit.reports import query, sampled
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

_NUMBERS = (
    ColumnSpec("sessions", Kind.COUNT, rank=7),
    ColumnSpec("calls", Kind.COUNT),
    ColumnSpec("input_tokens", Kind.COUNT, title="input\ntokens"),
    ColumnSpec("uncached_tokens", Kind.COUNT, hidden=True),
    ColumnSpec("cache_read_tokens", Kind.COUNT, title="cache\nread", rank=5),
    ColumnSpec("cache_write_tokens", Kind.COUNT, title="cache\nwrite", rank=6),
    ColumnSpec("output_tokens", Kind.COUNT, title="output\ntokens"),
    ColumnSpec("reasoning_tokens", Kind.COUNT, hidden=True),
    ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD", bound="unpriced_calls"),
    ColumnSpec("reported_usd", Kind.USD, hidden=True),
    ColumnSpec("computed_usd", Kind.USD, hidden=True),
    ColumnSpec("reported_share", Kind.SHARE, title="reported\n%", rank=4),
    ColumnSpec("unpriced_calls", Kind.COUNT, title="no\nprice", rank=1),
    ColumnSpec("unpriced_reasons", Kind.LIST, hidden=True),
    ColumnSpec("wasted_cost_usd", Kind.USD, hidden=True),
    ColumnSpec("wasted_share", Kind.SHARE, title="wasted\n%"),
    ColumnSpec("wasted_failed_attempt_usd", Kind.USD, hidden=True),
    ColumnSpec("wasted_duplicate_usd", Kind.USD, hidden=True),
    ColumnSpec("wasted_cancelled_sibling_usd", Kind.USD, hidden=True),
    ColumnSpec("wasted_after_done_usd", Kind.USD, hidden=True),
)
WASTE = {
    "wasted_failed_attempt_usd": "failed attempts",
    "wasted_duplicate_usd": "repeated work",
    "wasted_cancelled_sibling_usd": "cancelled siblings",
    "wasted_after_done_usd": "steps after the task was done",
}
"""Columns with the cost of wasted steps, by reason, and the reason in words."""


def cost(
    con: duckdb.DuckDBPyConnection,
    by: Sequence[str] = ("provider", "model"),
    selection: Selection | None = None,
) -> Table:
    """Return calls, tokens by class, cost with its source, and waste by reason, per group.

    A step without an agent or workflow of its own counts for its session's.

    Args:
        con: Connection with the lake's views.
        by: Columns of `spans` to group by, or words of `dimensions.yaml`.
        selection: Which steps to speak of; all by default.

    Raises:
        UsageError: If the selection or a column is wrong.
    """
    selection = selection or Selection()
    keys = query.grouping(con, "spans", by, (column.name for column in _NUMBERS))
    rows = query.report(con, "cost", "spans", selection, keys)
    (total,) = query.report(con, "cost", "spans", selection)
    return Table(
        title="Cost" + (f" by {', '.join(keys.keys)}" if keys.keys else ""),
        columns=(*(ColumnSpec(name) for name in keys.keys), *_NUMBERS),
        rows=tuple(_row(row) for row in rows),
        total=dict.fromkeys(keys.keys) | dict(_row(total)) if keys.keys else None,
        notes=(*_notes(total), *_dropped(con), *sampled.unweighted(con)),
    )


def _row(group: dict[str, Any]) -> Row:
    whole, wasted = group["cost_usd"], group["wasted_cost_usd"]
    reported = group["reported_usd"]
    return query.plain(
        group
        | {
            "reported_share": (reported or 0.0) / whole if whole else None,
            "unpriced_reasons": group["unpriced_reasons"] or [],
            "wasted_share": (wasted or 0.0) / whole if whole else None,
        }
    )


def _notes(total: dict[str, Any]) -> list[str]:
    notes = []
    if total["unpriced_calls"]:
        reasons = ", ".join(total["unpriced_reasons"] or [])
        notes.append(f"≥: {total['unpriced_calls']:,} calls have no known price ({reasons}).")
    waste = [f"{words} {total[name]:,.4f} USD" for name, words in WASTE.items() if total[name]]
    if waste:
        notes.append(f"Wasted: {', '.join(waste)}.")
    return notes


def _dropped(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Return a note where sessions have no spans, because the sampler dropped them."""
    if "kept" not in query.columns_of(con, "sessions"):
        return []
    (row,) = query.fetch(
        con, "SELECT count(*) FILTER (WHERE NOT kept) AS dropped, count(*) AS n FROM sessions"
    )
    if not row["dropped"]:
        return []
    return [
        f"{row['dropped']:,} of {row['n']:,} sessions were not kept: their steps are not in here."
    ]
