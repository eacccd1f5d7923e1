"""Intervals of a rate from independent observations.

Every estimate is returned with its interval, so that no caller can print one without the other.
Observations are taken as independent: tasks that failed together in one incident are fewer
observations than they look, and the interval is then too narrow; `tracekit.stats.weighted` counts
incidents instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import Literal, TypeAlias

from tracekit.stats.special import beta_quantile, normal_quantile

Side: TypeAlias = Literal["both", "lower", "upper"]
"""Which ends an interval has. With one, that end alone has the whole error probability, and the
other end is where the quantity itself ends."""

FEW_EVENTS = 10
"""Events of the rarer outcome below which the interval of an approximation (Wilson, Jeffreys) may
cover less than it says; twice W. G. Cochran's rule of thumb ("Some methods for strengthening the
common chi-squared tests", Biometrics 10, 1954), as with five, samples of ten expected events cover
more than 97 % where they are not flagged."""
FEW_FOR_EXACT = 20
"""Events of the rarer outcome below which the exact interval may cover more than 97 % where it says
95. Both: `make coverage-sim`, and the binomial sums in tests/test_stats_coverage.py."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: Point estimate; NaN where there is nothing to estimate it from.
        low: Lower end of the interval.
        high: Upper end of the interval.
        effective: Size of the simple random sample that would be as precise; None where the
            estimate is no rate.
        clusters: Independent groups of observations the interval counts; None where it counts
            observations.
        note: Why the interval is not to be relied on as it stands, or what it rests on instead;
            empty where there is nothing to add.
    """

    value: float
    low: float
    high: float
    effective: float | None = None
    clusters: int | None = None
    note: str = ""

    @property
    def reliable(self) -> bool:
        """Whether the interval can be printed without its note."""
        return not self.note


def wilson(successes: float, n: float, level: float = 0.95, side: Side = "both") -> Estimate:
    """Estimate a rate with Wilson's score interval.

    The interval stays inside [0, 1], never has zero width, and covers well near 0 and 1, where the
    normal interval fails. Source: E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22 (1927); recommended by Brown, Cai and DasGupta, "Interval
    estimation for a binomial proportion", Statistical Science 16 (2001).

    Args:
        successes: Number of successes; a fraction where n is an effective sample size.
        n: Number of observations; 0 gives NaN with the interval [0, 1].
        level: Confidence level.
        side: Both ends, or one of them.

    Returns:
        With a note where fewer than `FEW_EVENTS` of one outcome were seen.

    Raises:
        ValueError: If not 0 <= successes <= n, or the level is outside (0, 1).

    >>> estimate = wilson(985, 1000)
    >>> f"{estimate.value:.1%}, {estimate.low:.1%} to {estimate.high:.1%}"
    '98.5%, 97.5% to 99.1%'
    """
    z = -normal_quantile(error(level, side))
    _check(successes, n)
    if n == 0:
        return Estimate(nan, 0.0, 1.0)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # The ends are exactly 0 and 1 for all failures and all successes; rounding must not lose that.
    low = 0.0 if successes == 0 else max(0.0, min(rate, centre - half))
    high = 1.0 if successes == n else min(1.0, max(rate, centre + half))
    return _cut(rate, low, high, side, _few(successes, n))


def jeffreys(successes: float, n: float, level: float = 0.95, side: Side = "both") -> Estimate:
    """Estimate a rate with the equal-tailed posterior interval under Jeffreys' prior.

    Quantiles of Beta(successes + 1/2, failures + 1/2), with the end at 0 where nothing succeeded
    and at 1 where nothing failed. Source: Brown, Cai and DasGupta (2001), section 4.1.2, who
    recommend it beside Wilson's for small n. Arguments and errors are those of `wilson`.
    """
    tail = error(level, side)
    _check(successes, n)
    if n == 0:
        return Estimate(nan, 0.0, 1.0)
    shapes = successes + 1 / 2, n - successes + 1 / 2
    low = 0.0 if successes == 0 else beta_quantile(tail, *shapes)
    high = 1.0 if successes == n else beta_quantile(1 - tail, *shapes)
    return _cut(successes / n, low, high, side, _few(successes, n))


def clopper_pearson(
    successes: float, n: float, level: float = 0.95, side: Side = "both"
) -> Estimate:
    """Estimate a rate with the exact interval, which covers at least as often as it says.

    The rates that a binomial test would not refuse; wider than Wilson's, and therefore what a
    verdict against a contract rests on. Source: C. J. Clopper, E. S. Pearson, "The use of
    confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26 (1934);
    as quantiles of Beta(k, n - k + 1) and Beta(k + 1, n - k) in Brown, Cai and DasGupta (2001),
    section 4.2.1. Arguments and errors are those of `wilson`; the note comes with fewer than
    `FEW_FOR_EXACT` of one outcome, where the interval is wider than it would have to be.

    >>> clopper_pearson(0, 300, side="upper").high < 3 / 300  # the rule of three
    True
    """
    tail = error(level, side)
    _check(successes, n)
    if n == 0:
        return Estimate(nan, 0.0, 1.0)
    low = 0.0 if successes == 0 else beta_quantile(tail, successes, n - successes + 1)
    high = 1.0 if successes == n else beta_quantile(1 - tail, successes + 1, n - successes)
    return _cut(successes / n, low, high, side, _few(successes, n, exact=True))


def error(level: float, side: Side) -> float:
    """Return the probability that each end of an interval may leave out.

    Raises:
        ValueError: If the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but it is {level}")
    return (1 - level) / 2 if side == "both" else 1 - level


def _check(successes: float, n: float) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, but they are {successes} of {n}")


def _few(successes: float, n: float, *, exact: bool = False) -> str:
    events = min(successes, n - successes)
    if events >= (FEW_FOR_EXACT if exact else FEW_EVENTS):
        return ""
    if events == 0:
        return f"one outcome was never seen: in {n:g}, it is rarer than {min(1, 3 / n):.2g}"
    seen = f"the rarer outcome was seen {events:g} times only"
    return f"{seen}; {'wide to be safe' if exact else 'the exact interval is safer'}"


def _cut(rate: float, low: float, high: float, side: Side, note: str = "") -> Estimate:
    low, high = 0.0 if side == "upper" else low, 1.0 if side == "lower" else high
    return Estimate(rate, low, high, note=note)
