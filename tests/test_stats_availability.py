"""The arithmetic of task availability, against printed figures and against simulated months."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest

from tracekit.stats import availability as av
from tracekit.stats.intervals import wilson
from tracekit.stats.sizes import power_of, tasks_to_show_a_miss

CALLS = (1, 3, 5, 8, 12, 20, 50)
CHAINS = {
    0.995: (99.5, 98.507, 97.525, 96.069, 94.162, 90.461, 77.831),
    0.999: (99.9, 99.700, 99.501, 99.203, 98.807, 98.019, 95.121),
    0.9995: (99.95, 99.850, 99.750, 99.601, 99.402, 99.005, 97.530),
    0.9999: (99.99, 99.970, 99.950, 99.920, 99.880, 99.800, 99.501),
}
TASKS = 200_000
"""Simulated tasks per check; the interval is Wilson's at six sigma: no seed fails it."""
SURE = 1 - 2e-9
MINUTE = 60.0
MONTH_MIN = 43_200


def percent(share: float, digits: int = 3) -> float:
    return round(100 * share, digits)


@pytest.mark.parametrize("availability", CHAINS)
def test_chains_of_calls_give_the_printed_table(availability: float) -> None:
    """A per call and n calls: A^n, to the third digit."""
    row = tuple(percent(av.chain([(availability, n)])) for n in CALLS)
    assert row == CHAINS[availability]


def test_unlike_calls_multiply() -> None:
    """Three calls at 99 % are 97 %; with ten at 99.9 % beside them, 96.1 %."""
    assert percent(av.chain([(0.99, 3)]), 1) == 97.0
    assert percent(av.chain([(0.99, 3), (0.999, 10)]), 1) == 96.1


@pytest.mark.parametrize(("calls", "each"), [(8, 99.98749), (12, 99.99166), (20, 99.99500)])
def test_a_task_target_asks_more_of_each_call(calls: int, each: float) -> None:
    """The n-th root of 99.9 %; for eight calls it is 99.987494..., not the linear 99.9875."""
    assert percent(av.needed(0.999, calls), 5) == each


@pytest.mark.parametrize(("outages", "task"), [(1, 99.872), (4, 99.789), (40, 98.789)])
def test_the_same_downtime_costs_more_in_more_outages(outages: int, task: float) -> None:
    """0.1 % of a month down, twelve calls of a minute: one, four or forty outages."""
    assert percent(av.clustered(0.001, outages, 12 * MINUTE)) == task


@pytest.mark.parametrize(
    ("attempts", "common", "task", "digits"),
    [
        (1, 0.0, 98.807, 3),
        (2, 0.0, 99.9988, 4),
        (2, 0.3, 99.640, 3),
        (2, 0.5, 99.401, 3),
        (2, 0.8, 99.044, 3),
    ],
)
def test_retries_help_as_far_as_failures_are_independent(
    attempts: int, common: float, task: float, digits: int
) -> None:
    """At p = 0.1 %, twelve calls: what a second attempt buys at each share of common causes."""
    assert percent((1 - av.retried(0.001, attempts, common)) ** 12, digits) == task


def test_a_third_attempt_gains_nothing_under_a_common_cause() -> None:
    """With rho > 0 the loss stays above n rho p, whatever the number of attempts."""
    second, third = ((1 - av.retried(0.001, k, 0.3)) ** 12 for k in (2, 3))
    assert 0 <= third - second < 1e-5
    assert third < 1 - 12 * 0.3 * 0.001 + 1e-5


def test_attempts_and_layers_multiply() -> None:
    """At p = 20 %, three attempts: 1.24 on average; three retries in three layers: 64 calls."""
    assert av.expected_attempts(0.2, 3) == pytest.approx(1.24)
    assert av.expected_attempts(1, 3) == 3
    assert av.layered_attempts(3, 3) == 64


