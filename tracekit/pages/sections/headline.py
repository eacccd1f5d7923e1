"""Did the tasks succeed, what did it cost: the numbers to know, and success by agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.pages.charts import Bars, Fact, Facts, Line, Part, Section, number_of
from tracekit.pages.scale import scale
from tracekit.reports import success
from tracekit.reports.figures import percent, share_range
from tracekit.reports.headline import counted, headline
from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from tracekit.reports.query import Selection
    from tracekit.reports.table import Row

MOST = 12
"""Groups that are drawn; the rest is named by its number."""


def section(con: duckdb.DuckDBPyConnection, selection: Selection) -> Section:
    """Return the headline of a selection of tasks.

    Raises:
        UsageError: If the selection is wrong, or the lake holds a sample that stands for others.
    """
    (row,) = success.report(con, (), selection).rows
    facts = Facts(tuple(Fact(*line) for line in headline(row))) if row["tasks"] else None
    agents = by(con, selection, "agent_name", "agent")
    return Section(
        "success", "Did the tasks succeed?", _says(row), (*([facts] if facts else []), agents)
    )


def _says(row: Row) -> str:
    if not row["tasks"]:
        return "No tasks are selected."
    decided = decided_of(row)
    if not decided:
        return (
            f"None of the {row['tasks']:,} tasks is decided: nothing says whether they succeeded."
        )
    low, high = row["success_if_rest_failed"], row["success_if_rest_succeeded"]
    rest = (
        f" Were the {counted(row['undetermined'])} undetermined tasks known, success would lie "
        f"between {percent(low)} and {percent(high)}."
        if row["undetermined"]
        else ""
    )
    interval = share_range(row["success_low"], row["success_high"])
    return (
        f"Of {counted(decided)} decided tasks {percent(row['success_rate'])} succeeded "
        f"(95 % interval {interval}).{rest}"
    )


def by(con: duckdb.DuckDBPyConnection, selection: Selection, column: str, word: str) -> Bars:
    """Return success per value of a column of `tasks`, with intervals.

    Args:
        con: Connection with the lake's views.
        selection: Which tasks to speak of.
        column: Column of `tasks`.
        word: What its values are, in the singular.
    """
    rows = success.report(con, (column,), selection).rows
    shown = rows[:MOST]
    return Bars(
        title=f"Success by {word}, % of decided tasks",
        says=_spread(rows, column, word),
        header=word,
        value_header="success %",
        axis="% of decided tasks that succeeded; the line is the 95 % interval",
        scale=scale([1.0], Kind.SHARE),
        lines=tuple(_line(row, column) for row in shown),
        notes=(f"{len(rows) - MOST} more, with fewer tasks each, are not drawn.",)
        if len(rows) > MOST
        else (),
    )


def _line(row: Row, column: str) -> Line:
    rate = row["success_rate"]
    label = str(row[column] or "(none)")
    note = f"{counted(decided_of(row))} decided, {counted(row['undetermined'])} undetermined"
    if not isinstance(rate, float):
        return Line(label, "unknown", note=note)
    low, high = number_of(row["success_low"]), number_of(row["success_high"])
    text = f"{rate * 100:.1f}"
    return Line(label, text, (Part(0, rate, "light"),), rate, (low, high), note)


def decided_of(row: Row) -> int | float:
    """Return the number of decided tasks; a float where it is estimated."""
    parts = (row["successes"], row["failures"])
    return sum(part for part in parts if isinstance(part, int | float))


def _spread(rows: Sequence[Row], column: str, word: str) -> str:
    known = [row for row in rows if isinstance(row["success_rate"], float)]
    if len(known) < 2:  # noqa: PLR2004 - a comparison takes two
        return "The dot is the estimate, the line its interval."
    worst = min(known, key=lambda row: number_of(row["success_rate"]))
    best = max(known, key=lambda row: number_of(row["success_rate"]))
    apart = number_of(worst["success_high"]) < number_of(best["success_low"])
    end = (
        "their intervals do not overlap."
        if apart
        else "their intervals overlap: the difference may be chance."
    )
    return (
        f"The {word} {best[column] or '(none)'} succeeds most often "
        f"({percent(best['success_rate'])}), {worst[column] or '(none)'} least "
        f"({percent(worst['success_rate'])}); {end}"
    )
