"""Rates of approval from the few who answer, who are not like the many who do not.

A raw mean of ratings is a mean of those who rate. What can be done: weight each rating by how
seldom its like are given, as far as covariates tell; and say what the rate would be if all others
had been angry, or pleased, which needs no assumption and is mostly wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from tracekit.stats.intervals import Estimate
from tracekit.stats.samples import sums
from tracekit.stats.weighted import rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

LEAST_RESPONSE = 0.05
"""Response rate below which a raw mean is refused: an unvalidated default."""
LEAST_PROPENSITY = 0.005
"""Response propensity at which weights are cut: an unvalidated default. On trimming see S. R. Cole,
M. A. Hernán, "Constructing inverse probability weights for marginal structural models", American
Journal of Epidemiology 168 (2008)."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What ratings tell about all who were asked.

    Attributes:
        shown: Sessions whose user was asked, by weight.
        rated: Share of them that answered.
        raw: Mean of the ratings; NaN, with the reason in its note, below `LEAST_RESPONSE`.
        weighted: Mean over all asked, by inverse propensity; right only if the propensities are.
        bounds: The rate if all others had said no, and if all had said yes. No confidence level:
            these hold whatever the reason of silence, up to chance in who was sampled.
        trimmed: Ratings whose propensity was below `LEAST_PROPENSITY` and was cut there.
    """

    shown: float
    rated: float
    raw: Estimate
    weighted: Estimate
    bounds: tuple[float, float]
    trimmed: int


def feedback(
    positive: ArrayLike,
    rated: ArrayLike,
    propensity: ArrayLike | None = None,
    probability: ArrayLike = 1.0,
    level: float = 0.95,
) -> Feedback:
    """Estimate the share of positive feedback among all sessions that were asked for it.

    Inverse propensity weighting: D. G. Horvitz, D. J. Thompson (1952), with Hajek's denominator;
    P. R. Rosenbaum, D. B. Rubin, "The central role of the propensity score in observational
    studies for causal effects", Biometrika 70 (1983). Bounds: C. F. Manski, "Partial Identification
    of Probability Distributions" (2003), chapter 1: their width is the share that did not answer.

    Args:
        positive: Whether the rating was positive; anything where there is none.
        rated: Whether there is a rating.
        propensity: Probability that a session like this one gets a rating, from covariates that do
            not include the rating: see `by_cohort`. None where it is not known.
        probability: Inclusion probability of the session.
        level: Confidence level.

    Raises:
        ValueError: If a propensity is not in (0, 1], or an inclusion probability is unknown.
    """
    answered = np.asarray(rated, dtype=bool)
    yes = np.where(answered, np.asarray(positive, dtype=np.float64), 0.0)
    asked = sums(answered, None, probability)
    share = asked.y / asked.x if asked.x else nan
    p = np.broadcast_to(np.asarray(probability, dtype=np.float64), answered.shape)
    likely, trimmed = _trimmed(propensity, answered)
    pleased = sums(yes, None, p)
    low = pleased.y / pleased.x if pleased.x else 0.0
    return Feedback(
        shown=asked.x,
        rated=share,
        raw=_raw(yes[answered], p[answered], share, level),
        weighted=_weighted(yes[answered], p[answered], likely, level),
        bounds=(low, low + 1 - share if asked.x else 1.0),
        trimmed=trimmed,
    )


def by_cohort(cohort: ArrayLike, rated: ArrayLike, probability: ArrayLike = 1.0) -> np.ndarray:
    """Return the response rate of each session's cohort: the plainest model of who answers.

    Within a cohort (length, errors, latency, tenure, in classes) ratings are taken to be given at
    random. Cohorts without a single rating have propensity 0, and no rating stands for them.
    """
    _, codes = np.unique(np.asarray(cohort), return_inverse=True)
    p = np.broadcast_to(np.asarray(probability, dtype=np.float64), codes.shape)
    answered = np.bincount(codes, np.asarray(rated, dtype=np.float64) / p)
    return np.asarray((answered / np.bincount(codes, 1 / p))[codes])


def _trimmed(propensity: ArrayLike | None, answered: np.ndarray) -> tuple[np.ndarray | None, int]:
    if propensity is None:
        return None, 0
    likely = np.broadcast_to(np.asarray(propensity, dtype=np.float64), answered.shape)[answered]
    if not ((likely > 0) & (likely <= 1)).all():
        raise ValueError("a session that was rated needs a propensity in (0, 1]")
    return np.maximum(likely, LEAST_PROPENSITY), int((likely < LEAST_PROPENSITY).sum())


def _raw(yes: np.ndarray, p: np.ndarray, share: float, level: float) -> Estimate:
    if not share >= LEAST_RESPONSE:
        answer = "nobody answered" if not share > 0 else f"only {share:.1%} answered"
        note = f"{answer}: the mean of the ratings is a mean of those who rate"
        return Estimate(nan, 0.0, 1.0, note=note)
    return rate(sums(yes, None, p), level)


def _weighted(yes: np.ndarray, p: np.ndarray, likely: np.ndarray | None, level: float) -> Estimate:
    if likely is None or not yes.size:
        return Estimate(nan, 0.0, 1.0, note="who answers is not known: only the bounds hold")
    return rate(sums(yes, None, p * likely), level)
