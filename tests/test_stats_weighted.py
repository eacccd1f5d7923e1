"""Rates, ratios and totals of weighted and clustered observations."""

from __future__ import annotations

from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.stats.intervals import Estimate, clopper_pearson, wilson
from tracekit.stats.samples import (
    design_effect,
    hajek,
    incident_clusters,
    known,
    total,
)
from tracekit.stats.weighted import RatioSums, rate, ratio

COUNTS = st.integers(0, 5_000)


def outcomes(*groups: tuple[int, int, float]) -> tuple[list[int], list[float]]:
    """Return rows and their probabilities from (rows, outcome, probability)."""
    rows = [(outcome, p) for count, outcome, p in groups for _ in range(count)]
    return [outcome for outcome, _ in rows], [p for _, p in rows]


def close(left: Estimate, right: Estimate) -> bool:
    return (left.value, left.low, left.high) == pytest.approx(
        (right.value, right.low, right.high), abs=1e-9
    )


@given(COUNTS, st.integers(1, 5_000))
@settings(max_examples=50)
def test_weights_of_1_change_nothing(successes: int, failures: int) -> None:
    """With all weights 1 the interval is Wilson's."""
    weighted = hajek(*outcomes((successes, 1, 1.0), (failures, 0, 1.0)))
    assert close(weighted, wilson(successes, successes + failures))


@given(COUNTS, st.integers(1, 5_000), st.floats(2, 1000))
@settings(max_examples=50)
def test_a_common_weight_adds_no_precision(successes: int, failures: int, weight: float) -> None:
    """Ten observations of weight 100 are ten observations, with their exact interval."""
    weighted = hajek(*outcomes((successes, 1, 1 / weight), (failures, 0, 1 / weight)))
    assert close(weighted, clopper_pearson(successes, successes + failures))


def test_few_heavy_failures_widen_the_interval() -> None:
    """Ten failures that stand for 1,000 are less certain than 1,000 failures."""
    heavy = hajek(*outcomes((9000, 1, 1.0), (10, 0, 0.01)))
    light = hajek(*outcomes((9000, 1, 1.0), (1000, 0, 1.0)))
    assert heavy.value == pytest.approx(light.value) == 0.9
    assert heavy.low < light.low
    assert heavy.high > light.high


def test_a_heavy_failure_not_seen_may_have_been_there() -> None:
    """Where only detected failures were seen, the interval allows for one among the rows of 100."""
    estimate = hajek(*outcomes((50, 0, 1.0), (99, 1, 0.01)))
    one_more = 150 / (99 * 100 + 150)
    assert estimate.low < 1 - one_more


def test_the_variance_is_that_of_a_poisson_sample() -> None:
    """Two failures of weight 1, 8 successes of weight 100: n_eff = p (1 - p) / V by hand."""
    rows = outcomes((2, 0, 1.0), (8, 1, 0.01))
    mean = 800 / 802
    squares = {
        "process": 2 * mean**2 + 8 * 100**2 * (1 - mean) ** 2,
        "sessions": 8 * 100 * 99 * (1 - mean) ** 2,
    }
    for about, square in squares.items():
        estimate = hajek(*rows, about=about)
        assert estimate.value == pytest.approx(mean)
        assert estimate.effective == pytest.approx(mean * (1 - mean) * 802**2 / square)


def test_sessions_that_are_all_there_leave_nothing_open() -> None:
    """Asked about just these sessions, with every one of them kept, the rate is known."""
    estimate = hajek(*outcomes((3, 0, 1.0), (7, 1, 1.0)), about="sessions")
    assert (estimate.low, estimate.value, estimate.high) == (0.7, 0.7, 0.7)


def test_a_cluster_is_one_observation() -> None:
    """A hundred failures in two outages are two bad clusters, and the note says so."""
    y = [0] * 100 + [1] * 900
    cluster = [0] * 50 + [1] * 50 + list(range(2, 902))
    single, grouped = hajek(y, [1.0] * 1000), hajek(y, [1.0] * 1000, cluster=cluster)
    assert grouped.value == single.value
    assert grouped.clusters == 902
    assert grouped.low < single.low
    assert "2 clusters" in grouped.note
    deff, _ = design_effect(y, None, 1.0, cluster)
    assert deff > 20


def test_successes_in_few_clusters_are_few_observations() -> None:
    """Where success is the rarer outcome, it is clusters with a success that count."""
    y = [1] * 30 + [0] * 970
    cluster = [0] * 15 + [1] * 15 + list(range(2, 972))
    assert "all successes are in 2 clusters" in hajek(y, 1.0, cluster=cluster).note


@pytest.mark.parametrize("size", [2, 10])
def test_identical_rows_of_a_cluster_have_correlation_1(size: int) -> None:
    """Rows copied m times within their cluster: deff is m, the intraclass correlation 1."""
    y = np.repeat([0, 1] * 200, size)
    deff, icc = design_effect(y, None, 1.0, np.repeat(np.arange(400), size))
    assert deff == pytest.approx(size, rel=0.01)
    assert icc == pytest.approx(1, rel=0.02)


