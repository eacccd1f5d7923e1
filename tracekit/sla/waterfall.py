"""From calls to tasks: three indicators, and what every failed task was lost to.

    con = Lake.open(".tracekit").connect()
    slis(con)                                  # attempts, calls, tasks: how many were good
    waterfall(con, by=["agent_name"])          # the lost tasks by cause

Both return plain rows; keys of `by` come first in each, then the fields of `Sli` or `Loss`.
"""

from __future__ import annotations

from collections import defaultdict
from math import isnan
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from tracekit.reports import query
from tracekit.sla import conditions
from tracekit.sla.causes import causes
from tracekit.sla.reading import shipped
from tracekit.sla.relations import FAR_NS, grouping, number, prepare, rate, sql, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from tracekit.reports.query import Grouping
    from tracekit.sla.relations import Basis, Ledger
    from tracekit.sla.terms import Terms
    from tracekit.stats.intervals import Estimate

    Rows = list[dict[str, Any]]


class Sli(TypedDict):
    """One service level indicator of a group.

    Attributes:
        sli: attempt (every try of a model call, refusals among the bad ones), call (after retries
            and fallbacks) or task (by its outcome).
        total: How many there were; tasks with a known outcome.
        bad: How many failed.
        value: Share that was good; None where there were none.
        low: Lower end of its 95 % interval.
        high: Upper end.
        undetermined: Tasks of unknown outcome, which are not in total.
        recovered: Calls that failed for good and were made good by a later one.
        basis: `ledger`, or `estimate` where only sampled sessions are there.
    """

    sli: Literal["attempt", "call", "task"]
    total: float
    bad: float
    value: float | None
    low: float
    high: float
    undetermined: float
    recovered: float
    basis: Basis


class Loss(TypedDict):
    """What one cause took from a group.

    Attributes:
        cause: One of `causes.yaml`, in its order; every cause has a row.
        tasks: Tasks lost to it.
        decided: Tasks of the group with a known outcome.
        share: tasks / decided; None where there are none.
        low: Lower end of the share's 95 % interval.
        high: Upper end.
        remaining: Share of the tasks that is left after this cause and those before it; after the
            last one it is the task SLI.
        tokens: Tokens spent on these tasks.
        cost_usd: What they cost; None where nothing has a price, a lower bound where
            unpriced_calls is above 0.
        unpriced_calls: Calls of theirs without a price.
        codes: Stop codes that decided, with their numbers of tasks, most frequent first.
        contract: What the terms say of the calls that ended them, with numbers of tasks: counted,
            excluded, uncounted, unstated, no_terms. Empty where no call ended them.
        basis: As in `Sli`.
    """

    cause: str
    tasks: float
    decided: float
    share: float | None
    low: float
    high: float
    remaining: float | None
    tokens: float
    cost_usd: float | None
    unpriced_calls: int
    codes: dict[str, float]
    contract: dict[str, float]
    basis: Basis


def slis(
    con: duckdb.DuckDBPyConnection,
    from_ns: int = 0,
    to_ns: int = FAR_NS,
    by: Sequence[str] = (),
    *,
    where: str | None = None,
) -> Rows:
    """Return three indicators per group: attempt, call, task.

    The fourth, the provider's own, is `tracekit.sla.contract.verdicts`. Attempts that were
    cancelled on this side are not counted. Attempts and calls count by their own start, tasks by
    theirs.

    Args:
        con: Connection with the lake's views.
        from_ns: First start that counts, UTC, ns since 1970.
        to_ns: First start that no longer counts.
        by: Columns of `tasks`, or words of `--by`; provider and model are those of each attempt,
            and of the task the ones that took most tokens.
        where: SQL expression over the columns of `tasks`.

    Returns:
        Rows with the keys of `by` and the fields of `Sli`.

    Raises:
        UsageError: `by` or `where` is wrong.
    """
    ledger = prepare(con)
    keys, condition = grouping(con, by, where)
    parts = {"from_ns": from_ns, "to_ns": to_ns, "where": condition}
    found = query.fetch(con, sql("slis").format(**keys.parts(), **parts), view="tasks")
    return [_sli(keys, row, ledger) for row in found]


