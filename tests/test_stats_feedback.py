"""Feedback of the few, and what it says of the many."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from tracekit.stats.feedback import by_cohort, feedback


def test_the_raw_mean_of_a_few_is_refused() -> None:
    """With 3 % of the sessions rated there is no raw mean, and the bounds are 97 points wide."""
    rated = [True] * 30 + [False] * 970
    result = feedback([1] * 24 + [0] * 976, rated)
    assert isnan(result.raw.value)
    assert "only 3.0% answered" in result.raw.note
    assert result.rated == pytest.approx(0.03)
    assert list(result.bounds) == pytest.approx([0.024, 0.994])
    assert isnan(result.weighted.value)
    assert "only the bounds hold" in result.weighted.note


def test_weighting_undoes_who_answers() -> None:
    """The angry answer ten times as often: the raw mean is far off, the weighted one covers."""
    rng = np.random.default_rng(4)
    runs, covered, raw_off = 200, 0, 0
    for _ in range(runs):
        slow = rng.random(4_000) < 0.3  # a covariate of both anger and answering
        happy = rng.random(4_000) < np.where(slow, 0.4, 0.9)
        rated = rng.random(4_000) < np.where(slow, 0.3, 0.03)
        result = feedback(happy, rated, by_cohort(slow, rated))
        truth = 0.3 * 0.4 + 0.7 * 0.9
        covered += result.weighted.low <= truth <= result.weighted.high
        raw_off += result.raw.high < truth
    assert raw_off == runs
    assert covered >= 0.88 * runs  # 95 % less four sigma of 200 runs, rounded down


def test_bounds_hold_whatever_the_reason_of_silence() -> None:
    """The true rate lies within, if the silent are all angry or all pleased."""
    yes, rated = [1, 1, 0, 0], [True, True, True, False]
    low, high = feedback(yes, rated).bounds
    assert (low, high) == (0.5, 0.75)


def test_trimmed_weights_are_reported() -> None:
    """A rating of propensity 0.1 % counts for 200 others, not for 1,000, and is counted."""
    result = feedback([1, 0], [True, True], [0.001, 0.5])
    assert result.trimmed == 1
    assert result.weighted.value == pytest.approx(200 / 202)
    assert "2 independent observations only" in result.weighted.note


def test_sampling_and_answering_multiply() -> None:
    """A session kept with 10 % whose like answer with 20 % stands for 50."""
    result = feedback([1, 0], [True, True], [0.2, 1.0], [0.1, 1.0])
    assert result.shown == pytest.approx(11)
    assert result.weighted.value == pytest.approx(50 / 51)


def test_silence_says_nothing() -> None:
    """Nobody answered, or nobody was asked: no mean, and everything is possible."""
    result = feedback([0, 0], [False, False])
    assert "nobody answered" in result.raw.note
    assert list(result.bounds) == [0, 1]
    assert list(feedback([], []).bounds) == [0, 1]


def test_a_rated_session_has_a_propensity() -> None:
    """A propensity of 0 cannot be that of a session that was rated."""
    with pytest.raises(ValueError, match="propensity in"):
        feedback([1], [True], [0.0])
