"""A census of what came to a sampler, and whether what it kept agrees with it.

The sampler knows the probability p of every session, kept or not, before it looks at R. So the
variance of the sum of weights 1/p over kept sessions is known too, not estimated: the sum of
(1 - p) / p over all that could be kept. `tracekit.stats.census` asks the same where the dropped
sessions are not at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import exp, log1p, sqrt
from typing import Final

from tracekit.stats.census import SIGMAS

HEAVIEST: Final = 10
"""Sessions of the largest weight whose variance a sum must have for z to be read as normal.

Ours, unvalidated: of a Poisson number with mean 10, one in 300 lies more than 3 standard deviations
above it, a Gaussian says one in 740.
"""

SILENCE: Final = 0.001
"""Chance of keeping nothing below which keeping nothing is an alarm. Ours, unvalidated."""


class Finding(StrEnum):
    """What a census and the kept sessions say of each other."""

    OK = "ok"
    FEW = "few"
    """Too few are at stake to tell."""
    NONE = "none kept"
    """Nothing kept speaks for these sessions, by chance."""
    NEVER = "never kept"
    """Nothing could: all have probability 0."""
    BIASED = "biased"
    """Weights and census differ by more than `SIGMAS` standard deviations."""
    BLIND = "blind"
    """Nothing was kept though that was all but certain."""


ALARMS: Final = frozenset({Finding.BIASED, Finding.BLIND})


@dataclass(slots=True)
class Tally:
    """Sessions counted when they were decided.

    Attributes:
        sessions: How many.
        kept: How many of them R kept; what was kept by hand is not among these.
        weight: Sum of 1/p of these: on average `possible`.
        never: Sessions of probability 0, which no weight speaks for.
        expected: Sum of p: how many were to be kept, on average.
        variance: Of `weight`.
        heaviest: Largest 1/p, of kept and dropped sessions.
        silence: Logarithm of the probability that none is kept.
    """

    sessions: int = 0
    kept: int = 0
    weight: float = 0.0
    never: int = 0
    expected: float = 0.0
    variance: float = 0.0
    heaviest: float = 0.0
    silence: float = 0.0

    def count(self, probability: float, *, kept: bool) -> None:
        """Count a session with the probability it was decided by."""
        self.sessions += 1
        if probability <= 0:
            self.never += 1
            return
        self.expected += probability
        self.variance += (1 - probability) / probability
        self.heaviest = max(self.heaviest, 1 / probability)
        self.silence += log1p(-probability) if probability < 1 else float("-inf")
        if kept:
            self.kept += 1
            self.weight += 1 / probability

    @property
    def possible(self) -> int:
        """Sessions that could be kept."""
        return self.sessions - self.never

    @property
    def sigma(self) -> float:
        """Standard deviation of `weight` over the coin tosses."""
        return sqrt(self.variance)

    @property
    def z(self) -> float | None:
        """Deviation of `weight` from the census in standard deviations; None without chance."""
        return (self.weight - self.possible) / self.sigma if self.variance > 0 else None

    @property
    def finding(self) -> Finding:
        """What to make of it."""
        if not self.possible:
            return Finding.NEVER if self.sessions else Finding.OK
        if not self.kept:
            return Finding.BLIND if exp(self.silence) < SILENCE else Finding.NONE
        z = self.z
        if z is None:
            # All were kept with certainty: what is missing was lost on the way.
            return Finding.OK if self.kept == self.possible else Finding.BIASED
        if self.variance < HEAVIEST * self.heaviest**2:
            return Finding.FEW
        return Finding.BIASED if abs(z) > SIGMAS else Finding.OK