def test_incidents_and_blocks_of_time_make_clusters() -> None:
    """Sessions of one incident are together however long it lasts; others by quarter of an hour."""
    minute = 60 * 10**9
    starts = [0, 10 * minute, 20 * minute, 90 * minute, 91 * minute]
    providers = ["a", "a", "a", "a", "b"]
    blocks = incident_clusters(starts, providers)
    assert len(set(blocks.tolist())) == 4
    assert blocks[0] == blocks[1]
    known_incident = incident_clusters(starts, providers, incident=["x", None, "x", "x", ""])
    assert known_incident[0] == known_incident[2] == known_incident[3] != known_incident[1]


@pytest.mark.parametrize("probability", [nan, 0.0, -0.1, 1.5])
def test_a_row_of_unknown_probability_is_refused(probability: float) -> None:
    """Neither rates nor totals take it as 1; it can be told apart and counted."""
    assert known([0.5, probability]).tolist() == [True, False]
    with pytest.raises(ValueError, match="1 of 2 rows have no inclusion probability"):
        hajek([1, 0], [0.5, probability])
    with pytest.raises(ValueError, match="1 of 2 rows"):
        total([1, 0], [0.5, probability])


def test_a_total_adds_up_weights() -> None:
    """1,080 detected failures and one in a hundred of the others: the published example."""
    y, p = outcomes((1080, 1, 1.0), (1, 1, 0.01), (1000, 0, 0.01))
    estimate = total(y, p)
    assert estimate.value == 1180
    assert 1081 <= estimate.low < 1180
    assert 1180 + 400 < estimate.high < 1180 + 500  # Poisson: at most 5.57 for 1 seen


def test_a_total_of_which_nothing_was_left_to_chance_is_known() -> None:
    """All rows kept for certain: the sum itself."""
    assert total([1.5, 2], [1, 1]) == Estimate(3.5, 3.5, 3.5)


def test_negative_sums_and_amounts_are_refused() -> None:
    """A rate below 0 and a negative amount are mistakes of the caller."""
    with pytest.raises(ValueError, match="between 0 and x"):
        rate(RatioSums(n=2, y=-1, x=2, yy=1, xy=0, xx=2))
    with pytest.raises(ValueError, match="not negative"):
        total([-1], [1])


def test_a_rate_of_nothing_is_unknown() -> None:
    """No weight at all: no value, and an interval that excludes nothing."""
    estimate = hajek([], [])
    assert isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0, 1)


def cost_sums(costs: list[float], successes: list[int]) -> RatioSums:
    return RatioSums(
        n=len(costs),
        y=sum(costs),
        x=sum(successes),
        yy=sum(cost * cost for cost in costs),
        xy=sum(cost * success for cost, success in zip(costs, successes, strict=True)),
        xx=sum(successes),
    )


def test_cost_per_success_matches_a_computation_by_hand() -> None:
    """Costs 1, 2, 3 with two successes: 3 per success; residuals -2, -1, 3 give the interval."""
    estimate = ratio(cost_sums([1, 2, 3], [1, 1, 0]))
    half = 1.959963984540054 * (3 / 2 * (4 + 1 + 9)) ** 0.5 / 2
    assert (estimate.value, estimate.low) == (3, 0)
    assert estimate.high == pytest.approx(3 + half)


@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=50), st.floats(0.1, 10))
def test_a_ratio_scales_with_its_unit(costs: list[float], factor: float) -> None:
    """Cost per success in another currency is the same number times the rate of exchange."""
    successes = [index % 2 for index in range(len(costs))]
    estimate = ratio(cost_sums(costs, successes))
    scaled = ratio(cost_sums([cost * factor for cost in costs], successes))
    assert scaled.value == pytest.approx(estimate.value * factor)
    assert scaled.high == pytest.approx(estimate.high * factor, rel=1e-6)


def test_a_ratio_that_never_varies_has_no_width() -> None:
    """The same cost for every success is known exactly, whatever rounding says."""
    estimate = ratio(cost_sums([0.1] * 7, [1] * 7))
    assert estimate.low == pytest.approx(estimate.high, abs=1e-7)


def test_a_ratio_without_denominator_is_unknown() -> None:
    """No success: no cost per success, and no bound on it."""
    estimate = ratio(cost_sums([1, 2], [0, 0]))
    assert isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0, inf)


def test_one_observation_says_nothing_about_spread() -> None:
    """A single task gives a value and an interval that excludes nothing."""
    assert ratio(cost_sums([2], [1])) == Estimate(2, 0, inf)


def test_few_units_are_few_for_amounts() -> None:
    """Costs of a hundred tasks: a note says that the interval is a little too narrow."""
    costs = [0.1, 0.2, 0.9, 0.3] * 25
    assert "as of 100 units" in ratio(cost_sums(costs, [1] * 100)).note
    assert ratio(cost_sums(costs * 6, [1] * 600)).reliable


def test_few_that_were_left_to_chance_make_a_wide_interval() -> None:
    """Of a thousand failures 990 are kept for sure, ten of the others stand for a hundred each."""
    y, p = outcomes((990, 0, 1.0), (10, 0, 0.01), (900, 1, 0.01))
    assert "some 10 observations of the rarer outcome" in hajek(y, p).note
    y, p = outcomes((990, 0, 1.0), (100, 0, 0.01), (900, 1, 0.01))
    assert hajek(y, p).reliable
