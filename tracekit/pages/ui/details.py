"""One session: what it was, how it ended, what the detectors say, and its steps on a time axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracekit import detectors
from tracekit.errors import UsageError
from tracekit.lake.catalogue import narrow
from tracekit.pages.charts import number_of
from tracekit.pages.listing import listing
from tracekit.pages.render import page
from tracekit.pages.scale import scale
from tracekit.reports import query, session
from tracekit.reports.facts import (
    failed,
    session_facts,
    step_cost,
    step_end,
    step_label,
    step_tokens,
)
from tracekit.reports.figures import duration
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from tracekit.pages.ui.state import State

MOST_STEPS = 2_000
"""Steps that are drawn: more make a page nobody scrolls through."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the waterfall.

    Attributes:
        label: What it did.
        depth: How many steps it is inside of.
        start: Where its bar begins, in seconds from the first start.
        end: Where its bar ends.
        open: Whether its end is unknown.
        took: Its duration as text.
        used: Its tokens as text.
        cost: Its cost in USD as text.
        ended: How it ended.
        look: How the bar is filled.
        evidence: Detectors that name it as evidence.
        span_id: Its id.
    """

    label: str
    depth: int
    start: float
    end: float
    open: bool
    took: str
    used: str
    cost: str
    ended: str
    look: str
    evidence: str
    span_id: str


def show(state: State, session_id: str) -> tuple[int, str]:
    """Return the status and the page of a session.

    Args:
        state: The lake.
        session_id: The whole id.
    """
    baselines = state.baselines()

    def ask(con: duckdb.DuckDBPyConnection) -> tuple[session.Session, list[dict[str, Any]]]:
        return _found(con, session_id, baselines)

    try:
        found, verdicts = state.ask(ask)
    except UsageError as error:
        return 404, page("message.html", title="No such session", message=str(error))
    return 200, _page(found, verdicts, waiting=baselines is None)


def _found(
    con: duckdb.DuckDBPyConnection, session_id: str, baselines: pa.Table | None
) -> tuple[session.Session, list[dict[str, Any]]]:
    narrow(con, f"SELECT {query.literal(session_id)} AS session_id")
    found = session.session(con, session_id)
    detectors.register(con)
    detectors.restore(con, baselines)
    detectors.run(con)
    verdicts = query.report(con, "session_verdicts", "sessions", Selection())
    return found, verdicts


def _page(found: session.Session, verdicts: list[dict[str, Any]], *, waiting: bool) -> str:
    rows = found.steps.rows[:MOST_STEPS]
    ends = [number_of(row["at_s"]) + number_of(row["duration_s"]) for row in rows]
    return page(
        "session.html",
        session_id=str(found.head["session_id"]),
        facts=list(session_facts(found.head)),
        kept=found.head["kept"] is not False,
        tasks=listing(found.tasks) if len(found.tasks.rows) > 1 else None,
        verdicts=listing(_verdict_table(verdicts, waiting=waiting)),
        steps=list(_steps(rows, _evidence(verdicts))),
        left_out=len(found.steps.rows) - len(rows),
        scale=scale(ends, Kind.SECONDS),
    )


def _verdict_table(verdicts: Sequence[dict[str, Any]], *, waiting: bool) -> Table:
    note = "The cohort baselines are being made: token_amplification has none yet. Load again."
    return Table(
        "What the detectors say",
        (
            ColumnSpec("detector"),
            ColumnSpec("verdict"),
            ColumnSpec("severity"),
            ColumnSpec("value", Kind.NUMBER),
            ColumnSpec("threshold", Kind.NUMBER),
            ColumnSpec("reason", Kind.PROSE),
        ),
        tuple(query.plain(row | {"verdict": row["verdict"].replace("_", " ")}) for row in verdicts),
        notes=(note,) if waiting else (),
    )


def _evidence(verdicts: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the detectors that name a span as evidence, by span."""
    named: dict[str, list[str]] = {}
    for row in verdicts:
        for span_id in filter(None, str(row["evidence_span_ids"] or "").split(",")):
            named.setdefault(span_id, []).append(str(row["detector"]))
    return named


def _steps(rows: Sequence[Row], evidence: dict[str, list[str]]) -> Iterator[Step]:
    for row in rows:
        start = number_of(row["at_s"])
        span_id = str(row["span_id"])
        yield Step(
            label=step_label(row),
            depth=int(number_of(row["depth"])),
            start=start,
            end=start + number_of(row["duration_s"]),
            open=row["duration_s"] is None,
            took=duration(row["duration_s"]),
            used=step_tokens(row),
            cost=step_cost(row),
            ended=step_end(row),
            look=_look(row),
            evidence=", ".join(evidence.get(span_id, [])),
            span_id=span_id,
        )


def _look(row: Row) -> str:
    if failed(row):
        return "failure"
    if row["waste_reason"]:
        return "wasted"
    return {"llm": "plain", "tool": "tool"}.get(str(row["operation"]), "light")
