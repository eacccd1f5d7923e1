"""The numbers to know about a selection of tasks, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.reports.figures import MISSING, percent, share_range, usd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.reports.table import Row, Value


def headline(row: Row) -> Iterator[tuple[str, str, str]]:
    """Yield label, number and remark of what there is to know about success, cost and waste.

    Args:
        row: The one row of `reports.success.report` without groups.
    """
    bound = bool(row["unpriced_calls"])
    yield ("success", percent(row["success_rate"]), _success(row))
    yield ("undetermined", _count(row, "undetermined"), _undetermined(row))
    yield ("decided by", "", _evidence(row))
    yield ("cost", usd(row["cost_usd"], bound=bound), _cost(row))
    yield ("per success", usd(row["cost_per_success_usd"], bound=bound), _per_success(row))
    yield ("wasted", percent(row["wasted_share"]), _wasted(row))
    first, last = str(row["first_start"])[:10], str(row["last_start"])[:10]
    days = first if first == last else f"{first} to {last}"
    yield ("sessions", _count(row, "sessions"), f"{days}{_stand_for(row)}")


def is_estimated(row: Row) -> bool:
    """Return whether the figures are estimates from kept sessions for all of them."""
    return "stands_for_tasks" in row


def _success(row: Row) -> str:
    interval = f"95 % interval {share_range(row['success_low'], row['success_high'])}"
    counted = f"{_count(row, 'successes')} of {_decided(row)} decided tasks"
    note = f"; {row['success_note']}" if row.get("success_note") else ""
    return f"{interval}; {counted}{note}"


def _undetermined(row: Row) -> str:
    low, high = row["success_if_rest_failed"], row["success_if_rest_succeeded"]
    tasks = _count(row, "stands_for_tasks" if is_estimated(row) else "tasks")
    return (
        f"of {tasks} tasks; success is {percent(low)} if all of them failed, "
        f"{percent(high)} if all succeeded"
    )


def _decided(row: Row) -> str:
    decided = sum(row[name] or 0 for name in ("successes", "failures"))  # type: ignore[misc]
    return counted(decided)


def _count(row: Row, name: str) -> str:
    return counted(row[name])


def counted(value: Value) -> str:
    """Return a count as text; an estimate of one is a float, and said to be some."""
    return f"some {value:,.0f}" if isinstance(value, float) else f"{value:,}"


def _evidence(row: Row) -> str:
    words = ("verified", "declared", "inferred")
    return ", ".join(f"{_count(row, word)} {word}" for word in words if row[word]) or "nothing"


def _cost(row: Row) -> str:
    parts = [
        *([_interval_usd(row, "cost_low_usd", "cost_high_usd")] if is_estimated(row) else []),
        *(
            [f"{_count(row, 'unpriced_calls')} calls have no price"]
            if row["unpriced_calls"]
            else []
        ),
    ]
    return "; ".join(part for part in parts if part)


def _interval_usd(row: Row, low: str, high: str) -> str:
    if row[low] is None or not row[high]:
        return ""
    return f"95 % interval {usd(row[low]).removesuffix(' USD')}{MISSING}{usd(row[high])}"


def _wasted(row: Row) -> str:
    amount = f"of the cost: {usd(row['wasted_cost_usd'])}"
    if row.get("wasted_high") is None:
        return amount
    return f"{amount}; 95 % interval {share_range(row['wasted_low'], row['wasted_high'])}"


def _stand_for(row: Row) -> str:
    if not is_estimated(row):
        return ""
    known = counted(int(row["tasks"] or 0) - int(row["unknown_weight_tasks"] or 0))  # type: ignore[arg-type]
    return f"; {known} tasks kept stand for {_count(row, 'stands_for_tasks')}"


def _per_success(row: Row) -> str:
    if row["cost_per_success_usd"] is None:
        return ""
    interval = _interval_usd(row, "cost_per_success_low_usd", "cost_per_success_high_usd")
    if not row["undetermined"]:
        return interval
    rest = usd(row["cost_per_success_if_rest_succeeded_usd"])
    return f"{interval}; {rest} if all undetermined succeeded".removeprefix("; ")
