"""What it cost, and what of that was wasted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.pages.charts import Bars, Line, Part, Section, axis_of, number_of, texts
from tracekit.reports import query, success
from tracekit.reports.cost import WASTE
from tracekit.reports.figures import percent, usd
from tracekit.reports.headline import counted, is_estimated
from tracekit.reports.sampled import is_sampled
from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import duckdb

    from tracekit.reports.query import Selection
    from tracekit.reports.table import Row

MOST = 12
"""Groups that are drawn."""


def section(con: duckdb.DuckDBPyConnection, selection: Selection) -> Section:
    """Return cost and waste of a selection.

    Raises:
        UsageError: If the selection is wrong, or the lake holds a sample that stands for others.
    """
    agents = success.report(con, ("agent_name",), selection).rows
    models = success.report(con, ("model",), selection).rows
    return Section(
        "cost",
        "What did it cost, and what was wasted?",
        figures=(
            amounts(agents, "agent_name", "agent"),
            amounts(models, "model", "model"),
            *([] if is_sampled(con) else [waste(con, selection)]),
            per_success(agents, "agent_name", "agent"),
        ),
    )


def amounts(rows: Sequence[Row], column: str, word: str) -> Bars:
    """Return the cost per group, and the wasted part of it.

    Args:
        rows: Rows of `reports.success.report`.
        column: What they are grouped by.
        word: What its values are, in the singular.
    """
    shown = sorted(rows, key=lambda row: -number_of(row["cost_usd"]))[:MOST]
    costs = texts([row["cost_usd"] for row in shown], Kind.USD)
    lines = tuple(
        Line(
            str(row[column] or "(none)"),
            f"≥ {text}" if row["unpriced_calls"] else text,
            _wasted_first(row),
            note=_note(row),
        )
        for row, text in zip(shown, costs, strict=True)
    )
    return Bars(
        title=f"Cost by {word}, USD",
        says=_most(rows, column),
        header=word,
        value_header="cost USD",
        axis="USD",
        scale=axis_of([row["cost_usd"] for row in shown], Kind.USD),
        lines=lines,
        legend=("wasted", "rest"),
        notes=_unpriced(shown),
    )


def _wasted_first(row: Row) -> tuple[Part, ...]:
    cost, wasted = number_of(row["cost_usd"]), number_of(row["wasted_cost_usd"])
    parts = (Part(0, wasted, "wasted"), Part(wasted, cost, "rest"))
    return tuple(part for part in parts if part.end > part.start)


def _note(row: Row) -> str:
    noun = "task" if row["tasks"] == 1 else "tasks"
    tasks = f"{row['tasks']:,} {'kept ' if is_estimated(row) else ''}{noun}"
    wasted = row["wasted_share"]
    return f"{tasks}, {percent(wasted)} wasted" if isinstance(wasted, float) else tasks


def _unpriced(rows: Sequence[Row]) -> tuple[str, ...]:
    calls = sum(int(number_of(row["unpriced_calls"])) for row in rows)
    return (f"≥: {calls:,} calls have no known price.",) if calls else ()


def _most(rows: Sequence[Row], column: str) -> str:
    total = sum(number_of(row["cost_usd"]) for row in rows)
    if not total:
        return "No cost is known."
    first = max(rows, key=lambda row: number_of(row["cost_usd"]))
    share = number_of(first["cost_usd"]) / total
    return f"{first[column] or '(none)'} takes {percent(share)} of {usd(total)}."


def waste(con: duckdb.DuckDBPyConnection, selection: Selection) -> Bars:
    """Return what was wasted, by reason."""
    (row,) = query.report(con, "waste", "sessions", selection)
    amounts_by_reason = [row[column] for column in WASTE]
    lines = tuple(
        Line(words, text, (Part(0, number_of(amount), "wasted"),) if amount else ())
        for words, amount, text in zip(
            WASTE.values(), amounts_by_reason, texts(amounts_by_reason, Kind.USD), strict=True
        )
    )
    return Bars(
        title="Waste by reason, USD",
        says=_wasted(row),
        header="reason",
        value_header="USD",
        axis="USD",
        scale=axis_of(amounts_by_reason, Kind.USD),
        lines=lines,
    )


def _wasted(row: dict[str, Any]) -> str:
    cost, wasted = row["cost_usd"], row["wasted_cost_usd"]
    if cost is None:
        return "No cost is known, so none is known to be wasted."
    if not wasted:
        return f"Nothing of {usd(cost)} is known to be wasted."
    return f"{usd(wasted)} of {usd(cost)} was wasted: {percent(wasted / cost)}."


def per_success(rows: Sequence[Row], column: str, word: str) -> Bars:
    """Return the cost per successful task of each group, with intervals.

    Args:
        rows: Rows of `reports.success.report`.
        column: What they are grouped by.
        word: What its values are, in the singular.
    """
    known = [row for row in rows if isinstance(row["cost_per_success_usd"], float)][:MOST]
    values = texts([row["cost_per_success_usd"] for row in known], Kind.USD)
    ends = [_interval(row) for row in known]
    return Bars(
        title=f"Cost per success by {word}, USD",
        says="All cost of a group, that of failed tasks included, divided by its successes.",
        header=word,
        value_header="USD per success",
        axis="USD per successful task; the line is the 95 % interval",
        scale=axis_of(
            [
                end[1] if end else row["cost_per_success_usd"]
                for row, end in zip(known, ends, strict=True)
            ],
            Kind.USD,
        ),
        lines=tuple(
            Line(
                str(row[column] or "(none)"),
                value,
                point=number_of(row["cost_per_success_usd"]),
                interval=end,
                note=f"{counted(row['successes'])} success{'' if row['successes'] == 1 else 'es'}"
                + ("" if end else "; too few tasks for an interval"),
            )
            for row, value, end in zip(known, values, ends, strict=True)
        ),
        notes=_without(rows, column),
    )


def _interval(row: Row) -> tuple[float, float] | None:
    low, high = row["cost_per_success_low_usd"], row["cost_per_success_high_usd"]
    return (low, high) if isinstance(low, float) and isinstance(high, float) else None


def _without(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    names = [str(row[column] or "(none)") for row in rows if not row["successes"]]
    return (f"Without a known success: {', '.join(names)}.",) if names else ()
