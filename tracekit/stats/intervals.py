"""Intervals for rates and ratios.

Every estimate is returned with its interval, so that no caller can print one without the other.
Observations are taken as independent: tasks that failed together in one incident are fewer
observations than they look, and the interval is then too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: Point estimate; NaN where there is nothing to estimate it from.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


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


def _z(level: float) -> float:
    if not 0 < level < 1:
        message = f"level must lie between 0 and 1, but it is {level}"
        raise ValueError(message)
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(successes: float, n: float, level: float = 0.95) -> Estimate:
    """Estimate a rate with Wilson's score interval.

    The interval stays inside [0, 1], never has zero width, and covers well near 0 and 1, where the
    normal interval fails. Source: E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22 (1927); recommended by Brown, Cai and DasGupta, "Interval
    estimation for a binomial proportion", Statistical Science 16 (2001).

    Args:
        successes: Number of successes; a fraction where n is an effective sample size.
        n: Number of observations; 0 gives NaN with the interval [0, 1].
        level: Confidence level.

    Raises:
        ValueError: If not 0 <= successes <= n, or the level is outside (0, 1).

    >>> wilson(985, 1000)  # 98.5 %, 97.5 to 99.1 %
    Estimate(value=0.985, low=0.975399..., high=0.990889...)
    """
    z = _z(level)
    if not 0 <= successes <= n:
        message = f"successes must lie between 0 and n, but they are {successes} of {n}"
        raise ValueError(message)
    if n == 0:
        return Estimate(nan, 0.0, 1.0)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # The ends are exactly 0 and 1 for all failures and all successes; rounding must not lose that.
    low = 0.0 if successes == 0 else max(0.0, min(rate, centre - half))
    high = 1.0 if successes == n else min(1.0, max(rate, centre + half))
    return Estimate(rate, low, high)


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
    z = _z(level)
    if sums.x == 0:
        return Estimate(nan, 0.0, inf)
    value = sums.y / sums.x
    if sums.n < 2:  # noqa: PLR2004 - a variance needs two observations
        return Estimate(value, 0.0, inf)
    # Cancellation can leave a sum of squares a rounding error below 0.
    squares = max(0.0, sums.yy - 2 * value * sums.xy + value**2 * sums.xx)
    half = z * sqrt(sums.n / (sums.n - 1) * squares) / sums.x
    return Estimate(value, max(0.0, value - half), value + half)
