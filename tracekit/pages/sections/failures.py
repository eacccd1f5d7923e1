"""How they failed: over time, and by the rules of the detectors."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tracekit.pages.charts import (
    Bars,
    Dot,
    Dots,
    Line,
    Part,
    Section,
    Strip,
    Strips,
    axis_of,
    number_of,
)
from tracekit.pages.render import period_label
from tracekit.pages.scale import scale
from tracekit.pages.sections.stops import KEPT_ONLY
from tracekit.reports import detections
from tracekit.reports.figures import percent, share_range
from tracekit.reports.over_time import over_time, period_of, periods
from tracekit.reports.sampled import is_sampled
from tracekit.reports.table import Kind
from tracekit.stats.intervals import wilson

if TYPE_CHECKING:
    import duckdb

    from tracekit.reports.query import Selection
    from tracekit.reports.table import Row, Table

MOST = 8
"""Categories that are drawn."""


def section(con: duckdb.DuckDBPyConnection, selection: Selection) -> Section:
    """Return failures of a selection over time, and what the detectors find.

    Raises:
        UsageError: If the selection is wrong.
    """
    table = over_time(con, selection)
    only_kept = is_sampled(con)
    return Section(
        "failures",
        "How did they fail, and when?",
        KEPT_ONLY if only_kept else "",
        (
            *([] if only_kept else [rate_over_time(table)]),
            by_category(table),
            found(detections.summary(con, selection)),
        ),
    )


def rate_over_time(table: Table) -> Dots:
    """Return the success rate of each period with its interval.

    Args:
        table: Table of `reports.over_time.over_time`.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in table.rows:
        for word in ("successes", "failures"):
            counts[str(row["period"])][word] += int(number_of(row[word]))
    starts = periods(table)
    dots = [_dot(counts[start]) for start in starts]
    whole = sum(counts.values(), Counter[str]())
    decided = whole.total()
    level = whole["successes"] / decided if decided else None
    return Dots(
        title=f"Success per {period_of(table)}, % of decided tasks",
        says=_outside(starts, dots, level, period_of(table)),
        axis="% of decided tasks that succeeded",
        periods=tuple(starts),
        period=period_of(table),
        scale=scale([1.0], Kind.SHARE),
        dots=tuple(dots),
        level=level,
        notes=("The dashed line is the whole time; a line through a dot is its 95 % interval.",)
        if dots
        else (),
    )


def _dot(counts: Counter[str]) -> Dot:
    decided = counts.total()
    if not decided:
        return Dot(None)
    rate = wilson(counts["successes"], decided)
    text = (
        f"{percent(rate.value)} ({share_range(rate.low, rate.high)}), "
        f"{counts['successes']:,} of {decided:,}"
    )
    return Dot(rate.value, rate.low, rate.high, text)


def _outside(starts: list[str], dots: list[Dot], level: float | None, period: str) -> str:
    if level is None:
        return "No task is decided."
    out = [
        period_label(start, period)
        for start, dot in zip(starts, dots, strict=True)
        if dot.value is not None and not dot.low <= level <= dot.high
    ]
    if not out:
        return (
            f"Every {period}'s interval holds the overall {percent(level)}: no {period} stands out."
        )
    few = f"{len(out)} of {len(dots)}"
    named = f" ({', '.join(out[:3])}{', ...' if len(out) > 3 else ''})"  # noqa: PLR2004 - as named
    return (
        f"{few} {period}s{named} lie apart from the overall {percent(level)}; "
        "with 95 % intervals about one in twenty does so by chance."
    )


def by_category(table: Table) -> Strips:
    """Return the failed tasks of each stop category over time.

    Args:
        table: Table of `reports.over_time.over_time`.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in table.rows:
        if row["failures"]:
            counts[str(row["stop_category"])][str(row["period"])] += int(number_of(row["failures"]))
    starts = periods(table)
    ordered = sorted(counts, key=lambda name: (-counts[name].total(), name))
    most = max((count for each in counts.values() for count in each.values()), default=0)
    return Strips(
        title=f"Failed tasks per {period_of(table)}, by stop category",
        says=_peak(counts, period_of(table)),
        axis="failed tasks",
        periods=tuple(starts),
        period=period_of(table),
        scale=axis_of([most], Kind.COUNT),
        strips=tuple(
            Strip(
                name,
                f"{counts[name].total():,} failed",
                tuple(float(counts[name][start]) for start in starts),
                "failure",
            )
            for name in ordered[:MOST]
        ),
        notes=(f"{len(ordered) - MOST} more categories are not drawn.",)
        if len(ordered) > MOST
        else (),
    )


def _peak(counts: dict[str, Counter[str]], period: str) -> str:
    places = [(n, name, start) for name, each in counts.items() for start, n in each.items()]
    if not places:
        return "No task is known to have failed."
    count, name, start = max(places)
    return (
        f"Most of one category in one {period}: {count:,} failed tasks of category {name} "
        f"({period_label(start, period)})."
    )


def found(table: Table) -> Bars:
    """Return the share of sessions that each detector hits, with intervals.

    Args:
        table: Table of `reports.detections.summary`.
    """
    highest = [row["share_high"] for row in table.rows if row["share"] is not None]
    return Bars(
        title="Failure modes found by rule, % of the sessions that could be judged",
        says=_verdicts(table),
        header="detector",
        value_header="hits %",
        axis="% of evaluable sessions; the line is the 95 % interval",
        scale=axis_of(highest, Kind.SHARE),
        lines=tuple(_detector(row) for row in table.rows),
        notes=("A session a detector lacks input for is not evaluable, which is not clear.",),
    )


def _detector(row: Row) -> Line:
    share = row["share"]
    hits, unknown = number_of(row["hits"]), number_of(row["not_evaluable"])
    judged = hits + number_of(row["clear"])
    note = f"{row['finds']}: {hits:,.0f} of {judged:,.0f}"
    if unknown:
        note += f"; {unknown:,.0f} not evaluable ({row['missing']})"
    if not isinstance(share, float):
        return Line(str(row["detector"]), "unknown", note=note)
    ends = (number_of(row["share_low"]), number_of(row["share_high"]))
    part = Part(0, share, "light")
    return Line(str(row["detector"]), f"{share * 100:.1f}", (part,), share, ends, note)


def _verdicts(table: Table) -> str:
    known = [row for row in table.rows if isinstance(row["share"], float) and row["hits"]]
    if not known:
        return "No detector hits a session."
    first = max(known, key=lambda row: number_of(row["share"]))
    return (
        f"{first['detector']} is the most frequent: {percent(first['share'])} of the sessions it "
        "can judge."
    )
