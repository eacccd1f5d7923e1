"""Estimates set right by a census: counts per stratum, taken before anything was dropped.

A stratum whose sessions were never kept has no estimator, whatever the weights; the census says how
many they were, so that an answer can say what it does not speak for. Where weights and census
differ by more than chance, weights are wrong, and everything estimated with them is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum, sqrt
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from tracekit.stats.samples import Array, weights

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike

Key = TypeVar("Key", bound="Hashable")
Counts: TypeAlias = Mapping[Key, float]

SIGMAS = 3.0
"""Standard deviations between weights and census above which weights are called biased."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """One stratum, as the census and the sample have it.

    Attributes:
        census: Sessions there were.
        rows: Sessions kept with a known probability.
        weight: Sum of their weights; on average the census, if the weights are right.
        sigma: Standard deviation of that sum over the coin tosses, from the rows kept.
        blind: The census has sessions and the sample none that speaks for them.
        biased: Weights and census differ by more than `SIGMAS`.
    """

    census: float
    rows: int
    weight: float
    sigma: float
    blind: bool
    biased: bool


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a sample speaks for.

    Attributes:
        strata: Every stratum of the census and of the sample.
        covered: Sessions of the census in strata that are not blind.
        total: Sessions of the census.
    """

    strata: Mapping[Any, Stratum]
    covered: float
    total: float

    @property
    def share(self) -> float:
        """Share of the census that the sample speaks for; NaN without a census."""
        return self.covered / self.total if self.total else float("nan")

    @property
    def blind(self) -> list[Any]:
        """Strata nothing can be said about, the largest first."""
        return self._named("blind")

    @property
    def biased(self) -> list[Any]:
        """Strata whose weights contradict the census, the largest first."""
        return self._named("biased")

    def _named(self, flag: str) -> list[Any]:
        found = [name for name, stratum in self.strata.items() if getattr(stratum, flag)]
        return sorted(found, key=lambda name: (-self.strata[name].census, str(name)))


def check(census: Counts[Key], stratum: Sequence[Key], probability: ArrayLike) -> Coverage:
    """Hold the weights of a sample against a census.

    The sum of weights of a Poisson sample has the variance sum (1 - p) / p over the sessions,
    estimated as the sum of w (w - 1) over kept rows. A stratum of which few rows can be expected
    gets at least the variance that the census and its mean weight imply, lest a handful of light
    rows make a heavy one look impossible.

    Args:
        census: Sessions per stratum, counted before the decision.
        stratum: Stratum of each row.
        probability: Inclusion probability of each row; rows without one are no argument here.

    Raises:
        ValueError: If a probability is unknown.
    """
    w = np.broadcast_to(weights(probability), (len(stratum),))
    rows: dict[Key, list[float]] = {}
    for name, weight in zip(stratum, w.tolist(), strict=True):
        rows.setdefault(name, []).append(weight)
    strata = {
        name: _stratum(float(census.get(name, 0)), rows.get(name, []))
        for name in dict.fromkeys([*census, *rows])
    }
    covered = fsum(each.census for each in strata.values() if not each.blind)
    return Coverage({**strata}, covered, fsum(float(count) for count in census.values()))


def _stratum(census: float, kept: list[float]) -> Stratum:
    weight = fsum(kept)
    seen = fsum(w * (w - 1) for w in kept)
    expected = census * (fsum(w * w for w in kept) / weight - 1) if weight else 0.0
    sigma = sqrt(max(seen, expected))
    blind = census > 0 and not kept
    biased = not blind and abs(weight - census) > SIGMAS * sigma + 1e-9 * census
    return Stratum(census, len(kept), weight, sigma, blind=blind, biased=biased)


def calibrated(census: Counts[Key], stratum: Sequence[Key], probability: ArrayLike) -> Array:
    """Return weights that add up to the census in every stratum: post-stratification.

    Each weight times census / sum of weights of its stratum. It takes the chance out of how many
    were kept, and repairs losses that within a stratum had nothing to do with the outcome. Source:
    D. Holt, T. M. F. Smith, "Post stratification", JRSS A 142 (1979). Rates and ratios of the
    result speak for the strata that are not blind.

    Raises:
        ValueError: If a row's stratum is not in the census, or a probability is unknown.
    """
    return _scaled(np.broadcast_to(weights(probability), (len(stratum),)), census, stratum)


def raked(
    margins: Sequence[tuple[Counts[Key], Sequence[Key]]],
    probability: ArrayLike,
    *,
    tolerance: float = 1e-9,
    rounds: int = 1000,
) -> Array:
    """Return weights that add up to several censuses at once, none of which knows their cells.

    Iterative proportional fitting: each margin in turn, until all hold. Source: W. E. Deming, F. F.
    Stephan, "On a least squares adjustment of a sampled frequency table", Annals of Mathematical
    Statistics 11 (1940).

    Args:
        margins: Per margin the census by its strata, and the stratum of each row.
        probability: Inclusion probability of each row.
        tolerance: Largest relative difference that is left.
        rounds: Rounds after which to give up.

    Raises:
        ValueError: If a margin is blind somewhere, the margins contradict each other, or the rows
            cannot meet them.
    """
    fitted, worst = weights(probability), 0.0
    for census, stratum in margins:
        gone = sorted(str(name) for name, count in census.items() if count and name not in stratum)
        if gone:
            raise ValueError(f"no row speaks for {', '.join(gone)}; leave it out, and say so")
    for _ in range(rounds):
        worst = 0.0
        for census, stratum in margins:
            new = _scaled(fitted, census, stratum)
            worst = max(worst, float(abs(new / fitted - 1).max(initial=0.0)))
            fitted = new
        if worst <= tolerance:
            return fitted
    raise ValueError(f"the margins cannot be met together: {worst:.2g} off after {rounds} rounds")


def _scaled(w: Array, census: Counts[Key], stratum: Sequence[Key]) -> Array:
    unknown = sorted({str(name) for name in stratum if not census.get(name)})
    if unknown:
        raise ValueError(f"the census has no sessions in {', '.join(unknown)}, and the sample has")
    index = {name: number for number, name in enumerate(dict.fromkeys(stratum))}
    codes = np.array([index[name] for name in stratum], dtype=np.int64)
    counted = np.array([census[name] for name in index], dtype=np.float64)
    return np.asarray(w * (counted / np.bincount(codes, w, minlength=len(index)))[codes])
