"""Rates and ratios of observations that stand for others, or come in groups."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt

from tracekit.stats.intervals import Estimate, error, wilson
from tracekit.stats.special import normal_quantile


@dataclass(frozen=True, slots=True)
class RatioSums:
    """The sums over observations i that a ratio y/x and its variance need.

    Attributes:
        n: Observations, those with x = 0 included.
        y: Sum of y_i.
        x: Sum of x_i.
        yy: Sum of y_i squared.
        xy: Sum of x_i times y_i.
        xx: Sum of x_i squared.
    """

    n: int
    y: float
    x: float
    yy: float
    xy: float
    xx: float


def weighted_rate(
    success: tuple[float, float], failure: tuple[float, float], level: float = 0.95
) -> Estimate:
    """Estimate a rate from observations that stand for `weight` others each.

    The rate is Hajek's: weights of successes over all weights. Its linearised variance
    sum(w^2 (y - rate)^2) / (sum w)^2 gives the size of the simple random sample that would be as
    precise, and that effective size goes into Wilson's interval. Sources: C.-E. Särndal,
    B. Swensson, J. Wretman, "Model Assisted Survey Sampling" (1992), section 5.7; C. Franco et al.,
    "Comparative study of confidence intervals for proportions in complex sample surveys", Journal
    of Survey Statistics and Methodology 7 (2019). Where all observations agree that variance is 0,
    and Kish's size (sum w)^2 / sum w^2 takes its place. With all weights 1 it is `wilson`.

    Args:
        success: Sum of the successes' weights, and sum of the squares of those weights.
        failure: The same of the failures.
        level: Confidence level.

    Raises:
        ValueError: If a sum is negative, or the level is outside (0, 1).
    """
    if min(*success, *failure) < 0:
        message = f"sums of weights must not be negative, but they are {success} and {failure}"
        raise ValueError(message)
    total = success[0] + failure[0]
    if total == 0:
        return wilson(0, 0, level)
    rate = success[0] / total
    spread = success[1] * (1 - rate) ** 2 + failure[1] * rate**2
    if spread > 0:
        size = rate * (1 - rate) * total**2 / spread
    else:
        size = total**2 / (success[1] + failure[1])
    return wilson(min(rate * size, size), size, level)


def ratio(sums: RatioSums, level: float = 0.95) -> Estimate:
    """Estimate a ratio of two totals, such as cost per success, with a linearised interval.

    With R = sum y / sum x and residuals e_i = y_i - R x_i, the variance of R is
    n / (n - 1) * sum(e_i^2) / (sum x)^2 (delta method). Source: W. G. Cochran, "Sampling
    Techniques", 3rd edition (1977), section 6.4, without the finite population correction. The
    lower end is cut at 0: both totals are amounts. With few x the interval is optimistic.

    Args:
        sums: Sums over the observations.
        level: Confidence level.

    Returns:
        NaN within [0, infinity) where the denominator is 0; the interval is [0, infinity) for a
        single observation, which says nothing about spread.
    """
    z = -normal_quantile(error(level, "both"))
    if sums.x == 0:
        return Estimate(nan, 0.0, inf)
    value = sums.y / sums.x
    if sums.n < 2:  # noqa: PLR2004 - a variance needs two observations
        return Estimate(value, 0.0, inf)
    # Cancellation can leave a sum of squares a rounding error below 0.
    squares = max(0.0, sums.yy - 2 * value * sums.xy + value**2 * sums.xx)
    half = z * sqrt(sums.n / (sums.n - 1) * squares) / sums.x
    return Estimate(value, max(0.0, value - half), value + half)
