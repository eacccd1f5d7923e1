"""Confidence sequences hold at every look, which intervals of fixed size do not."""

from __future__ import annotations

from math import inf, isnan, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.stats.intervals import clopper_pearson, wilson
from tracekit.stats.sequences import asymptotic, betting, empirical_bernstein, wealth

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=60)
RUNS, LENGTH = 400, 2_000
MEANS = (0.5, 0.9, 0.99)


def streams(mean: float) -> np.ndarray:
    return (np.random.default_rng(21).random((RUNS, LENGTH)) < mean).astype(float)


def enough(covered: int) -> bool:
    """Return whether so many of RUNS may be 95 % of them or more: one-sided, one in a million."""
    return clopper_pearson(covered, RUNS, 1 - 1e-6, "upper").high >= 0.95


@pytest.mark.parametrize("mean", MEANS)
def test_betting_covers_at_all_times(mean: float) -> None:
    """Of 400 streams looked at 2,000 times each, 95 % never leave the true mean out."""
    ever = [float(wealth(x, mean).max()) >= log(20) for x in streams(mean)]
    assert enough(RUNS - sum(ever))


@pytest.mark.parametrize("mean", MEANS)
def test_empirical_bernstein_covers_at_all_times(mean: float) -> None:
    """The same of the sequence in closed form."""
    covered = 0
    for x in streams(mean):
        _, low, high = empirical_bernstein(x)
        covered += bool(((low <= mean) & (mean <= high)).all())
    assert enough(covered)


def test_the_asymptotic_sequence_covers_costs_at_all_times() -> None:
    """Skewed costs: from the hundredth look on, 95 % of the streams never leave out the mean."""
    rng = np.random.default_rng(22)
    covered = 0
    for _ in range(RUNS):
        _, low, high = asymptotic(rng.gamma(2, 0.5, LENGTH))
        covered += bool(((low <= 1) & (high >= 1))[100:].all())
    assert enough(covered)


def test_an_interval_of_fixed_size_does_not() -> None:
    """Wilson's interval leaves out the true mean at some look in far more than 5 % of streams."""
    looks = range(50, LENGTH + 1, 50)
    ever = 0
    for x in streams(0.9):
        sums = np.cumsum(x)
        each = (wilson(float(sums[n - 1]), n) for n in looks)
        ever += any(not estimate.low <= 0.9 <= estimate.high for estimate in each)
    assert ever > 0.15 * RUNS


@given(VALUES)
@settings(max_examples=50)
def test_the_ends_are_where_the_capital_is_won(values: list[float]) -> None:
    """Outside the interval the bets have won twenty times their stake, inside they have not."""
    estimate = betting(values)
    assert 0 <= estimate.low <= estimate.high <= 1
    inner = (estimate.low + estimate.high) / 2
    assert wealth(values, inner)[-1] < log(20) + 1e-9
    if estimate.low > 0:
        assert wealth(values, estimate.low)[-1] >= log(20) - 1e-6


def test_betting_is_the_narrower_one() -> None:
    """After 2,000 looks at 99 %: narrower than empirical Bernstein, wider than a single look."""
    x = streams(0.99)[0]
    _, low, high = empirical_bernstein(x)
    bets, single = betting(x), wilson(float(x.sum()), LENGTH)
    assert single.high - single.low < bets.high - bets.low < high[-1] - low[-1]
    assert bets.high - bets.low < 0.02


def test_no_observation_excludes_nothing() -> None:
    """Before the first value the mean is unknown; after one, costs are not bounded yet."""
    estimate = betting([])
    assert isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0, 1)
    _, low, high = asymptotic([2.0])
    assert (low[0], high[0]) == (-inf, inf)


def test_values_out_of_bounds_are_refused() -> None:
    """Costs are no shares."""
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        betting([0.5, 1.5])