@pytest.mark.parametrize(("required", "share"), [(5, 95.099), (4, 99.902), (3, 99.999)])
def test_a_fan_out_may_tolerate_losses(required: int, share: float) -> None:
    """Five branches at 99 %, of which five, four or three are needed."""
    assert percent(av.fan_out(0.99, 5, required)) == share


def test_excluded_errors_dominate() -> None:
    """0.1 % counted and 2 % excluded errors: 77.5 % of tasks; with one retry 99.47 %."""
    assert percent(av.with_excluded(0.001, 0.02, 12), 1) == 77.5
    assert percent(av.with_excluded(0.001, 0.02, 12, attempts=2), 2) == 99.47


def test_error_budgets_and_burn_rates_are_those_of_the_workbook() -> None:
    """43.2 minutes of 99.9 %, 3.6 hours of 99.5 %; 14.4, 6, 3 and 1 burn 2, 5, 10 and 10 %."""
    assert av.budget_s(0.999) == pytest.approx(43.2 * 60)
    assert av.budget_s(0.995) == pytest.approx(3.6 * 3600)
    windows = [(0.02, 1), (0.05, 6), (0.1, 24), (0.1, 72)]
    burns = [av.burn_threshold(spent, hours * 3600) for spent, hours in windows]
    assert burns == pytest.approx([14.4, 6, 3, 1])
    assert round(av.PERIOD_S / av.DAY_S / 14.4, 2) == 2.08
    assert av.burn(1, 0.9) == pytest.approx(10)
    assert av.budget_spent(5, 10_000, 0.999) == pytest.approx(0.5)


def test_hedges_and_fallbacks_multiply_until_something_is_common() -> None:
    """1 % and 2 % make 0.02 %, with 0.1 % common 0.12 %; a fallback fails with what is common."""
    assert av.hedged(0.01, 0.02) == pytest.approx(0.0002)
    assert av.hedged(0.01, 0.02, 0.001) == pytest.approx(0.0012)
    assert av.fallback(0.01, 0.02, 0.1) == pytest.approx(0.0012)


def test_a_hedge_cuts_the_tail_and_costs_a_little() -> None:
    """Exponential durations of mean 1 s, hedged after 2 s: e^-3 e^-1 beyond 3 s, 1 + e^-2 calls."""

    def tail(t: float) -> float:
        return exp(-t)

    assert av.hedged_tail(tail, 2, 3) == pytest.approx(exp(-4))
    assert av.hedged_tail(tail, 2, 1) == pytest.approx(exp(-1))
    assert av.hedged_cost(tail, 2) == pytest.approx(1 + exp(-2))


def test_what_persists_is_estimated_from_second_attempts() -> None:
    """The share rho that the model was made with comes back; nothing retried is unknown."""
    p, rho = 0.05, 0.4
    again = av.retried(p, 2, rho) / p
    assert av.persistence(round(again * 10**9), 10**9, p) == pytest.approx(rho, abs=1e-6)
    assert av.persistence(0, 10, 0.01) == 0
    assert av.persistence(0, 0, 0.01) is None
    assert av.persistence(3, 10, 0) == 0.3


def test_two_states_are_a_mixture() -> None:
    """No incident is the chain; only incidents are the chain at their failure rate."""
    assert av.two_state(0, 0.001, 0.5, 12) == pytest.approx(av.chain([(0.999, 12)]))
    assert av.two_state(1, 0.001, 0.5, 2, attempts=2) == pytest.approx(0.75**2)


