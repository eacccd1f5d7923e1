"""What the availability of calls makes of that of tasks: bounds beside what was measured.

    chains(con, by=["agent_name"], target=0.999)

The independent figure takes failures as spread out, the clustered one as lying in outages; the
truth is in between or beside, so that neither is shown without the measured rate.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypedDict

import yaml

from tracekit.reports import query
from tracekit.sla.relations import FAR_NS, grouping, number, prepare, sql, whole
from tracekit.sla.waterfall import keys_of, slis
from tracekit.stats.availability import chain, clustered, needed, persistence, retried

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from tracekit.sla.relations import Basis

TARGET: Final = 0.999
"""Task availability that calls are asked about where nobody names one."""

Rows = list[dict[str, Any]]


class Chain(TypedDict):
    """A group's chain of calls.

    Attributes:
        tasks: Tasks that called a model.
        calls_p50: Calls a task needs, median; retries are not counted, calls to a fallback are.
        calls_p95: The same, 95th percentile.
        attempts_per_call: Attempts by calls.
        attempt_availability: Share of attempts that did not fail.
        independent: Share of tasks that would live if each call had one attempt and failures were
            independent: the mean of A^n over the measured n.
        independent_retried: The same with two attempts per call, and rho.
        clustered: The same with all failing time in the outages found; a lower bound.
        outages: Runs of slices in which most attempts at a provider and region failed; see
            `thresholds.yaml`.
        measured: The task SLI; it also has the losses that no call is behind.
        calls_measured: The call SLI to the power of n, as `independent`: what retries and
            fallbacks left of the losses.
        rho: Share of failures with a common cause, from second attempts; None without any.
        second_attempts: Second attempts it rests on.
        target: Task availability asked about.
        needed: Availability a call needs for it, with the median number of calls.
        basis: `ledger`, or `estimate` where only sampled sessions are there.
    """

    tasks: float
    calls_p50: int
    calls_p95: int
    attempts_per_call: float | None
    attempt_availability: float | None
    independent: float | None
    independent_retried: float | None
    clustered: float | None
    outages: int
    measured: float | None
    calls_measured: float | None
    rho: float | None
    second_attempts: float
    target: float
    needed: float | None
    basis: Basis


def chains(  # noqa: PLR0913  the questions `slis` answers, and the target
    con: duckdb.DuckDBPyConnection,
    from_ns: int = 0,
    to_ns: int = FAR_NS,
    by: Sequence[str] = (),
    *,
    where: str | None = None,
    target: float = TARGET,
) -> Rows:
    """Return what the calls of tasks let expect, beside what was measured, per group.

    Args:
        con: Connection with the lake's views.
        from_ns: First start that counts, UTC, ns since 1970.
        to_ns: First start that no longer counts.
        by: Columns of `tasks`, or words of `--by`.
        where: SQL expression over the columns of `tasks`.
        target: Task availability to say what a call would need for.

    Returns:
        Rows with the keys of `by` and the fields of `Chain`.

    Raises:
        UsageError: `by` or `where` is wrong.
    """
    ledger = prepare(con)
    keys, condition = grouping(con, by, where)
    measured: defaultdict[tuple[Any, ...], dict[str, float | None]] = defaultdict(dict)
    for row in slis(con, from_ns, to_ns, by, where=where):
        measured[tuple(row[name] for name in keys.keys)][row["sli"]] = row["value"]
    parts = keys.parts() | {"from_ns": str(from_ns), "to_ns": str(to_ns), "where": condition}
    histograms: defaultdict[tuple[Any, ...], Rows] = defaultdict(list)
    for row in query.fetch(con, sql("chain").format(**parts), view="tasks"):
        histograms[tuple(keys_of(keys, row).values())].append(row)
    outage = thresholds()["outage"]
    found = query.fetch(
        con,
        sql("outages").format(
            **parts,
            slice_ns=int(outage["slice_seconds"] * 1e9),
            failing=outage["failing"],
            attempts=outage["attempts"],
        ),
        view="tasks",
    )
    times = {tuple(keys_of(keys, row).values()): row for row in found}
    return [
        dict(zip(keys.keys, key, strict=True))
        | _chain(rows, times[key], measured[key], target, ledger.basis)
        for key, rows in histograms.items()
    ]


def _chain(
    rows: Rows,
    times: Mapping[str, Any],
    measured: Mapping[str, float | None],
    target: float,
    basis: Basis,
) -> Chain:
    tasks = sum(number(row["tasks"]) for row in rows)
    calls = sum(number(row["tasks"]) * row["calls"] for row in rows)
    attempts, failed, seconds, again = (
        sum(number(row[name]) for row in rows)
        for name in ("attempts", "failed", "seconds", "failed_seconds")
    )
    failure = failed / attempts if attempts else None
    rho = None if failure is None else persistence(int(again), int(seconds), failure)
    middle = _quantile(rows, tasks, 0.5)
    call = measured.get("call")
    bound = None
    if failure is not None and times["period_s"]:
        bound = clustered(failure, times["outages"], times["task_s"] or 0.0, times["period_s"])
    return Chain(
        tasks=whole(tasks),
        calls_p50=middle,
        calls_p95=_quantile(rows, tasks, 0.95),
        attempts_per_call=attempts / calls if calls else None,
        attempt_availability=None if failure is None else 1 - failure,
        independent=None if failure is None else _mean(rows, tasks, 1 - failure),
        independent_retried=(
            None if failure is None else _mean(rows, tasks, 1 - retried(failure, 2, rho or 0.0))
        ),
        clustered=bound,
        outages=int(times["outages"]),
        measured=measured.get("task"),
        calls_measured=None if call is None else _mean(rows, tasks, call),
        rho=rho,
        second_attempts=whole(seconds),
        target=target,
        needed=needed(target, middle) if middle else None,
        basis=basis,
    )


def _mean(rows: Rows, tasks: float, availability: float) -> float:
    """Return the mean over tasks of a chain of their calls."""
    return sum(number(row["tasks"]) * chain([(availability, row["calls"])]) for row in rows) / tasks


def _quantile(rows: Rows, tasks: float, share: float) -> int:
    """Return the least number of calls that a share of the tasks does with."""
    seen = 0.0
    for row in rows:
        seen += number(row["tasks"])
        if seen >= share * tasks:
            return int(row["calls"])
    return 0


@cache
def thresholds() -> dict[str, dict[str, float]]:
    """Return the numbers of `thresholds.yaml`."""
    text = resources.files("tracekit.sla").joinpath("thresholds.yaml").read_text("utf-8")
    found: dict[str, dict[str, float]] = yaml.safe_load(text)
    return found
