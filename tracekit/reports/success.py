"""Did the tasks succeed, what did a success cost, and how much was wasted."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from tracekit.errors import UsageError
from tracekit.reports import query
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

    Args:
        con: Connection with the lake's views.
        by: Columns of `tasks` to group by, or words of `dimensions.yaml`; empty is one row.
        selection: Which tasks to speak of; all by default.

    Raises:
        UsageError: If the selection or a column is wrong, or the selected tasks were sampled.
    """
    keys = query.grouping(con, "tasks", by, (column.name for column in _NUMBERS))
    chosen = selection or Selection()
    groups = query.report(con, "report", "tasks", chosen, keys)
    _refuse_weights(con, chosen)
    return Table(
        title="Task success" + (f" by {', '.join(keys.keys)}" if keys.keys else ""),
        columns=(*(ColumnSpec(name) for name in keys.keys), *_NUMBERS),
        rows=tuple(_row(group, keys) for group in groups),
        notes=_notes(groups),
    )


def _refuse_weights(con: duckdb.DuckDBPyConnection, selection: Selection) -> None:
    """Refuse sessions that stand for others: counted once each, they give the wrong rates."""
    # Where the dropped ones are here too, each session speaks for itself alone.
    question = (
        "SELECT coalesce(bool_or(weight IS DISTINCT FROM 1) AND bool_and(kept), false) AS is "
        "FROM sessions"
    )
    (any_,) = query.fetch(con, question)
    if not any_["is"]:
        return
    (row,) = query.report(con, "report_weighted", "tasks", selection)
    if row["tasks"]:
        raise UsageError(
            f"{row['tasks']:,} of the selected tasks are of sampled sessions that stand for "
            "others, and this report counts each task once; leave them out with --where "
            '"session_id IN (SELECT session_id FROM sessions WHERE weight = 1)"'
        )


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
            "success_rate": _known(rate.value),
            "success_low": rate.low,
            "success_high": rate.high,
            "success_if_rest_failed": successes / tasks if tasks else None,
            "success_if_rest_succeeded": (successes + rest) / tasks if tasks else None,
            **{name: int(group[name] or 0) for name in ("verified", "declared", "inferred")},
            "cost_usd": cost,
            "unpriced_calls": int(group["unpriced_calls"] or 0),
            "cost_per_success_usd": _known(per_success.value),
            "cost_per_success_low_usd": _known(per_success.low),
            "cost_per_success_high_usd": _known(per_success.high),
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


def _known(value: float) -> float | None:
    """Return None for what JSON has no number for: NaN and infinity."""
    return value if isfinite(value) else None


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
