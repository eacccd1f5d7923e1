"""Exact and posterior intervals, and the quantiles they are made of."""

from __future__ import annotations

from fractions import Fraction
from math import comb, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.stats.intervals import Estimate, clopper_pearson, jeffreys, wilson
from tracekit.stats.special import beta_cdf, beta_quantile, normal_quantile, t_quantile

METHODS = (wilson, jeffreys, clopper_pearson)


def at_least(successes: int, n: int, rate: Fraction) -> Fraction:
    """Return P(X >= successes) of a binomial, exactly."""
    return sum(
        (comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(successes, n + 1)),
        Fraction(0),
    )


@given(st.integers(1, 60), st.data(), st.fractions(Fraction(1, 50), Fraction(49, 50)))
@settings(max_examples=60)
def test_the_beta_function_is_a_binomial_tail(n: int, data: st.DataObject, x: Fraction) -> None:
    """I_x(k, n - k + 1) is the probability of k or more of n, summed in rational numbers."""
    k = data.draw(st.integers(1, n))
    assert beta_cdf(float(x), k, n - k + 1) == pytest.approx(float(at_least(k, n, x)), rel=1e-12)


@given(st.floats(1e-4, 1 - 1e-4), st.floats(0.5, 1e6), st.floats(0.5, 1e6))
def test_the_beta_quantile_inverts_the_distribution(level: float, a: float, b: float) -> None:
    """The distribution function at a quantile is the level again."""
    x = beta_quantile(level, a, b)
    if 1e-12 < x < 1 - 1e-12:  # closer to an end, neighbouring doubles differ by more
        assert beta_cdf(x, a, b) == pytest.approx(level, rel=1e-6)


@pytest.mark.parametrize(
    ("level", "degrees", "quantile"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.975, 8, 2.3060),
        (0.95, 30, 1.6973),
        (0.025, 60, -2.0003),
        (0.5, 3, 0.0),
        (0.975, inf, 1.9600),
    ],
)
def test_student_quantiles_are_those_of_the_tables(
    level: float, degrees: float, quantile: float
) -> None:
    """Quantiles of t round to the printed tables'."""
    assert round(t_quantile(level, degrees), 4) == quantile


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0)],
)
def test_clopper_pearson_gives_the_printed_limits(
    successes: int, n: int, low: float, high: float
) -> None:
    """The limits of ten trials are those of the tables of exact binomial limits."""
    estimate = clopper_pearson(successes, n)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


@given(st.integers(1, 40), st.data())
@settings(max_examples=60)
def test_clopper_pearson_holds_what_a_test_does_not_refuse(n: int, data: st.DataObject) -> None:
    """At each end the tail beyond the observation has probability 2.5 %, in rational numbers."""
    k = data.draw(st.integers(0, n))
    estimate = clopper_pearson(k, n)
    if k:
        assert float(at_least(k, n, Fraction(estimate.low))) == pytest.approx(0.025)
    if k < n:
        assert float(1 - at_least(k + 1, n, Fraction(estimate.high))) == pytest.approx(0.025)


@given(st.integers(1, 100_000), st.data())
def test_jeffreys_lies_inside_clopper_pearson(n: int, data: st.DataObject) -> None:
    """The posterior interval is never wider than the exact one."""
    k = data.draw(st.integers(0, n))
    exact, posterior = clopper_pearson(k, n), jeffreys(k, n)
    assert exact.low <= posterior.low + 1e-12
    assert posterior.high <= exact.high + 1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("successes", [0, 3, 10])
def test_one_sided_bounds_are_the_ends_of_a_wider_interval(method: object, successes: int) -> None:
    """A one-sided 95 % bound is the end of the two-sided 90 % interval, the other end is open."""
    assert callable(method)
    both: Estimate = method(successes, 10, 0.9)
    lower: Estimate = method(successes, 10, 0.95, side="lower")
    upper: Estimate = method(successes, 10, 0.95, side="upper")
    assert lower.low == pytest.approx(both.low)
    assert upper.high == pytest.approx(both.high)
    assert (lower.high, upper.low) == (1, 0)


@pytest.mark.parametrize("n", [100, 1000, 100_000])
def test_no_event_in_n_means_at_most_three_in_n(n: int) -> None:
    """The exact 95 % bound after no event is ln(20) / n, the rule of three, from below."""
    bound = clopper_pearson(0, n, side="upper").high
    assert 2.9 / n < bound < 3 / n


@pytest.mark.parametrize("method", METHODS)
def test_mistakes_are_refused(method: object) -> None:
    """More successes than trials, and a level in percent, are mistakes of the caller."""
    assert callable(method)
    with pytest.raises(ValueError, match="between 0 and n"):
        method(2, 1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        method(1, 2, level=95)


def test_quantiles_refuse_what_has_none() -> None:
    """Shapes and degrees of freedom of 0, and levels of 0 or 1, have no quantile."""
    with pytest.raises(ValueError, match="a, b > 0"):
        beta_quantile(0.5, 0, 1)
    with pytest.raises(ValueError, match="degrees of freedom"):
        t_quantile(0.5, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        normal_quantile(1)


def test_every_interval_says_that_few_events_make_it_what_it_is() -> None:
    """Three failures of a hundred: two may be too narrow, the exact one is wide, and all say so."""
    notes = [method(97, 100).note for method in METHODS]
    assert ["the exact interval is safer" in note for note in notes] == [True, True, False]
    assert "wide to be safe" in notes[-1]
