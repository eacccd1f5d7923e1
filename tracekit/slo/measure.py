"""Counting: the events of an objective, its time window, and the burn over several windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from math import gcd
from typing import TYPE_CHECKING, Any, Final

from tracekit.errors import UsageError
from tracekit.reports.query import fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from tracekit.slo.budget import Rule
    from tracekit.slo.objectives import Objective

SECOND_NS: Final = 1_000_000_000
_GAP_NS: Final = 900 * SECOND_NS
"""Failures of a provider that are further apart are different incidents: the 15-minute block that
incident clusters are usually cut into."""

_SHORT_TASKS: Final = 3
"""Tasks a short window needs before it is believed; else a wider one is asked."""


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in a time window.

    Attributes:
        good: Good tasks.
        bad: Bad tasks.
        undetermined: Tasks that are neither; among the bad ones where the objective says so.
        not_counted: Tasks that are no event.
        units: What the budgeting method counts: tasks, or slices with data.
        bad_units: How many of them were bad; a sum of shares for RatioTimeslices.
        squares: Sum of the squares of the bad clusters' sizes.
        clusters: Independent groups of bad units.
        incidents: How many of the clusters are incidents of a provider, or runs of slices.
        slices: Slices of the window.
        measured: How many of them have data.
        bad_slices: Slices below their target; None without one.
        bad_shares: Sum of the slices' bad shares.
    """

    good: int
    bad: int
    undetermined: int
    not_counted: int
    units: float
    bad_units: float
    squares: float
    clusters: int
    incidents: int
    slices: int
    measured: int
    bad_slices: int | None
    bad_shares: float

    @property
    def coverage(self) -> float:
        """Share of the slices that have data."""
        return self.measured / self.slices if self.slices else 0.0


@cache
def _sql(name: str) -> str:
    return resources.files("tracekit.slo").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def ends(con: duckdb.DuckDBPyConnection) -> tuple[datetime, datetime] | None:
    """Return the first start and the last end of the lake's tasks, or None where it has none."""
    (row,) = fetch(con, _sql("ends"))
    if row["first"] is None:
        return None
    return row["first"].replace(tzinfo=UTC), row["last"].replace(tzinfo=UTC)


