"""Task success where the lake has kept sessions only: each stands for others, by its weight."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt
from typing import TYPE_CHECKING, Any

from tracekit.reports import query
from tracekit.reports.table import ColumnSpec, Kind, Row
from tracekit.stats.intervals import Estimate
from tracekit.stats.special import normal_quantile
from tracekit.stats.weighted import RatioSums, rate, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb

    from tracekit.reports.query import Grouping, Selection

COLUMNS = (
    ColumnSpec("stands_for_tasks", Kind.COUNT, title="stand\nfor"),
    ColumnSpec("unknown_weight_tasks", Kind.COUNT, hidden=True),
    ColumnSpec("covered_share", Kind.SHARE, hidden=True),
    ColumnSpec("cost_low_usd", Kind.USD, hidden=True),
    ColumnSpec("cost_high_usd", Kind.USD, hidden=True),
    ColumnSpec("wasted_low", Kind.SHARE, hidden=True),
    ColumnSpec("wasted_high", Kind.SHARE, hidden=True),
    ColumnSpec("success_note", Kind.PROSE, title="note on success", rank=4),
)
"""What a report says beside the figures of a lake that has every session."""

_SPOKEN_FOR = (
    "The lake has kept sessions only. Figures are estimated for all sessions that had a chance to "
    "be kept; those that had none are not spoken for, nor is their number known here."
)


_UNWEIGHTED = (
    "The lake has kept sessions only: these are counts and sums of them, not of all sessions. "
    "`tracekit report` estimates for all."
)


def unweighted(con: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Return what to say of figures that leave out what kept sessions stand for."""
    has_weights = {"kept", "weight"} <= set(query.columns_of(con, "sessions"))
    return (_UNWEIGHTED,) if has_weights and is_sampled(con) else ()


def is_sampled(con: duckdb.DuckDBPyConnection) -> bool:
    """Return whether sessions stand for others: some were dropped, and the lake lacks those."""
    question = (
        "SELECT coalesce(bool_or(weight IS DISTINCT FROM 1) AND bool_and(kept), false) AS is "
        "FROM sessions"
    )
    (row,) = query.fetch(con, question)
    return bool(row["is"])


