"""Quantiles of weighted values."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.stats.intervals import clopper_pearson
from tracekit.stats.quantiles import weighted_quantile

RUNS = 150


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=80), st.floats(0.01, 0.99))
def test_unweighted_it_is_the_inverted_distribution_function(
    values: list[float], at: float
) -> None:
    """With weights of 1 it is numpy's `inverted_cdf`, and lies inside its interval."""
    estimate = weighted_quantile(values, at)
    if abs(at * len(values) - round(at * len(values))) > 1e-6:  # at a step both sides are right
        assert estimate.value == np.quantile(values, at, method="inverted_cdf")
    assert estimate.low <= estimate.value <= estimate.high


def test_a_row_counts_as_often_as_it_stands_for() -> None:
    """One slow session of weight 10 among 90 of weight 1: p90 is theirs, p95 is its own."""
    values, p = [1.0] * 90 + [7.0], [1.0] * 90 + [0.1]
    assert weighted_quantile(values, 0.9, p).value == 1
    assert weighted_quantile(values, 0.95, p).value == 7


def test_a_few_rows_do_not_bound_a_far_quantile() -> None:
    """The p99 of fifty rows has no upper end, and the p1 no lower one."""
    values = np.arange(50.0)
    assert weighted_quantile(values, 0.99).high == inf
    assert weighted_quantile(values, 0.01).low == -inf


@pytest.mark.parametrize("at", [0.5, 0.95])
def test_the_interval_covers(at: float) -> None:
    """Slow sessions all kept, 5 % of the rest: 95 % of the intervals hold the true quantile."""
    rng = np.random.default_rng(41)
    covered = 0
    for _ in range(RUNS):
        values = rng.exponential(1.0, 3_000)
        p = np.where(values > 4, 1.0, 0.05)
        keep = rng.random(values.size) < p
        estimate = weighted_quantile(values[keep], at, p[keep])
        covered += estimate.low <= -np.log(1 - at) <= estimate.high
    assert clopper_pearson(covered, RUNS, 1 - 1e-6, "upper").high >= 0.95


def test_clusters_widen_it() -> None:
    """Ten copies of each of forty sessions are forty observations."""
    values = np.repeat(np.random.default_rng(42).exponential(1.0, 40), 10)
    single = weighted_quantile(values, 0.5)
    grouped = weighted_quantile(values, 0.5, cluster=np.repeat(np.arange(40), 10))
    assert grouped.clusters == 40
    assert grouped.low <= single.low
    assert grouped.high >= single.high
    assert grouped.high - grouped.low > single.high - single.low


def test_nothing_and_nonsense() -> None:
    """No row has no quantile; 95 is not a quantile."""
    assert isnan(weighted_quantile([], 0.5).value)
    with pytest.raises(ValueError, match="between 0 and 1"):
        weighted_quantile([1.0], 95)