def _sli(keys: Grouping, row: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    total, bad = number(row["total"]), number(row["bad"])
    squares = number(row["bad_squares"]), number(row["total_squares"])
    estimate = rate((bad, squares[0]), (total, squares[1]), ledger)
    sli = Sli(
        sli=row["sli"],
        total=whole(total),
        bad=whole(bad),
        value=_known(estimate),
        low=estimate.low,
        high=estimate.high,
        undetermined=whole(number(row["undetermined"])),
        recovered=whole(number(row["recovered"])),
        basis=ledger.basis,
    )
    return {**keys_of(keys, row), **sli}


def waterfall(  # noqa: PLR0913  the questions `slis` answers, and the terms
    con: duckdb.DuckDBPyConnection,
    from_ns: int = 0,
    to_ns: int = FAR_NS,
    by: Sequence[str] = (),
    *,
    where: str | None = None,
    terms: Iterable[Terms] | None = None,
) -> Rows:
    """Return what the failed tasks were lost to: every one to exactly one cause.

    A task is lost to the first model call it needed (`essential` is not false) that failed for
    good: no attempt succeeded, and no later call of the same agent for the task did. What decides
    is the last attempt at it, at a fallback too. Where there is no such call the task is lost to
    what its stop code says. The tasks of all causes add up to the failed tasks.

    Args:
        con: Connection with the lake's views.
        from_ns: First start of a task that counts, UTC, ns since 1970.
        to_ns: First start that no longer counts.
        by: Columns of `tasks`, or words of `--by`.
        where: SQL expression over the columns of `tasks`.
        terms: Terms that say which failures count; by default those shipped.

    Returns:
        Rows with the keys of `by` and the fields of `Loss`: per group one for each cause, in order.

    Raises:
        UsageError: `by` or `where` is wrong.
    """
    ledger = attribute(con, from_ns, to_ns, by, where=where, terms=terms)
    keys, condition = grouping(con, by, where)
    parts = {"from_ns": from_ns, "to_ns": to_ns, "where": condition}
    found = query.fetch(con, sql("waterfall").format(**keys.parts(), **parts), view="tasks")
    groups: defaultdict[tuple[Any, ...], Rows] = defaultdict(list)
    for row in found:
        groups[tuple(keys_of(keys, row).items())].append(row)
    return [
        {**dict(group), **loss} for group, rows in groups.items() for loss in _losses(rows, ledger)
    ]


def attribute(  # noqa: PLR0913  as above
    con: duckdb.DuckDBPyConnection,
    from_ns: int = 0,
    to_ns: int = FAR_NS,
    by: Sequence[str] = (),
    *,
    where: str | None = None,
    terms: Iterable[Terms] | None = None,
) -> Ledger:
    """Make temporary table `sla_loss`: every failed task with its cause; see `causes.sql`.

    Arguments and errors are those of `waterfall`.
    """
    ledger = prepare(con)
    keys, condition = grouping(con, by, where)
    parts = {"from_ns": from_ns, "to_ns": to_ns, "where": condition}
    con.execute(sql("losses").format(**keys.parts(), **parts))
    for one in shipped().values() if terms is None else terms:
        con.execute(
            sql("lost_classes").format(
                terms=conditions.text(one.id),
                scope=conditions.in_scope(one),
                class_=conditions.in_class(one),
            )
        )
    con.execute(sql("causes"))
    return ledger


def _losses(rows: Rows, ledger: Ledger) -> Iterable[Loss]:
    decided, squares = number(rows[0]["decided"]), number(rows[0]["decided_squares"])
    lost = 0.0
    for cause in causes().causes:
        mine = [row for row in rows if row["cause"] == cause]
        tasks = sum(number(row["tasks"]) for row in mine)
        own = sum(number(row["squares"]) for row in mine)
        rest = rate((tasks, own), (decided, squares), ledger)
        lost += tasks
        costs = [row["cost_usd"] for row in mine if row["cost_usd"] is not None]
        yield Loss(
            cause=cause,
            tasks=whole(tasks),
            decided=whole(decided),
            share=tasks / decided if decided else None,
            low=1 - rest.high,
            high=1 - rest.low,
            remaining=(decided - lost) / decided if decided else None,
            tokens=whole(sum(number(row["tokens"]) for row in mine)),
            cost_usd=float(sum(costs)) if costs else None,
            unpriced_calls=int(sum(number(row["unpriced_calls"]) for row in mine)),
            codes=_counts(mine, "code"),
            contract=_counts(mine, "contract"),
            basis=ledger.basis,
        )


def _counts(rows: Rows, name: str) -> dict[str, float]:
    counts: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        if row[name] is not None:
            counts[row[name]] += number(row["tasks"])
    return {key: whole(counts[key]) for key in sorted(counts, key=lambda key: (-counts[key], key))}


def keys_of(keys: Grouping, row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row of a grouped query is grouped by, under its own names."""
    renamed = keys.renamed(row)
    return {name: query.plain_value(renamed[name]) for name in keys.keys}


def _known(estimate: Estimate) -> float | None:
    return None if isnan(estimate.value) else estimate.value