def test_shares_in_percent_are_refused() -> None:
    """An availability of 99.9 is a mistake of the caller."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        av.chain([(99.9, 1)])


@pytest.mark.parametrize(("true", "tasks"), [(0.988, 304), (0.995, 1268), (0.998, 11_935)])
def test_tasks_to_show_a_miss(true: float, tasks: int) -> None:
    """A target of 99.9 %, 5 % one-sided, power 90 %; the exact test has a little less power."""
    assert tasks_to_show_a_miss(0.999, true) == tasks
    assert 0.85 < power_of(tasks, 0.999, true) < 0.92


def test_the_power_of_a_test_is_what_it_shows() -> None:
    """Exact power agrees with drawn months, and at the target it stays below the error."""
    rng = np.random.default_rng(3)
    failures = rng.binomial(304, 0.012, TASKS)
    shown = power_of(304, 0.999, 0.988)
    assert inside(shown, int((failures >= 2).sum()), TASKS)
    assert power_of(304, 0.999, 0.999) < 0.05
    with pytest.raises(ValueError, match="true < target"):
        tasks_to_show_a_miss(0.999, 0.9995)


def inside(share: float, good: int, tasks: int) -> bool:
    estimate = wilson(good, tasks, SURE)
    return estimate.low <= share <= estimate.high


def test_simulated_independent_calls_are_the_chain() -> None:
    """Twelve calls at 99.9 %: simulated tasks agree with 98.807 %."""
    rng = np.random.default_rng(11)
    good = int((rng.random((TASKS, 12)) < 0.999).all(axis=1).sum())
    assert inside(av.chain([(0.999, 12)]), good, TASKS)


@pytest.mark.parametrize("outages", [1, 4, 40])
def test_simulated_outages_are_the_clustered_bound(outages: int) -> None:
    """43.2 minutes of a month in outages spread apart: simulated tasks of 12 minutes agree."""
    rng = np.random.default_rng(12)
    slot, long = MONTH_MIN / outages, 43.2 / outages
    starts = np.arange(outages) * slot + rng.random(outages) * (slot - long - 12)
    task = rng.random(TASKS) * MONTH_MIN
    task = np.where(task >= MONTH_MIN - 12, task - MONTH_MIN, task)  # the month wraps around
    hit = (task[:, None] < starts + long) & (task[:, None] + 12 > starts)
    good = TASKS - int(hit.any(axis=1).sum())
    assert inside(av.clustered(0.001, outages, 12 * MINUTE), good, TASKS)


def test_outages_at_random_lose_a_little_less_than_the_bound() -> None:
    """Forty blips anywhere: some tasks are hit by two, so the loss is 1 - exp(-(u + lambda d))."""
    rng = np.random.default_rng(13)
    months, per_month, good = 1_000, 200, 0
    for _ in range(months):
        starts = rng.random(40) * MONTH_MIN
        since = (rng.random(per_month)[:, None] * MONTH_MIN - starts) % MONTH_MIN
        good += int(((since >= 1.08) & (since <= MONTH_MIN - 12)).all(axis=1).sum())
    bound = av.clustered(0.001, 40, 12 * MINUTE)
    assert inside(exp(-(1 - bound)), good, months * per_month)
    assert exp(-(1 - bound)) > bound


@pytest.mark.parametrize("common", [0.0, 0.3, 0.8])
def test_simulated_retries_are_the_common_cause_model(common: float) -> None:
    """Two attempts of twelve calls at p = 2 %: simulated tasks agree with the model."""
    rng = np.random.default_rng(14)
    shape, p = (TASKS, 12), 0.02
    persists = rng.random(shape) < common * p
    alone = [rng.random(shape) < (1 - common) * p for _ in range(2)]
    good = int((~(persists | (alone[0] & alone[1]))).all(axis=1).sum())
    assert inside((1 - av.retried(p, 2, common)) ** 12, good, TASKS)


@pytest.mark.parametrize("attempts", [1, 2])
def test_simulated_rate_limits_are_what_the_contract_does_not_see(attempts: int) -> None:
    """0.1 % counted and 2 % excluded errors: simulated tasks agree with 77.5 and 99.47 %."""
    rng = np.random.default_rng(15)
    failed = np.ones((TASKS, 12), dtype=bool)
    for _ in range(attempts):
        failed &= rng.random((TASKS, 12)) < 0.021
    good = int((~failed).all(axis=1).sum())
    assert inside(av.with_excluded(0.001, 0.02, 12, attempts), good, TASKS)
