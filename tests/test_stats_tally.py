"""A census against the weights of what was kept."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.stats.tally import Finding, Tally


def tally(*groups: tuple[int, float, int]) -> Tally:
    """Return a tally of groups: sessions, probability, how many of them were kept."""
    made = Tally()
    for sessions, probability, kept in groups:
        for number in range(sessions):
            made.count(probability, kept=number < kept)
    return made


@pytest.mark.parametrize(
    ("groups", "finding"),
    [
        ([(400, 0.25, 100)], Finding.OK),
        ([(400, 0.25, 127)], Finding.BIASED),  # z = 27 / sqrt(75) = 3.1
        ([(400, 0.25, 74)], Finding.BIASED),
        ([(20, 0.05, 3)], Finding.FEW),
        ([(20, 0.05, 0)], Finding.NONE),
        ([(140, 0.05, 0)], Finding.BLIND),  # 0.95^140 = 0.0008
        ([(5, 0.0, 0)], Finding.NEVER),
        ([(5, 0.0, 0), (5, 1.0, 5)], Finding.OK),
        ([(5, 1.0, 4)], Finding.BIASED),
        ([(5, 1.0, 0)], Finding.BLIND),
        ([], Finding.OK),
    ],
)
def test_findings(groups: list[tuple[int, float, int]], finding: Finding) -> None:
    """Three standard deviations are an alarm, as is silence that chance does not explain."""
    assert tally(*groups).finding is finding


def test_the_sums_by_hand() -> None:
    """Two of four at 1/2, one of one at 1, and one that could not be kept."""
    made = tally((4, 0.5, 2), (1, 1.0, 1), (1, 0.0, 0))
    assert (made.sessions, made.possible, made.kept, made.weight) == (6, 5, 3, 5.0)
    assert (made.expected, made.variance, made.heaviest, made.silence) == (3.0, 4.0, 2.0, -inf)
    assert made.z == 0.0


@given(st.integers(0, 10_000))
def test_right_weights_seldom_raise_the_alarm(seed: int) -> None:
    """Of a population of several probabilities, z has mean 0 over the tosses of the coins."""
    rng = np.random.default_rng(seed)
    probabilities = np.concatenate([np.full(300, 0.05), np.full(60, 0.5), np.full(20, 1.0)])
    kept = rng.random((200, len(probabilities))) < probabilities
    sums = (kept / probabilities).sum(axis=1) - len(probabilities)
    sigma = tally((300, 0.05, 0), (60, 0.5, 0), (20, 1.0, 0)).sigma
    # The mean of 200 z has a standard deviation of 0.07; 6 of these are never seen.
    assert abs(sums.mean() / sigma) < 6 / 200**0.5
