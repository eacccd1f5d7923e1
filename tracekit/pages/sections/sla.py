"""What lies between a provider's promise and the task, and what the lost tasks were lost to."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from tracekit.pages.charts import Bars, Line, Part, Section, number_of
from tracekit.pages.listing import listing
from tracekit.pages.scale import Scale
from tracekit.reports import query
from tracekit.reports.figures import percent, share_range
from tracekit.reports.table import ColumnSpec, Kind, Table
from tracekit.sla import slis, verdicts, waterfall

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from tracekit.reports.query import Selection
    from tracekit.sla.verdict import Verdict

_FLOORS: Final = (0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8)
"""Where an axis of high shares may begin, so that small losses can be seen."""
_STEPS: Final = 5
_RULE: Final = (
    "Every failed task is lost to one cause: the first call it needed that failed for good, else "
    "what its stop code says."
)


def section(con: duckdb.DuckDBPyConnection, selection: Selection) -> Section:
    """Return indicators, promises, and the losses between them.

    Raises:
        UsageError: If the selection is wrong.
    """
    where = selection.sql()
    return Section(
        "sla",
        "What lies between the promise and the task?",
        figures=(
            indicators(slis(con, where=where)),
            losses(waterfall(con, where=where)),
            listing(
                promises([{**one} for one in verdicts(con)]),
                says="Of all calls in the lake, whatever is selected.",
            ),
        ),
    )


@cache
def _words() -> dict[str, dict[str, str]]:
    text = resources.files("tracekit.pages.sections").joinpath("sla.yaml").read_text("utf-8")
    words: dict[str, dict[str, str]] = yaml.safe_load(text)
    return words


def indicators(rows: Sequence[dict[str, Any]]) -> Bars:
    """Return the share of attempts, calls and tasks that were good.

    Args:
        rows: What `tracekit.sla.slis` returns without groups.
    """
    known = [row for row in rows if row["value"] is not None]
    axis = _axis([row["low"] for row in known])
    values = {row["sli"]: row["value"] for row in known}
    return Bars(
        title="Good attempts, calls and tasks, %",
        says=_between(values),
        header="indicator",
        value_header="good %",
        axis=f"% good; the line is the 95 % interval{_begins(axis)}",
        scale=axis,
        lines=tuple(
            Line(
                row["sli"],
                f"{row['value'] * 100:.2f}",
                point=row["value"],
                interval=(row["low"], row["high"]),
                note=f"{_words()['indicators'][row['sli']]}: {row['bad']:,.0f} of "
                f"{row['total']:,.0f} bad",
            )
            for row in known
        ),
        notes=_estimated(rows),
    )


def _between(values: dict[str, float]) -> str:
    if "call" not in values or "task" not in values:
        return "The ledger does not hold both calls and decided tasks."
    return (
        f"After retries {percent(values['call'])} of the calls were answered, and "
        f"{percent(values['task'])} of the decided tasks succeeded: the gap is what no provider's "
        "status page shows."
    )


def _estimated(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    if any(row["basis"] == "estimate" for row in rows):
        return ("Estimated from sampled sessions, each counted for those it stands for.",)
    return ()


def _axis(values: Sequence[float]) -> Scale:
    """Return an axis up to 100 % that begins as high as the values allow."""
    least = min(values, default=0.0)
    low = next((floor for floor in _FLOORS if floor <= least), 0.0)
    return Scale(low, 1.0, Kind.SHARE, (1.0 - low) / _STEPS)


def _begins(axis: Scale) -> str:
    return f"; the axis begins at {axis.low * 100:g} %" if axis.low else ""


def losses(rows: Sequence[dict[str, Any]]) -> Bars:
    """Return the way from all tasks down to those that succeeded, cause by cause.

    Args:
        rows: What `tracekit.sla.waterfall` returns without groups.
    """
    decided = [row for row in rows if row["remaining"] is not None]
    axis = _axis([row["remaining"] for row in decided])
    lines = [Line("all decided tasks", "100", (Part(0, 1, "rest"),))] if decided else []
    before = 1.0
    for row in decided:
        if row["tasks"]:
            lines.append(_loss(row, before))
        before = row["remaining"]
    if decided:
        lines.append(Line("succeeded", f"{before * 100:.1f}", (Part(0, before, "success"),)))
    return Bars(
        title="What the failed tasks were lost to, % of decided tasks",
        says=_largest(decided),
        header="lost to",
        value_header="% of tasks",
        axis=f"% of decided tasks that are left{_begins(axis)}",
        scale=axis,
        lines=tuple(lines),
        legend=("lost",) if decided else (),
        notes=(
            _RULE,
            *_estimated(rows),
        ),
    )


def _loss(row: dict[str, Any], before: float) -> Line:
    noun = "task" if row["tasks"] == 1 else "tasks"
    note = (
        f"{_words()['causes'].get(row['cause'], '')}: {row['tasks']:,.0f} {noun}, 95 % interval "
        f"{share_range(row['low'], row['high'])}"
    )
    label = str(row["cause"]).replace("_", " ")
    return Line(
        label,
        f"−{row['share'] * 100:.1f}",  # noqa: RUF001 - a minus
        (Part(row["remaining"], before, "lost"),),
        note=note,
    )


def _largest(rows: Sequence[dict[str, Any]]) -> str:
    lost = [row for row in rows if row["tasks"]]
    if not lost:
        return "No decided task was lost." if rows else "No task is decided."
    first = max(lost, key=lambda row: number_of(row["tasks"]))
    theirs = sum(number_of(row["share"]) for row in lost if row["cause"] == "provider_counted")
    counted = (
        f"Failures that a provider's terms count cost {percent(theirs)}."
        if theirs
        else "None is lost to a failure that a provider's terms count."
    )
    cause = str(first["cause"]).replace("_", " ")
    return f"Most are lost to {cause}: {percent(first['share'])} of the tasks. {counted}"


def promises(rows: Iterable[Verdict]) -> Table:
    """Return the verdicts on what providers promised.

    Args:
        rows: What `tracekit.sla.verdicts` returns.
    """
    return Table(
        "What the providers promised, and what came of it",
        (
            ColumnSpec("terms"),
            ColumnSpec("unit", title="scope"),
            ColumnSpec("period"),
            ColumnSpec("promise"),
            ColumnSpec("objective", Kind.SHARE, title="promised\n%"),
            ColumnSpec("measured", Kind.SHARE, title="measured\n%", ends=("low", "high")),
            ColumnSpec("eligible", Kind.COUNT, title="calls"),
            ColumnSpec("uncounted", Kind.COUNT, title="failed,\nnot counted"),
            ColumnSpec("verdict"),
            ColumnSpec("reason", Kind.PROSE),
        ),
        tuple(query.plain(row) for row in rows),
    )
