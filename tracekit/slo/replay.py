"""Alerts over history: when they would have fired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from tracekit.reports.query import iso, plain
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.slo import measure
from tracekit.slo.alerts import Episode, episodes, judged
from tracekit.slo.budget import rules
from tracekit.slo.status import nanoseconds, whole

if TYPE_CHECKING:
    import duckdb

    from tracekit.slo.budget import Rule
    from tracekit.slo.objectives import Objective, Objectives

_COLUMNS: Final = (
    ColumnSpec("objective"),
    ColumnSpec("severity"),
    ColumnSpec("start", Kind.TIME, title="start UTC"),
    ColumnSpec("end", Kind.TIME, title="end UTC"),
    ColumnSpec("duration_s", Kind.SECONDS, hidden=True),
    ColumnSpec("burn", Kind.FACTOR, title="highest\nburn"),
    ColumnSpec("bad", Kind.COUNT, title="bad\ntasks", rank=1),
    ColumnSpec("bad_clusters", Kind.COUNT, title="in\nclusters", rank=2),
    ColumnSpec("rules", Kind.LIST, rank=3),
)


def replay(
    con: duckdb.DuckDBPyConnection,
    objectives: Objectives,
    since: datetime,
    until: datetime,
    step_s: int,
) -> Table:
    """Return the times in which alerts would have fired, one row each.

    Outcomes are those the connection knows: with late labels that is more than was known then.
    `bad` and `bad_clusters` count from the beginning of the long window that raised the alert.

    Args:
        con: Connection with the lake's views.
        objectives: The objectives.
        since: First moment, with its zone.
        until: Last moment.
        step_s: Seconds between moments, at most; slices for methods that have them.

    Raises:
        UsageError: Tasks are a sample of others that the ledger lacks.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for objective in objectives.objectives:
        made = rules(objective)
        found, held_back = _episodes(con, objective, (since, until), step_s)
        rows += [_row(con, objective, made, episode) for episode in found]
        if held_back:
            notes.append(
                f"{objective.name}: {held_back:,} times an alert was held back: too few tasks to "
                "tell."
            )
    title = f"Alerts from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    return Table(title, _COLUMNS, tuple(rows), notes=tuple(notes))


def _episodes(
    con: duckdb.DuckDBPyConnection,
    objective: Objective,
    span: tuple[datetime, datetime],
    step_s: int,
) -> tuple[list[Episode], int]:
    made = rules(objective)
    if not made:
        return [], 0
    first, last = (whole(objective, moment) for moment in span)
    step = measure.step_s(objective, made, step_s)
    first -= timedelta(seconds=first.timestamp() % step)
    longest = timedelta(seconds=max(rule.long_s for rule in made))
    measure.load_events(con, objective, nanoseconds(first - longest), nanoseconds(last))
    rows = measure.burns(
        con,
        objective,
        made,
        first_ns=nanoseconds(first),
        moments=(nanoseconds(last) - nanoseconds(first)) // (step * measure.SECOND_NS) + 1,
        step=step,
        every=False,
    )
    seen = ((row["at_ns"], judged(objective, made, row)) for row in rows)
    return episodes(seen, step, nanoseconds(last))


def _row(
    con: duckdb.DuckDBPyConnection,
    objective: Objective,
    made: tuple[Rule, ...],
    episode: Episode,
) -> Row:
    fired = next(rule for rule in made if rule.name == episode.rules[0])
    from_ns = episode.start_ns - fired.long_s * measure.SECOND_NS
    window = measure.window(con, objective, from_ns, episode.end_ns)
    start, end = (
        datetime.fromtimestamp(moment // measure.SECOND_NS, UTC)
        for moment in (episode.start_ns, episode.end_ns)
    )
    return plain(
        {
            "objective": objective.name,
            "severity": episode.severity,
            "start": iso(start),
            "end": iso(end),
            "duration_s": (end - start).total_seconds(),
            "burn": episode.burn,
            "bad": window.bad,
            "bad_clusters": window.clusters,
            "rules": episode.rules,
        }
    )