def text(value: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def load_events(
    con: duckdb.DuckDBPyConnection, objective: Objective, from_ns: int, to_ns: int
) -> None:
    """Make the table `slo_events` of an objective, for the tasks that ended in a time.

    Raises:
        UsageError: Tasks stand for others that were dropped and are not in the ledger.
    """
    indicator = objective.indicator
    # A line of its own: a predicate may end in a comment.
    predicates = {key: f"(\n{sql}\n)" for key, sql in indicator.predicates().items()}
    con.execute(
        _sql("events").format(
            **{"where": "true", "not_counted": "NULL::BOOLEAN", **predicates},
            truth=text(indicator.truth),
            sources="[" + ", ".join(map(text, indicator.sources)) + "]::VARCHAR[]",
            undetermined_is_bad=str(indicator.undetermined == "bad").lower(),
            from_ns=from_ns,
            to_ns=to_ns,
        )
    )
    (row,) = fetch(con, _sql("sampled"))
    if row["tasks"]:
        raise UsageError(
            f"{objective.name}: {row['tasks']:,} tasks are of sampled sessions that stand for "
            "others the ledger lacks; an error budget needs every task: let the collector write "
            "the ledger, or leave them out with `where`"
        )


def _bad_unit(objective: Objective, of_slice: str, of_share: str, otherwise: str) -> str:
    by_method = {"Timeslices": of_slice, "RatioTimeslices": of_share}
    return by_method.get(objective.budgeting_method, otherwise)


def window(
    con: duckdb.DuckDBPyConnection, objective: Objective, from_ns: int, to_ns: int
) -> Window:
    """Return what happened in a time window; `load_events` comes first."""
    slice_ns = objective.slice_s * SECOND_NS
    target = objective.time_slice_target
    query = _sql("window").format(
        from_ns=from_ns,
        to_ns=to_ns,
        slice_ns=slice_ns,
        gap_ns=_GAP_NS,
        slice_target="NULL" if target is None else repr(target),
        budget=repr(objective.budget),
        bad_unit=_bad_unit(objective, "is_bad", "bad_share", "bad_share"),
    )
    (row,) = fetch(con, query)
    good, bad = int(row["good"]), int(row["bad"])
    whole = {key: int(row[key]) for key in ("undetermined", "not_counted", "measured")}
    if objective.budgeting_method == "Occurrences":
        units, bad_units = float(good + bad), float(bad)
        squares = float(row["lone_bad"] + row["incident_squares"])
        clusters, incidents = int(row["lone_bad"] + row["incidents"]), int(row["incidents"])
    else:
        units = float(row["measured"])
        shares = objective.budgeting_method == "RatioTimeslices"
        bad_units = float(row["bad_shares"] if shares else row["bad_slices"])
        squares = float(row["other_squares"] + row["run_squares"])
        clusters, incidents = int(row["other_bad"] + row["runs"]), int(row["runs"])
    return Window(
        good=good,
        bad=bad,
        units=units,
        bad_units=bad_units,
        squares=squares,
        clusters=clusters,
        incidents=incidents,
        slices=-(-(to_ns - from_ns) // slice_ns),
        bad_slices=None if target is None else int(row["bad_slices"]),
        bad_shares=float(row["bad_shares"]),
        **whole,
    )


def step_s(objective: Objective, rules: Sequence[Rule], at_most: int) -> int:
    """Return the step that divides all windows: a slice, or up to so many seconds."""
    if objective.budgeting_method != "Occurrences":
        return objective.slice_s
    lengths = [length for rule in rules for length in (rule.long_s, rule.short_s)]
    return gcd(at_most, *lengths)


def burns(  # noqa: PLR0913 - the grid of moments is three numbers
    con: duckdb.DuckDBPyConnection,
    objective: Objective,
    rules: Sequence[Rule],
    *,
    first_ns: int,
    moments: int,
    step: int,
    every: bool,
) -> list[dict[str, Any]]:
    """Return the burn of each rule at a row of moments; `load_events` comes first.

    Args:
        con: Connection with `slo_events`.
        objective: The objective.
        rules: Its rules.
        first_ns: First moment.
        moments: How many there are.
        step: Seconds between them, see `step_s`.
        every: Whether rules come back that are not above their rate in both windows.

    Returns:
        Rows of `burn.sql`, and `at_ns`.
    """
    if not rules:
        return []
    before = max(rule.long_s for rule in rules) // step
    origin_ns = first_ns - before * step * SECOND_NS
    share = "bad / tasks"
    is_bad = f"CASE WHEN 1 - {share} < {objective.time_slice_target} THEN 1 ELSE 0 END"
    query = _sql("burn").format(
        origin_ns=origin_ns,
        step_ns=step * SECOND_NS,
        steps=before + moments - 1,
        first_step=before,
        total_unit="tasks" if objective.budgeting_method == "Occurrences" else "1",
        bad_unit=_bad_unit(objective, is_bad, share, "bad"),
        windows=", ".join(_windows(objective, rules, step)),
        min_short=_SHORT_TASKS,
        every=str(every).lower(),
    )
    rows = fetch(con, query)
    return [row | {"at_ns": origin_ns + row["step"] * step * SECOND_NS} for row in rows]


def _windows(objective: Objective, rules: Sequence[Rule], step: int) -> list[str]:
    made = []
    for number, rule in enumerate(rules):
        rate = rule.burn * objective.budget
        lengths = (rule.long_s, *rule.short_windows())
        for part, length in enumerate(lengths):
            last = str(part == len(lengths) - 1).lower()
            made.append(f"({number}, {part}, {length // step}, {rate!r}::DOUBLE, {last})")
    return made
