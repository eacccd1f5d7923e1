"""Objectives at a moment: indicator, error budget, burn, alerts, verdict, gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Final, cast

from tracekit.reports.query import iso, plain
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.slo import measure
from tracekit.slo.alerts import Judged, judged
from tracekit.slo.budget import exhausted_in_s, rules
from tracekit.slo.verdict import Verdict, undetermined_share, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from tracekit.slo.budget import Rule
    from tracekit.slo.measure import Window
    from tracekit.slo.objectives import Objective, Objectives

_COLUMNS: Final = (
    ColumnSpec("objective"),
    ColumnSpec("service", hidden=True),
    ColumnSpec("budgeting_method", hidden=True),
    ColumnSpec("truth", rank=4),
    ColumnSpec("window_start", Kind.TIME, hidden=True),
    ColumnSpec("window_end", Kind.TIME, hidden=True),
    ColumnSpec("target", Kind.SHARE, title="target\n%"),
    ColumnSpec("sli", Kind.SHARE, title="SLI\n%", ends=("sli_low", "sli_high")),
    ColumnSpec("sli_low", Kind.SHARE, hidden=True),
    ColumnSpec("sli_high", Kind.SHARE, hidden=True),
    ColumnSpec("exact_low", Kind.SHARE, hidden=True),
    ColumnSpec("exact_high", Kind.SHARE, hidden=True),
    ColumnSpec("sli_occurrences", Kind.SHARE, hidden=True),
    ColumnSpec("sli_timeslices", Kind.SHARE, hidden=True),
    ColumnSpec("sli_ratio_timeslices", Kind.SHARE, hidden=True),
    ColumnSpec("tasks", Kind.COUNT, rank=3),
    ColumnSpec("good", Kind.COUNT, hidden=True),
    ColumnSpec("bad", Kind.COUNT, hidden=True),
    ColumnSpec("undetermined", Kind.COUNT, hidden=True),
    ColumnSpec("undetermined_share", Kind.SHARE, hidden=True),
    ColumnSpec("not_counted", Kind.COUNT, hidden=True),
    ColumnSpec("bad_clusters", Kind.COUNT, hidden=True),
    ColumnSpec("effective_units", Kind.NUMBER, hidden=True),
    ColumnSpec("coverage", Kind.SHARE, hidden=True),
    ColumnSpec("budget_unit", hidden=True),
    ColumnSpec("budget", Kind.NUMBER, hidden=True),
    ColumnSpec("budget_spent", Kind.NUMBER, hidden=True),
    ColumnSpec("budget_left", Kind.SHARE, title="budget\nleft %"),
    ColumnSpec("burn", Kind.FACTOR, rank=1),
    ColumnSpec("burn_window_s", Kind.SECONDS, hidden=True),
    ColumnSpec("exhausted_in_s", Kind.SECONDS, hidden=True),
    ColumnSpec("alert"),
    ColumnSpec("alerts", Kind.LIST, hidden=True),
    ColumnSpec("verdict"),
    ColumnSpec("reason", Kind.PROSE, hidden=True),
    ColumnSpec("gate", rank=2),
    ColumnSpec("gate_failed_on", Kind.LIST, hidden=True),
)
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Measured:
    """An objective, measured: what a row is made of."""

    objective: Objective
    start: datetime
    end: datetime
    window: Window
    verdict: Verdict
    alerts: tuple[Judged, ...]


def status(con: duckdb.DuckDBPyConnection, objectives: Objectives, at: datetime) -> Table:
    """Return every objective at a moment, one row each.

    `gate` is passed, failed or off; `tracekit slo` fails where one failed. The budget is counted in
    tasks, or in seconds of slices; `budget_left` is below 0 where it is overspent.

    Args:
        con: Connection with the lake's views, which resolve outcomes as of its own time.
        objectives: The objectives.
        at: The moment, with its zone.

    Raises:
        UsageError: Tasks are a sample of others that the ledger lacks.
    """
    found = [_measured(con, objective, at) for objective in objectives.objectives]
    notes = [note for one in found for note in _notes(one)]
    if any(not one.window.units for one in found):
        notes += _hint(con, at)
    return Table(
        title=f"Objectives at {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        columns=_COLUMNS,
        rows=tuple(_row(one) for one in found),
        notes=tuple(notes),
    )


def failed(table: Table) -> dict[str, list[str]]:
    """Return the objectives of `status` whose gate failed, and on what."""
    rows = (row for row in table.rows if row["gate"] == "failed")
    return {str(row["objective"]): cast("list[str]", row["gate_failed_on"]) for row in rows}


def nanoseconds(moment: datetime) -> int:
    """Return a moment as nanoseconds since 1970, exact to the microsecond."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def whole(objective: Objective, at: datetime) -> datetime:
    """Return the last moment that an objective knows whole: without what labels still come for."""
    known = nanoseconds(at) - objective.indicator.label_lag * measure.SECOND_NS
    if objective.budgeting_method != "Occurrences":
        known -= known % (objective.slice_s * measure.SECOND_NS)
    return datetime.fromtimestamp(known // measure.SECOND_NS, UTC)


def _measured(con: duckdb.DuckDBPyConnection, objective: Objective, at: datetime) -> _Measured:
    start, end = objective.window(whole(objective, at))
    made = rules(objective)
    longest = max((rule.long_s for rule in made), default=0)
    first = min(start, end - timedelta(seconds=longest))
    measure.load_events(con, objective, nanoseconds(first), nanoseconds(end))
    window = measure.window(con, objective, nanoseconds(start), nanoseconds(end))
    alerts = _alerts(con, objective, end, made)
    return _Measured(objective, start, end, window, verdict(objective, window), alerts)


def _alerts(
    con: duckdb.DuckDBPyConnection, objective: Objective, end: datetime, made: tuple[Rule, ...]
) -> tuple[Judged, ...]:
    rows = measure.burns(
        con,
        objective,
        made,
        first_ns=nanoseconds(end),
        moments=1,
        step=measure.step_s(objective, made, _DAY_S),
        every=True,
    )
    return tuple(judged(objective, made, row) for row in rows)


def _row(one: _Measured) -> Row:
    objective, window, found = one.objective, one.window, one.verdict
    budget = objective.budget * window.units
    left = 1 - window.bad_units / budget if budget else None
    now = _burn_now(one)
    burn = now.burn if now else None
    unit_s = 1 if objective.budgeting_method == "Occurrences" else objective.slice_s
    alert = _alert(one.alerts)
    reasons = _failed_on(one, left, alert)
    known = window.good + window.bad
    timeslices = _share(window.bad_slices, window.measured)
    return plain(
        {
            "objective": objective.name,
            "service": objective.service,
            "budgeting_method": objective.budgeting_method,
            "truth": objective.indicator.truth,
            "window_start": iso(one.start),
            "window_end": iso(one.end),
            "target": objective.target,
            "sli": _known(found.indicator.value),
            "sli_low": found.indicator.low,
            "sli_high": found.indicator.high,
            "exact_low": found.exact.low,
            "exact_high": found.exact.high,
            "sli_occurrences": _share(window.bad, known),
            "sli_timeslices": timeslices,
            "sli_ratio_timeslices": _share(window.bad_shares, window.measured),
            "tasks": known,
            "good": window.good,
            "bad": window.bad,
            "undetermined": window.undetermined,
            "undetermined_share": undetermined_share(window) if known else None,
            "not_counted": window.not_counted,
            "bad_clusters": window.clusters,
            "effective_units": found.effective,
            "coverage": window.coverage,
            "budget_unit": "tasks" if unit_s == 1 else "s",
            "budget": budget * unit_s,
            "budget_spent": window.bad_units * unit_s,
            "budget_left": left,
            "burn": burn,
            "burn_window_s": now.rule.long_s if now else None,
            "exhausted_in_s": _exhausted_in(objective, left, burn),
            "alert": alert,
            "alerts": [f"{a.rule.name}: {a.state.replace('_', ' ')}" for a in one.alerts],
            "verdict": found.word,
            "reason": found.reason,
            "gate": ("failed" if reasons else "passed") if objective.gate else "off",
            "gate_failed_on": reasons,
        }
    )


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def _share(bad: float | None, total: float) -> float | None:
    return None if bad is None or not total else 1 - bad / total


def _exhausted_in(objective: Objective, left: float | None, burn: float | None) -> float | None:
    if left is None or burn is None:
        return None
    return _known(exhausted_in_s(left, burn, objective.period_s))


def _burn_now(one: _Measured) -> Judged | None:
    """Return the burn over the shortest long window that has enough tasks to tell one."""
    enough = [a for a in one.alerts if a.burn is not None and a.tasks >= one.objective.min_events]
    return min(enough, key=lambda a: a.rule.long_s, default=None)


def _alert(alerts: tuple[Judged, ...]) -> str:
    """Return what is worst: page, ticket, low traffic, no data or ok."""
    firing = {alert.rule.severity for alert in alerts if alert.state == "firing"}
    if firing:
        return "page" if "page" in firing else "ticket"
    if not alerts:
        return "off"
    states = {alert.state for alert in alerts}
    if "low_traffic" in states:
        return "low traffic"
    return "no data" if states == {"no_data"} else "ok"


def _failed_on(one: _Measured, left: float | None, alert: str) -> list[str]:
    holds = {
        "missed": one.verdict.word == "missed",
        "indeterminate": one.verdict.word == "indeterminate",
        "spent": left is not None and left <= 0,
        "page": alert == "page",
        "ticket": any(a.state == "firing" and a.rule.severity == "ticket" for a in one.alerts),
    }
    return [word for word in one.objective.gate if holds[word]]


def _notes(one: _Measured) -> Iterator[str]:
    window, found = one.window, one.verdict
    said = [f"{found.word}, {found.reason}"]
    if window.undetermined and "undetermined" not in found.reason:
        share = f"{undetermined_share(window) * 100:.0f} %"
        bad = one.objective.indicator.undetermined == "bad"
        said.append(f"{share} of its tasks undetermined, {'counted as bad' if bad else 'left out'}")
    if window.not_counted:
        said.append(f"{window.not_counted:,} not counted")
    if window.incidents and window.clusters < window.bad_units:
        unit = "tasks" if one.objective.budgeting_method == "Occurrences" else "slices"
        said.append(
            f"{window.bad_units:,.4g} bad {unit} in {window.clusters:,} independent clusters, "
            f"which its interval counts"
        )
    if 0 < window.coverage < 1 and "slices" not in found.reason:
        said.append(f"data in {window.coverage * 100:.0f} % of its slices")
    days = f"{one.start:%Y-%m-%d %H:%M} to {one.end:%Y-%m-%d %H:%M}"
    yield f"{one.objective.name} ({days}): {'; '.join(said)}."


def _hint(con: duckdb.DuckDBPyConnection, at: datetime) -> Iterator[str]:
    ends = measure.ends(con)
    if ends is None:
        yield "The lake has no tasks."
    elif ends[1] < at - timedelta(days=1):
        day = ends[1].date()
        yield f"The last task of the lake ended on {day}: --at {day} asks about then."
