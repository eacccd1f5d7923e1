"""What the availability of calls makes of the availability of tasks, and what retries buy.

A task needs n calls, each with up to k attempts; an attempt fails with probability p. Independence
is a bound, not a law: the same monthly availability yields other task losses when its downtime
comes in few outages, and retries help little when failures have a common cause. Print the
independent and the clustered figure beside the measured one, never the first alone.

All shares are fractions of 1. Elementary probability where no source is named.
"""

from __future__ import annotations

from math import comb, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DAY_S = 86_400.0
PERIOD_S = 30 * DAY_S
"""Thirty days, the usual period of an objective."""


def chain(calls: Iterable[tuple[float, int]]) -> float:
    """Return the availability of a task that needs every one of its calls, if they are independent.

    Args:
        calls: Availability of a call, and how often the task makes it.

    >>> round(chain([(0.999, 12)]), 5)
    0.98807
    """
    task = 1.0
    for availability, count in calls:
        task *= _share(availability) ** float(count)
    return task


def needed(task: float, calls: int) -> float:
    """Return the availability that each of a task's calls needs for the task to reach `task`.

    >>> round(needed(0.999, 12), 7)
    0.9999166
    """
    return float(_share(task) ** (1 / calls))


def clustered(downtime: float, outages: float, task_s: float, period_s: float = PERIOD_S) -> float:
    """Return a lower bound of a task's availability when all downtime lies in outages.

    A task is lost if it starts in an outage or one starts while it runs: 1 - (u + lambda * d). That
    counts a task twice that two outages would have hit, so it is exact while outages are further
    apart than a task is long, and too low by some (u + lambda * d)^2 / 2 when they come at random.

    Args:
        downtime: Share u of the period that is down.
        outages: Outages in the period.
        task_s: Duration d of a task, seconds.
        period_s: Length of the period, seconds.
    """
    return max(0.0, 1 - _share(downtime) - outages * task_s / period_s)


def retried(failure: float, attempts: int, common: float = 0.0) -> float:
    """Return the probability that a call fails with all its attempts.

    rho p + (1 - rho) p ((1 - rho) p)^(k - 1): of the failures a share rho persists over all
    attempts, the others are independent. It cannot fall below rho p, however many attempts. Source:
    the beta-factor model of common-cause failures, K. N. Fleming, General Atomic report GA-A13284
    (1975).

    Args:
        failure: Probability p that an attempt fails.
        attempts: Attempts k, the first included.
        common: Share rho of failures with a common cause, as measured by `persistence`.
    """
    alone = (1 - _share(common)) * _share(failure)
    return common * failure + alone**attempts


def persistence(failed_again: int, retried_calls: int, failure: float) -> float | None:
    """Return the share rho of failures that persist, from calls whose first attempt failed.

    Solves P(second fails | first failed) = rho + (1 - rho)^2 p, which follows from `retried` for
    two attempts, for rho; 0 where second attempts fail no more often than first ones.

    Args:
        failed_again: Calls whose second attempt failed, too.
        retried_calls: Calls that had a second attempt.
        failure: Probability p that an attempt fails.

    Returns:
        None where nothing was retried.
    """
    if not retried_calls:
        return None
    again, p = failed_again / retried_calls, _share(failure)
    if again <= p:
        return 0.0
    if p == 0:
        return again
    # p rho^2 + (1 - 2 p) rho + (p - again) = 0, its root between 0 and 1.
    middle = 1 - 2 * p
    return float((-middle + (middle**2 + 4 * p * (again - p)) ** 0.5) / (2 * p))


def two_state(incident: float, quiet: float, during: float, calls: int, attempts: int = 1) -> float:
    """Return a task's availability when incidents come and go slower than tasks.

    (1 - u) (1 - q0^k)^n + u (1 - q1^k)^n, each task running in one state: the two-state error model
    of E. N. Gilbert ("Capacity of a burst-noise channel", Bell System Technical Journal 39, 1960)
    for tasks shorter than its states.

    Args:
        incident: Share u of the time with an incident.
        quiet: Probability q0 that an attempt fails without one.
        during: Probability q1 that it fails in one.
        calls: Calls n of a task.
        attempts: Attempts k of a call.
    """
    fine = (1 - _share(quiet) ** attempts) ** calls
    hit = (1 - _share(during) ** attempts) ** calls
    return (1 - _share(incident)) * fine + incident * hit