def rows(
    con: duckdb.DuckDBPyConnection, selection: Selection, keys: Grouping
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Return the rows of `success.report`, estimated from kept sessions, and what to say of them.

    `tasks` and `sessions` count what is in the lake; every other figure is an estimate for all
    sessions that had a chance to be kept. Intervals of rates and ratios are about the process;
    that of the total cost is about these sessions.
    """
    groups = query.report(con, "report_sampled", "tasks", selection, keys)
    return tuple(_row(group, keys) for group in groups), _notes(groups)


def columns(plain: Sequence[ColumnSpec]) -> tuple[ColumnSpec, ...]:
    """Return the columns of such a report: those of a plain one, with more intervals."""
    shown = {
        "cost_usd": {"ends": ("cost_low_usd", "cost_high_usd")},
        "cost_per_success_usd": {"ends": ("cost_per_success_low_usd", "cost_per_success_high_usd")},
        "wasted_share": {"ends": ("wasted_low", "wasted_high")},
        "top_stop": {"hidden": True},
        "top_stop_tasks": {"hidden": True},
    }
    kept = [replace(column, **shown.get(column.name, {})) for column in plain]  # type: ignore[arg-type]
    at = next(index for index, column in enumerate(kept) if column.name == "tasks") + 1
    return (*kept[:at], *COLUMNS, *kept[at:])


def _row(group: Mapping[str, Any], keys: Grouping) -> Row:
    decided, stand_for = group["decided"] or 0.0, group["all_tasks"] or 0.0
    good = group["successes"] or 0.0
    success = _rate(group)
    per_success, wasted = _cost_per_success(group), _wasted(group)
    cost_low, cost_high = _cost_ends(group)
    tasks, unknown = int(group["tasks"] or 0), int(group["unknown_weight"] or 0)
    rest = stand_for - decided
    return query.plain(
        {name: group[name] for name in keys.keys}
        | {name: group[name] for name in ("sessions", "first_start", "last_start", "cost_usd")}
        | {name: int(group[name] or 0) for name in ("verified", "declared", "inferred")}
        | {
            "tasks": tasks,
            "stands_for_tasks": stand_for,
            "unknown_weight_tasks": unknown,
            "covered_share": (tasks - unknown) / tasks if tasks else None,
            "successes": good,
            "failures": decided - good,
            "undetermined": rest,
            "success_rate": query.finite(success.value),
            "success_low": success.low,
            "success_high": success.high,
            "success_note": success.note or None,
            "success_if_rest_failed": good / stand_for if stand_for else None,
            "success_if_rest_succeeded": (good + rest) / stand_for if stand_for else None,
            "cost_low_usd": cost_low,
            "cost_high_usd": cost_high,
            "unpriced_calls": int(group["unpriced_calls"] or 0),
            "cost_per_success_usd": query.finite(per_success.value),
            "cost_per_success_low_usd": query.finite(per_success.low),
            "cost_per_success_high_usd": query.finite(per_success.high),
            "cost_per_success_if_rest_succeeded_usd": (
                group["cost_usd"] / (good + rest) if group["cost_usd"] and good + rest else None
            ),
            "wasted_cost_usd": group["wasted_cost_usd"],
            "wasted_share": query.finite(wasted.value),
            "wasted_low": query.finite(wasted.low),
            "wasted_high": query.finite(wasted.high),
            "top_stop": None,
            "top_stop_tasks": 0,
        }
    )


def _rate(group: Mapping[str, Any]) -> Estimate:
    return rate(
        RatioSums(
            n=group["units"],
            y=group["successes"] or 0.0,
            x=group["decided"] or 0.0,
            yy=group["success_squares"] or 0.0,
            xy=group["success_decided"] or 0.0,
            xx=group["decided_squares"] or 0.0,
            largest=group["largest"],
        )
    )


def _cost_per_success(group: Mapping[str, Any]) -> Estimate:
    if group["cost_usd"] is None:
        return ratio(RatioSums(0, 0, 0, 0, 0, 0))
    return ratio(
        RatioSums(
            n=group["units"],
            y=group["cost_usd"],
            x=group["successes"],
            yy=group["cost_squares"],
            xy=group["cost_successes"],
            xx=group["success_squares"],
        )
    )


def _wasted(group: Mapping[str, Any]) -> Estimate:
    if group["cost_usd"] is None or group["wasted_cost_usd"] is None:
        return ratio(RatioSums(0, 0, 0, 0, 0, 0))
    if group["wasted_cost_usd"] == 0:
        return Estimate(0.0, 0.0, inf)  # none was seen, which does not bound what was not
    return ratio(
        RatioSums(
            n=group["units"],
            y=group["wasted_cost_usd"],
            x=group["cost_usd"],
            yy=group["wasted_squares"],
            xy=group["wasted_cost"],
            xx=group["cost_squares"],
        )
    )


def _cost_ends(group: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of Horvitz and Thompson's total of the cost."""
    if group["cost_usd"] is None:
        return None, None
    half = normal_quantile(0.975) * sqrt(max(0.0, group["cost_variance"] or 0.0))
    return max(0.0, group["cost_usd"] - half), group["cost_usd"] + half


def _notes(groups: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    groups = list(groups)
    unknown = sum(int(group["unknown_weight"] or 0) for group in groups)
    total = sum(int(group["tasks"] or 0) for group in groups)
    notes = [_SPOKEN_FOR]
    if unknown:
        notes.append(
            f"{unknown:,} of {total:,} tasks are left out: how many sessions theirs stand for is "
            "unknown."
        )
    if any(group["unpriced_calls"] for group in groups):
        notes.append("≥: some calls have no known price; `tracekit cost` names them.")
    return tuple(notes)
