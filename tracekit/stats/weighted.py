"""Rates, ratios and totals of observations that stand for others, or come in groups.

An observation i that was kept with the probability p_i stands for w_i = 1 / p_i of them. Sums are
taken over units: observations, or clusters of them that stand or fall together. They are sums, so
that SQL can make them of a lake without moving its rows.

What an interval is about is chosen where the sums are made: the process that made the sessions
(would next month be like this?), for which a session of weight 1 is still one draw; or just these
sessions, of which a session of weight 1 leaves nothing open.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt

from tracekit.stats.intervals import Estimate, Side, error, wilson
from tracekit.stats.special import beta_quantile, normal_quantile, t_quantile

FEW_EFFECTIVE = 30
"""Effective observations below which a proportion is not presented without a warning."""
FEW_DEGREES = 8
"""Degrees of freedom below which it is not, either. Both: J. D. Parker et al., "National Center for
Health Statistics data presentation standards for proportions", Vital Health Statistics 2(175)
(2017)."""
FEW_BAD = 25
"""Clusters with the rarer outcome below which too little is known of the spread between clusters:
with fewer, `make coverage-sim` finds intervals that cover too rarely, and too often among those
that are not flagged."""
FEW_CHANCE = 20
"""Observations of the rarer outcome left to chance below which `make coverage-sim` finds weighted
intervals that hold the truth in 97 to 100 % of samples: with few there is nothing between that and
too rarely."""
FEW_FOR_RATIO = 500
"""Effective units below which a ratio of skewed amounts covers too rarely: `make coverage-sim`
finds 92 to 94 % with 200 of them and lognormal costs."""


@dataclass(frozen=True, slots=True)
class RatioSums:
    """The sums over units that the ratio of two weighted totals and its variance need.

    With the weighted totals y_i and x_i of a unit; for a rate y are successes among x tries.

    Attributes:
        n: Units, those with x = 0 included.
        y: Sum of y_i.
        x: Sum of x_i.
        yy: Sum of y_i squared.
        xy: Sum of x_i times y_i.
        xx: Sum of x_i squared.
        largest: Largest weight of one observation; 0 where none was left to chance.
        clustered: Whether units are clusters, of which there may be few.
        failing: Units with y_i < x_i; None where nobody counted them.
        succeeding: Units with y_i > 0, likewise.
    """

    n: int
    y: float
    x: float
    yy: float
    xy: float
    xx: float
    largest: float = 1.0
    clustered: bool = False
    failing: int | None = None
    succeeding: int | None = None

    def squares(self, value: float) -> float:
        """Return the sum of (y_i - value x_i)^2, with n / (n - 1) for clusters."""
        total = self.yy - 2 * value * self.xy + value**2 * self.xx
        # Cancellation can leave a sum of squares a rounding error below 0.
        return max(0.0, total) * (self.n / (self.n - 1) if self.clustered and self.n > 1 else 1)


def rate(sums: RatioSums, level: float = 0.95, side: Side = "both") -> Estimate:
    """Estimate a rate, Hajek's: weights of successes over all weights.

    Unweighted observations give `wilson`. Otherwise the linearised variance tells the size of the
    simple random sample that would be as precise, which goes into the exact interval, as in E. L.
    Korn, B. I. Graubard, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", Survey Methodology 24 (1998), with their factor
    (z / t)^2 for the degrees of freedom of clusters. Hajek and variance: C.-E. Särndal, B.
    Swensson, J. Wretman, "Model Assisted Survey Sampling" (1992), section 5.7.

    Where weights go with the outcome, as when every detected failure is kept, those seen say
    nothing about the failures that would have come with a large weight and did not. Each end is
    therefore that of a sample with one more observation against it, of the largest weight, as M. P.
    Fay and E. J. Feuer do for rates ("Confidence intervals for directly standardized rates: a
    method based on the gamma distribution", Statistics in Medicine 16, 1997). With equal weights
    this is exactly Clopper and Pearson's interval.

    Args:
        sums: Sums over units, y the successes among x.
        level: Confidence level.
        side: Both ends, or one of them.

    Returns:
        NaN within [0, 1] where there is no weight. The note says where the interval is not to be
        relied on.

    Raises:
        ValueError: If y is not between 0 and x, or the level is outside (0, 1).
    """
    tail = error(level, side)
    if not 0 <= sums.y <= sums.x * (1 + 1e-12):
        raise ValueError(f"y must lie between 0 and x, but they are {sums.y} and {sums.x}")
    if sums.x == 0:
        return Estimate(nan, 0.0, 1.0)
    if not sums.clustered and sums.xx == sums.x and sums.largest == 1:
        return wilson(sums.y, sums.x, level, side)
    value = min(1.0, sums.y / sums.x)
    size = _effective(sums, value)
    return Estimate(
        value,
        0.0 if side == "upper" else _end(sums, value, size, tail),
        1.0 if side == "lower" else _end(sums, value, size, 1 - tail),
        effective=size,
        clusters=sums.n if sums.clustered else None,
        note=_note(sums, value, size),
    )


def ratio(sums: RatioSums, level: float = 0.95) -> Estimate:
    """Estimate a ratio of two totals, such as cost per success, with a linearised interval.

    With R = sum y / sum x and residuals e_i = y_i - R x_i, the variance of R is
    n / (n - 1) * sum(e_i^2) / (sum x)^2 (delta method). Source: W. G. Cochran, "Sampling
    Techniques", 3rd edition (1977), section 6.4, without the finite population correction. The
    lower end is cut at 0: both totals are amounts. Clusters have Student's t with n - 1 degrees of
    freedom. Amounts are skewed, so with few effective units, (sum x)^2 / sum x^2, the interval
    covers a little less than it says: a note tells so below `FEW_FOR_RATIO`.

    Args:
        sums: Sums over units.
        level: Confidence level.

    Returns:
        NaN within [0, infinity) where the denominator is 0; the interval is [0, infinity) for a
        single unit, which says nothing about spread.
    """
    tail = error(level, "both")
    clusters = sums.n if sums.clustered else None
    if sums.x == 0:
        return Estimate(nan, 0.0, inf, clusters=clusters)
    value = sums.y / sums.x
    if sums.n < 2:  # noqa: PLR2004 - a variance needs two units
        return Estimate(value, 0.0, inf, clusters=clusters)
    correction = 1 if sums.clustered else sums.n / (sums.n - 1)
    half = -t_quantile(tail, _degrees(sums)) * sqrt(correction * sums.squares(value)) / sums.x
    few = sums.x**2 / sums.xx if sums.xx else inf
    note = f"as of {few:.0f} units, few for amounts" if few < FEW_FOR_RATIO else ""
    return Estimate(value, max(0.0, value - half), value + half, clusters=clusters, note=note)


def _degrees(sums: RatioSums) -> float:
    return max(1, sums.n - 1) if sums.clustered else inf


def _effective(sums: RatioSums, value: float) -> float:
    """Return n * p (1 - p) / V; Kish's (sum x)^2 / sum x^2 where all units agree and V is 0."""
    if squares := sums.squares(value):
        return value * (1 - value) * sums.x**2 / squares
    return sums.x**2 / sums.xx if sums.xx else inf


def _end(sums: RatioSums, value: float, size: float, at: float) -> float:
    """Return the quantile of one end, after one more observation that pulls it that way."""
    upper = at > 1 / 2
    if size == inf or value == float(upper):
        return value
    mass = max(sums.largest, sums.x / size)
    more = mass if upper else 0.0
    new = (sums.y + more) / (sums.x + mass)
    squares = sums.squares(new) + (more - new * mass) ** 2
    scale = new * (1 - new) * (sums.x + mass) ** 2 / squares
    scale *= (normal_quantile(at) / t_quantile(at, _degrees(sums))) ** 2
    end = beta_quantile(at, new * scale, (1 - new) * scale)
    return max(end, value) if upper else min(end, value)


def _note(sums: RatioSums, value: float, size: float) -> str:
    notes = []
    # Rows of unequal weight that agree by chance look like more than they are.
    if (few := min(size, sums.n)) < FEW_EFFECTIVE:
        notes.append(f"as precise as {few:.0f} independent observations only")
    if _degrees(sums) < FEW_DEGREES:
        notes.append(f"{sums.n} clusters only")
    if value in {0, 1}:
        notes.append("one outcome was never seen: the end is a bound, as by the rule of three")
    elif sums.clustered:
        for units, what in ((sums.failing, "failures"), (sums.succeeding, "successes")):
            if units is not None and units < FEW_BAD:
                notes.append(f"all {what} are in {units} clusters: so many observations")
    elif (rare := _left_to_chance(sums)) < FEW_CHANCE:
        notes.append(
            f"what is unknown rests on some {rare:.0f} observations of the rarer outcome: the "
            "interval is wider than it would have to be"
        )
    return "; ".join(notes)


def _left_to_chance(sums: RatioSums) -> float:
    """Return how many observations of the rarer outcome, of the largest weight, vary as they do."""
    if sums.largest <= 1:
        return inf
    failing = max(0.0, sums.xx - 2 * sums.xy + sums.yy)
    return min(failing, sums.yy) / sums.largest**2
