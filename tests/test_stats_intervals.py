"""Wilson's interval of a rate."""

from __future__ import annotations

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.stats.intervals import wilson


@st.composite
def trials(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 1_000_000))
    return draw(st.integers(0, n)), n


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


@pytest.mark.parametrize(
    ("successes", "n", "note"),
    [
        (90, 100, ""),
        (91, 100, "the rarer outcome was seen 9 times only"),
        (300, 300, "in 300, it is rarer than 0.01"),
    ],
)
def test_a_rate_with_hardly_an_event_says_so(successes: int, n: int, note: str) -> None:
    """Below ten events of one outcome the interval has a note; with none, the rule of three."""
    estimate = wilson(successes, n)
    assert note in estimate.note
    assert estimate.reliable == (not note)
