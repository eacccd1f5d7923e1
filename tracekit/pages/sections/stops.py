"""Why the sessions stopped, and what the provider said about it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tracekit.pages.charts import Bars, Line, Matrix, Section, axis_of, number_of, stacked, texts
from tracekit.reports import stops
from tracekit.reports.figures import percent
from tracekit.reports.sampled import is_sampled
from tracekit.reports.table import Kind

if TYPE_CHECKING:
    import duckdb

    from tracekit.reports.query import Selection
    from tracekit.reports.table import Row, Table

KEPT_ONLY = (
    "The lake has kept sessions only, so the counts below are of kept tasks: what the sampler "
    "prefers is more frequent here than it was."
)
MOST = 14
"""Stop codes that are drawn."""
_WIDTH = 110
"""Characters of the matrix: as many columns as fit."""
_OUTCOMES = ("success", "undetermined", "failure")


def section(con: duckdb.DuckDBPyConnection, selection: Selection) -> Section:
    """Return the stops of a selection of tasks.

    Raises:
        UsageError: If the selection is wrong.
    """
    long = stops.stops(con, "stop_raw", selection)
    says = KEPT_ONLY if is_sampled(con) else ""
    return Section("stops", "Why did they stop?", says, (codes(long), matrix(long)))


def codes(long: Table) -> Bars:
    """Return tasks per stop code and outcome.

    Args:
        long: Table of `reports.stops.stops`.
    """
    counts: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in long.rows:
        code = counts[str(row["stop_reason"])]
        code["success"] += number_of(row["successes"])
        code["failure"] += number_of(row["failures"])
        code["undetermined"] += _rest(row)
    ordered = sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    shown, more = ordered[:MOST], ordered[MOST:]
    totals = [sum(code.values()) for _, code in shown]
    lines = tuple(
        Line(
            name,
            text,
            stacked({outcome: code[outcome] for outcome in _OUTCOMES}),
            note=", ".join(f"{code[word]:,.0f} {word}" for word in _OUTCOMES if code[word]),
        )
        for (name, code), text in zip(shown, texts(totals, Kind.COUNT), strict=True)
    )
    left = sum(sum(code.values()) for _, code in more)
    return Bars(
        title="Tasks by stop code and outcome",
        says=_says(counts),
        header="stop code",
        value_header="tasks",
        axis="tasks",
        scale=axis_of(totals, Kind.COUNT),
        lines=lines,
        legend=_OUTCOMES,
        notes=(f"{len(more)} more codes, {left:,.0f} tasks together, are not drawn.",)
        if more
        else (),
    )


def _rest(row: Row) -> float:
    return number_of(row["tasks"]) - number_of(row["successes"]) - number_of(row["failures"])


def _says(counts: dict[str, defaultdict[str, float]]) -> str:
    failures = {name: code["failure"] for name, code in counts.items() if code["failure"]}
    total = sum(failures.values())
    if not total:
        return "No task is known to have failed."
    first = max(failures, key=lambda name: (failures[name], name))
    quiet = sum(count for name, count in failures.items() if name.startswith("completed."))
    clean = f" {quiet:,.0f} of the {total:,.0f} failures ended as if all was done." if quiet else ""
    return (
        f"Most failures end with {first}: {failures[first]:,.0f} of {total:,.0f} "
        f"({percent(failures[first] / total)}).{clean}"
    )


def matrix(long: Table, width: int = _WIDTH) -> Matrix:
    """Return what the provider said, or any other column, against the derived stop code.

    Args:
        long: Table of `reports.stops.stops`.
        width: Characters there are for it: columns that do not fit are summed up.
    """
    wide = stops.matrix(long, width=width)
    columns = [column for column in wide.columns if column.kind is Kind.COUNT][:-1]
    rows = tuple(
        (str(row["stop_reason"]), tuple(int(number_of(row[column.name])) for column in columns))
        for row in wide.rows
    )
    return Matrix(
        title="Tasks by derived stop code (down) and by what the provider said (across)"
        if long.columns[0].name == "stop_raw"
        else f"Tasks by derived stop code (down) and by {long.columns[0].name} (across)",
        says=_disagreement(long),
        header="derived stop code",
        across=long.columns[0].header,
        columns=tuple(column.header for column in columns),
        rows=rows,
        notes=("Darker is more; an empty cell is none.",),
    )


def _disagreement(long: Table) -> str:
    by = long.columns[0].name
    values: defaultdict[str, set[str]] = defaultdict(set)
    for row in long.rows:
        values[str(row[by] or stops.NOTHING)].add(str(row["stop_reason"]))
    if not values:
        return ""
    name = max(values, key=lambda value: (len(values[value]), value))
    return f"One value hides many ends: {name} stands for {len(values[name])} different stop codes."
