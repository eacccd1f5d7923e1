"""Intervals of rates and ratios."""

from __future__ import annotations

from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.stats.intervals import Estimate, wilson
from tracekit.stats.weighted import RatioSums, ratio, weighted_rate

COUNTS = st.integers(0, 100_000)


@st.composite
def trials(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 1_000_000))
    return draw(st.integers(0, n)), n


def sums(costs: list[float], successes: list[int]) -> RatioSums:
    return RatioSums(
        n=len(costs),
        y=sum(costs),
        x=sum(successes),
        yy=sum(cost * cost for cost in costs),
        xy=sum(cost * success for cost, success in zip(costs, successes, strict=True)),
        xx=sum(successes),
    )


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (985, 1000, 97.5, 99.1),
        (100, 100, 96.3, 100.0),
        (0, 10, 0.0, 27.8),
        (5, 10, 23.7, 76.3),
        (1, 1, 20.7, 100.0),
    ],
)
def test_wilson_gives_the_published_percentages(
    successes: int, n: int, low: float, high: float
) -> None:
    """Wilson's interval rounds to known figures, at the edges too."""
    estimate = wilson(successes, n)
    assert (round(estimate.low * 100, 1), round(estimate.high * 100, 1)) == (low, high)


@given(trials())
def test_wilson_contains_the_rate_within_0_and_1(trial: tuple[int, int]) -> None:
    """The rate lies inside its interval, the interval inside [0, 1], and it has a width."""
    estimate = wilson(*trial)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high


@given(trials())
def test_wilson_mirrors_failures(trial: tuple[int, int]) -> None:
    """The interval of failures is the mirror image of the interval of successes."""
    successes, n = trial
    estimate, mirror = wilson(successes, n), wilson(n - successes, n)
    assert estimate.low == pytest.approx(1 - mirror.high, abs=1e-9)


@given(trials())
def test_wilson_narrows_with_more_trials_of_the_same_rate(trial: tuple[int, int]) -> None:
    """Ten times the trials at the same rate give a narrower interval."""
    successes, n = trial
    few, many = wilson(successes, n), wilson(10 * successes, 10 * n)
    assert many.high - many.low < few.high - few.low


def test_a_rate_of_nothing_is_unknown() -> None:
    """No observations: no value, and an interval that excludes nothing."""
    estimate = wilson(0, 0)
    assert isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0, 1)


@pytest.mark.parametrize(("successes", "n"), [(2, 1), (-1, 1)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    """More successes than trials, or fewer than none, is a mistake of the caller."""
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson(successes, n)


def test_an_impossible_level_is_refused() -> None:
    """A level in percent is a mistake of the caller."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson(1, 2, level=95)


def close(left: Estimate, right: Estimate) -> bool:
    return (left.value, left.low, left.high) == pytest.approx(
        (right.value, right.low, right.high), abs=1e-9
    )


@given(COUNTS, st.integers(1, 100_000))
def test_weights_of_1_change_nothing(successes: int, failures: int) -> None:
    """With all weights 1 the weighted interval is Wilson's."""
    weighted = weighted_rate((successes, successes), (failures, failures))
    assert close(weighted, wilson(successes, successes + failures))


@given(COUNTS, st.integers(1, 100_000), st.floats(1, 1000))
def test_a_common_weight_adds_no_precision(successes: int, failures: int, weight: float) -> None:
    """Ten observations of weight 100 are ten observations."""
    weighted = weighted_rate(
        (successes * weight, successes * weight**2), (failures * weight, failures * weight**2)
    )
    assert close(weighted, wilson(successes, successes + failures))


def test_few_heavy_failures_widen_the_interval() -> None:
    """Ten failures that stand for 1,000 are less certain than 1,000 failures."""
    heavy = weighted_rate((9000, 9000), (1000, 10 * 100**2))
    light = weighted_rate((9000, 9000), (1000, 1000))
    assert heavy.value == light.value == 0.9
    assert heavy.low < light.low
    assert heavy.high > light.high


def test_negative_weights_are_refused() -> None:
    """A negative sum of weights is a mistake of the caller."""
    with pytest.raises(ValueError, match="negative"):
        weighted_rate((-1, 1), (1, 1))


def test_a_weighted_rate_of_nothing_is_unknown() -> None:
    """No weight at all: no value."""
    assert isnan(weighted_rate((0, 0), (0, 0)).value)


def test_cost_per_success_matches_a_computation_by_hand() -> None:
    """Costs 1, 2, 3 with two successes: 3 per success; residuals -2, -1, 3 give the interval."""
    estimate = ratio(sums([1, 2, 3], [1, 1, 0]))
    half = 1.959963984540054 * (3 / 2 * (4 + 1 + 9)) ** 0.5 / 2
    assert (estimate.value, estimate.low) == (3, 0)
    assert estimate.high == pytest.approx(3 + half)


@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=50), st.floats(0.1, 10))
def test_a_ratio_scales_with_its_unit(costs: list[float], factor: float) -> None:
    """Cost per success in another currency is the same number times the rate of exchange."""
    successes = [index % 2 for index in range(len(costs))]
    estimate = ratio(sums(costs, successes))
    scaled = ratio(sums([cost * factor for cost in costs], successes))
    assert scaled.value == pytest.approx(estimate.value * factor)
    assert scaled.high == pytest.approx(estimate.high * factor, rel=1e-6)


def test_a_ratio_that_never_varies_has_no_width() -> None:
    """The same cost for every success is known exactly, whatever rounding says."""
    estimate = ratio(sums([0.1] * 7, [1] * 7))
    assert estimate.low == pytest.approx(estimate.high, abs=1e-7)


def test_a_ratio_without_denominator_is_unknown() -> None:
    """No success: no cost per success, and no bound on it."""
    estimate = ratio(sums([1, 2], [0, 0]))
    assert isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0, inf)


def test_one_observation_says_nothing_about_spread() -> None:
    """A single task gives a value and an interval that excludes nothing."""
    assert ratio(sums([2], [1])) == Estimate(2, 0, inf)
