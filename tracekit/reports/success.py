"""Did the tasks succeed, what did a success cost, and how much was wasted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracekit.reports import query, sampled
from tracekit.reports.query import Grouping, Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.stats.intervals import Estimate, wilson
from tracekit.stats.weighted import RatioSums, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

_NUMBERS = (
    ColumnSpec("sessions", Kind.COUNT, rank=3),
    ColumnSpec("tasks", Kind.COUNT),
    ColumnSpec("successes", Kind.COUNT, hidden=True),
    ColumnSpec("failures", Kind.COUNT, hidden=True),
    ColumnSpec("undetermined", Kind.COUNT, title="undeter-\nmined"),
    ColumnSpec(
        "success_rate", Kind.SHARE, title="success\n%", ends=("success_low", "success_high")
    ),
    ColumnSpec("success_low", Kind.SHARE, hidden=True),
    ColumnSpec("success_high", Kind.SHARE, hidden=True),
    ColumnSpec("success_if_rest_failed", Kind.SHARE, hidden=True),
    ColumnSpec("success_if_rest_succeeded", Kind.SHARE, hidden=True),
    ColumnSpec("verified", Kind.COUNT, hidden=True),
    ColumnSpec("declared", Kind.COUNT, hidden=True),
    ColumnSpec("inferred", Kind.COUNT, hidden=True),
    ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD", bound="unpriced_calls"),
    ColumnSpec("unpriced_calls", Kind.COUNT, hidden=True),
    ColumnSpec(
        "cost_per_success_usd", Kind.USD, title="USD per\nsuccess", bound="unpriced_calls", rank=1
    ),
    ColumnSpec("cost_per_success_low_usd", Kind.USD, hidden=True),
    ColumnSpec("cost_per_success_high_usd", Kind.USD, hidden=True),
    ColumnSpec("cost_per_success_if_rest_succeeded_usd", Kind.USD, hidden=True),
    ColumnSpec("wasted_cost_usd", Kind.USD, hidden=True),
    ColumnSpec("wasted_share", Kind.SHARE, title="wasted\n%"),
    ColumnSpec("top_stop", title="most frequent stop", rank=2),
    ColumnSpec("top_stop_tasks", Kind.COUNT, title="of\ntasks", rank=4),
    ColumnSpec("first_start", Kind.TIME, hidden=True),
    ColumnSpec("last_start", Kind.TIME, hidden=True),
)


def report(
    con: duckdb.DuckDBPyConnection, by: Sequence[str] = (), selection: Selection | None = None
) -> Table:
    """Return task success with its 95 % interval, cost per success and waste, per group.

    The success rate is successes / (successes + failures); undetermined tasks stand beside it, with
    the rates that would hold if all of them had failed or succeeded. Cost per success is the cost
    of all tasks over the known successes. Costs leave out calls without a price, so they are lower
    bounds where `unpriced_calls` is above 0.

    Where the lake has kept sessions only, and they stand for others, the figures are estimates for
    all of them, see `tracekit.reports.sampled`.

    Args:
        con: Connection with the lake's views.
        by: Columns of `tasks` to group by, or words of `dimensions.yaml`; empty is one row.
        selection: Which tasks to speak of; all by default.

    Raises:
        UsageError: If the selection or a column is wrong.
    """
    named = (column.name for column in (*_NUMBERS, *sampled.COLUMNS))
    keys = query.grouping(con, "tasks", by, named)
    chosen = selection or Selection()
    if sampled.is_sampled(con):
        columns, (rows, notes) = sampled.columns(_NUMBERS), sampled.rows(con, chosen, keys)
    else:
        columns, (rows, notes) = _NUMBERS, _plain(con, chosen, keys)
    return Table(
        title="Task success" + (f" by {', '.join(keys.keys)}" if keys.keys else ""),
        columns=(*(ColumnSpec(name) for name in keys.keys), *columns),
        rows=rows,
        notes=notes,
    )


def _plain(
    con: duckdb.DuckDBPyConnection, selection: Selection, keys: Grouping
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    groups = query.report(con, "report", "tasks", selection, keys)
    return tuple(_row(group, keys) for group in groups), _notes(groups)


def _row(group: Mapping[str, Any], keys: Grouping) -> Row:
    tasks = int(group["tasks"] or 0)
    successes, failures = int(group["successes"] or 0), int(group["failures"] or 0)
    rest = tasks - successes - failures
    rate = wilson(successes, successes + failures)
    per_success = _cost_per_success(group, tasks, successes)
    cost, wasted = group["cost_usd"], group["wasted_cost_usd"]
    return query.plain(
        {name: group[name] for name in keys.keys}
        | {
            "sessions": group["sessions"],
            "tasks": tasks,
            "successes": successes,
            "failures": failures,
            "undetermined": rest,
            "success_rate": query.finite(rate.value),
            "success_low": rate.low,
            "success_high": rate.high,
            "success_if_rest_failed": successes / tasks if tasks else None,
            "success_if_rest_succeeded": (successes + rest) / tasks if tasks else None,
            **{name: int(group[name] or 0) for name in ("verified", "declared", "inferred")},
            "cost_usd": cost,
            "unpriced_calls": int(group["unpriced_calls"] or 0),
            "cost_per_success_usd": query.finite(per_success.value),
            "cost_per_success_low_usd": query.finite(per_success.low),
            "cost_per_success_high_usd": query.finite(per_success.high),
            "cost_per_success_if_rest_succeeded_usd": (
                cost / (successes + rest) if cost is not None and successes + rest else None
            ),
            "wasted_cost_usd": wasted,
            "wasted_share": wasted / cost if cost and wasted is not None else None,
            "top_stop": group["top_stop"],
            "top_stop_tasks": int(group["top_stop_tasks"] or 0),
            "first_start": group["first_start"],
            "last_start": group["last_start"],
        }
    )


def _cost_per_success(group: Mapping[str, Any], tasks: int, successes: int) -> Estimate:
    if group["cost_usd"] is None:
        return ratio(RatioSums(0, 0, 0, 0, 0, 0))
    return ratio(
        RatioSums(
            n=tasks,
            y=group["cost_usd"],
            x=successes,
            yy=group["cost_squares"],
            xy=group["success_cost_usd"] or 0.0,
            xx=successes,
        )
    )


def _notes(groups: list[dict[str, Any]]) -> tuple[str, ...]:
    notes = []
    if any((group["unpriced_calls"] or 0) > 0 for group in groups):
        notes.append("≥: some calls have no known price; `tracekit cost` names them.")
    if any((group["tasks"] or 0) > (group["sessions"] or 0) for group in groups):
        notes.append(
            "Intervals take tasks as independent; tasks of one session may not be, "
            "and then the intervals are too narrow."
        )
    return tuple(notes)
