"""What is known of a feature before it has production traffic, and when that stops to matter.

Sessions of dogfooding, simulation and expert review count as a discounted share a0 of a production
session each: the power prior of J. G. Ibrahim, M.-H. Chen, "Power prior distributions for
regression models", Statistical Science 15 (2000). For a rate that keeps the posterior a beta
distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import ceil, inf
from typing import TYPE_CHECKING

import yaml

from tracekit.stats.intervals import Estimate, error
from tracekit.stats.special import beta_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping

HALF = 1 / 2
"""Weight of the prior below which a rate is called production's own."""
_JEFFREYS = 1 / 2


@dataclass(frozen=True, slots=True)
class Layer:
    """How far a layer of evidence speaks for production.

    Attributes:
        discount: Share a0 of a production session that one of its sessions is worth.
        unbiased: Whether its rate says anything about production's.
        why: Reason, in words.
    """

    discount: float
    unbiased: bool
    why: str


@dataclass(frozen=True, slots=True)
class Posterior:
    """A rate from prior evidence and production sessions together, as Beta(a, b).

    Attributes:
        a: First shape.
        b: Second shape.
        prior: Production sessions that the prior is worth.
        sessions: Production sessions.
    """

    a: float
    b: float
    prior: float
    sessions: float

    @property
    def prior_weight(self) -> float:
        """Share of the evidence that is not production's."""
        known = self.prior + self.sessions
        return self.prior / known if known else 1.0

    def estimate(self, level: float = 0.95) -> Estimate:
        """Return mean and equal-tailed credible interval, with a note while the prior leads."""
        tail = error(level, "both")
        note = ""
        if self.prior_weight >= HALF:
            note = f"{self.prior_weight:.0%} of the evidence is from before production"
        low, high = (beta_quantile(at, self.a, self.b) for at in (tail, 1 - tail))
        return Estimate(
            self.a / (self.a + self.b), low, high, self.prior + self.sessions, None, note
        )

    @property
    def sessions_until_own(self) -> int:
        """Production sessions still needed until the prior weighs less than half."""
        return max(0, ceil(self.prior - self.sessions + 1e-9)) if self.prior else 0

    def sessions_until_width(self, width: float, level: float = 0.95) -> int:
        """Return how many more sessions narrow the interval to a width, if the rate stays.

        Raises:
            ValueError: If the width is not above 0.
        """
        if not width > 0:
            raise ValueError(f"a width must be above 0, but it is {width}")
        mean, tail = self.a / (self.a + self.b), error(level, "both")

        def wide(more: int) -> bool:
            a, b = self.a + more * mean, self.b + more * (1 - mean)
            return beta_quantile(1 - tail, a, b) - beta_quantile(tail, a, b) > width

        low, high = 0, 1
        if not wide(0):
            return 0
        while wide(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if wide(middle) else (low, middle)
        return high


@cache
def layers() -> Mapping[str, Layer]:
    """Return the layers of `evidence_layers.yaml` by name."""
    text = resources.files("tracekit.stats").joinpath("evidence_layers.yaml").read_text("utf-8")
    return {name: Layer(**entry) for name, entry in yaml.safe_load(text)["layers"].items()}


def posterior(
    evidence: Mapping[str, tuple[float, float]],
    production: tuple[float, float] = (0, 0),
    discounts: Mapping[str, float] | None = None,
) -> Posterior:
    """Return what layers of evidence and production sessions together say of a success rate.

    Beta(1/2 + sum a0 s + successes, 1/2 + sum a0 f + failures), from Jeffreys' prior. Layers made
    to fail add nothing.

    Args:
        evidence: (successes, sessions) by layer.
        production: (successes, sessions) in production.
        discounts: a0 by layer, instead of those of `evidence_layers.yaml`.

    Raises:
        ValueError: If there is no such layer, or a count or discount is impossible.
    """
    a = b = prior = 0.0
    for name, counts in evidence.items():
        discount = _discount(name, discounts or {})
        successes, sessions = _possible(name, *counts)
        a, b = a + discount * successes, b + discount * (sessions - successes)
        prior += discount * sessions
    successes, sessions = _possible("production", *production)
    a, b = a + successes + _JEFFREYS, b + sessions - successes + _JEFFREYS
    return Posterior(a, b, prior, sessions)


def _discount(name: str, discounts: Mapping[str, float]) -> float:
    if name not in layers():
        raise ValueError(f"no layer of evidence {name!r}; there are: {', '.join(layers())}")
    layer = layers()[name]
    discount = discounts.get(name, layer.discount) if layer.unbiased else 0.0
    if not 0 <= discount <= 1:
        raise ValueError(f"a discount lies between 0 and 1, but that of {name} is {discount}")
    return discount


def _possible(name: str, successes: float, sessions: float) -> tuple[float, float]:
    if not 0 <= successes <= sessions < inf:
        raise ValueError(f"{name}: {successes} successes of {sessions} sessions are impossible")
    return successes, sessions