def expected_attempts(failure: float, attempts: int) -> float:
    """Return the attempts a call takes on average: (1 - p^k) / (1 - p), or k where all fail."""
    if _share(failure) == 1:
        return float(attempts)
    return (1 - failure**attempts) / (1 - failure)


def layered_attempts(retries: int, layers: int) -> int:
    """Return the attempts that one failing call may cause when several layers retry it.

    >>> layered_attempts(retries=3, layers=3)
    64
    """
    return prod([retries + 1] * layers)


def hedged(first: float, second: float, common: float = 0.0) -> float:
    """Return the probability that a request and its hedge both fail: pA pB + a common cause.

    Args:
        first: Failure probability of the request.
        second: Failure probability of the hedge.
        common: Probability of what fails both at once.
    """
    return min(1.0, _share(first) * _share(second) + _share(common))


def hedged_cost(tail: Callable[[float], float], delay_s: float) -> float:
    """Return the factor on calls of hedging after a delay: 1 + P(T > h).

    The loser bills what it has made until it is cancelled, which is counted here as a whole call.

    Args:
        tail: P(T > t) of a single call's duration T.
        delay_s: Delay h before the second request, seconds.
    """
    return 1 + tail(delay_s)


def hedged_tail(tail: Callable[[float], float], delay_s: float, t_s: float) -> float:
    """Return P(T > t) with a hedge after h: P(T > t) P(T > t - h), if both are independent.

    Source: J. Dean, L. A. Barroso, "The tail at scale", Communications of the ACM 56 (2013).
    """
    return tail(t_s) * (tail(t_s - delay_s) if t_s > delay_s else 1.0)


def fallback(first: float, second: float, common: float = 0.0) -> float:
    """Return the probability that a call fails at both providers: p1 (p2 + common)."""
    return _share(first) * min(1.0, _share(second) + _share(common))


def fan_out(availability: float, branches: int, required: int) -> float:
    """Return the probability that at least `required` of independent branches succeed."""
    a = _share(availability)
    return sum(
        comb(branches, good) * a**good * (1 - a) ** (branches - good)
        for good in range(required, branches + 1)
    )


def with_excluded(counted: float, excluded: float, calls: int, attempts: int = 1) -> float:
    """Return a task's availability when errors that the contract leaves out fail calls, too.

    Args:
        counted: Share of attempts with an error the contract counts, such as a 503.
        excluded: Share with one it leaves out, such as a 429. An attempt has one or the other.
        calls: Calls of a task.
        attempts: Attempts of a call, independent.
    """
    return (1 - _share(counted + excluded) ** attempts) ** calls


def budget(objective: float) -> float:
    """Return the error budget, 1 - objective."""
    return 1 - _share(objective)


def budget_s(objective: float, period_s: float = PERIOD_S) -> float:
    """Return the error budget as seconds of the period."""
    return budget(objective) * period_s


def budget_spent(bad: float, events: float, objective: float) -> float:
    """Return the share of the error budget that bad events have spent; above 1 it is overdrawn."""
    return bad / (budget(objective) * events)


def burn(bad_rate: float, objective: float) -> float:
    """Return how fast the budget burns: 1 spends it exactly in the period. At most 1 / budget."""
    return _share(bad_rate) / budget(objective)


def burn_threshold(spent: float, window_s: float, period_s: float = PERIOD_S) -> float:
    """Return the burn that spends a share of the budget within a window.

    Source: B. Beyer et al., "The Site Reliability Workbook" (2018), chapter 5.
    """
    return spent * period_s / window_s


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"a share must lie between 0 and 1, but it is {value}")
    return value
