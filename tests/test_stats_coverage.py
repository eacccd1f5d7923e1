"""Intervals cover what they are about, in seeded samples; `make coverage-sim` draws many more."""

from __future__ import annotations

from math import exp, lgamma, log
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tracekit.stats.intervals import Estimate, clopper_pearson, jeffreys, wilson
from tracekit.stats.samples import hajek, sums, total
from tracekit.stats.weighted import ratio

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 200
SESSIONS = 10_000
ERROR = 1e-6
"""How seldom a right interval fails a check here."""


def at_least_95(covered: int) -> bool:
    return clopper_pearson(covered, RUNS, 1 - ERROR, "upper").high >= 0.95


def at_most_97(covered: int) -> bool:
    return clopper_pearson(covered, RUNS, 1 - ERROR, "lower").low <= 0.97


def kept(rng: np.random.Generator, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which sessions are kept, with which probability: detected ones all, others 2 %."""
    detected = rng.random(good.size) < np.where(good, 0.02, 0.9)
    p = np.where(detected, 1.0, 0.02)
    return rng.random(good.size) < p, p


@pytest.mark.parametrize("truth", [0.05, 0.5, 0.95])
def test_wilson_covers(truth: float) -> None:
    """A thousand tasks: the true rate is inside 95 to 97 % of the intervals."""
    rng = np.random.default_rng(31)
    drawn = rng.binomial(1000, truth, RUNS)
    estimates = [wilson(int(k), 1000) for k in drawn]
    covered = sum(one.low <= truth <= one.high for one in estimates)
    assert at_least_95(covered)
    assert at_most_97(covered)


@pytest.mark.parametrize("truth", [0.6, 0.97])
def test_weighted_estimates_cover_and_are_not_biased(truth: float) -> None:
    """Detected failures kept, 2 % of the rest: rate, failures and cost per success of all."""
    rng = np.random.default_rng(32)
    rates, failures, per_success = [], [], []
    for _ in range(RUNS):
        good = rng.random(SESSIONS) < truth
        keep, p = kept(rng, good)
        cost = rng.gamma(2.0, np.where(good, 0.1, 0.2))
        rates.append(hajek(good[keep], p[keep]))
        counted = total(~good[keep], p[keep])
        failures.append(counted.low <= int((~good).sum()) <= counted.high)
        per_success.append(ratio(sums(cost[keep], good[keep], p[keep])))
    assert at_least_95(sum(one.low <= truth <= one.high for one in rates))
    assert at_least_95(sum(failures))
    price = (truth * 0.2 + (1 - truth) * 0.4) / truth
    covered = sum(one.low <= price <= one.high for one in per_success)
    assert at_least_95(covered)
    assert at_most_97(covered)
    for found, true in ((rates, truth), (per_success, price)):
        assert abs(np.mean([one.value for one in found]) / true - 1) < 0.01


def test_clusters_are_what_varies() -> None:
    """Sessions that share an incident: clustered intervals cover, those of single rows do not."""
    rng = np.random.default_rng(33)
    clustered = single = 0
    for _ in range(RUNS):
        rows = rng.poisson(9, 300) + 1
        cluster = np.repeat(np.arange(300), rows)
        good = rng.random(cluster.size) < np.repeat(rng.beta(3.6, 0.4, 300), rows)
        one, other = hajek(good, 1.0, cluster=cluster), hajek(good, 1.0)
        clustered += one.low <= 0.9 <= one.high
        single += other.low <= 0.9 <= other.high
    assert at_least_95(clustered)
    assert at_most_97(clustered)
    assert not at_least_95(single)


def test_where_it_cannot_cover_it_says_so() -> None:
    """At 99.9 % and a hundred tasks every interval comes with a note, and none is relied on."""
    rng = np.random.default_rng(34)
    estimates = [wilson(int(k), 100) for k in rng.binomial(100, 0.999, RUNS)]
    assert not any(one.reliable for one in estimates)


def chance(k: int, n: int, p: float) -> float:
    """Return the binomial probability of k successes among n."""
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(ways + k * log(p) + (n - k) * log(1 - p))


@pytest.mark.parametrize("truth", [0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.995, 0.999])
@pytest.mark.parametrize("n", [100, 1_000, 10_000])
@pytest.mark.parametrize("method", [wilson, jeffreys, clopper_pearson])
def test_a_rate_is_covered_as_often_as_said_or_flagged(
    method: Callable[[int, int], Estimate], n: int, truth: float
) -> None:
    """Summed over all that n tasks can show: 93 to 97 %, or else nearly every sample says so."""
    spread = 9 * (n * truth * (1 - truth)) ** 0.5 + 9
    shown = range(max(0, int(n * truth - spread)), min(n, int(n * truth + spread)) + 1)
    drawn = [(chance(k, n, truth), method(k, n)) for k in shown]
    covered = sum(p for p, one in drawn if one.low <= truth <= one.high)
    flagged = sum(p for p, one in drawn if not one.reliable)
    assert 0.93 <= covered <= 0.97 or flagged >= 0.95
    silent = sum(p for p, one in drawn if one.reliable and not one.low <= truth <= one.high)
    assert silent <= 0.07
