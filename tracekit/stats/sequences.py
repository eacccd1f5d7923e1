"""Confidence sequences: intervals that hold at every look, for views that are always looked at.

An interval of fixed size covers at the one moment that was chosen in advance. Whoever refreshes a
view until it shows a miss will see one. The sequences here cover the mean at all times at once
with the stated probability. Observations come in the order of time, with the same mean given the
past; feed the mean of each cluster where sessions fail together.
"""

from __future__ import annotations

from math import inf, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from tracekit.stats.intervals import Estimate, error

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Path = NDArray[np.float64]

_CAP = 1 / 2
"""Largest share of the capital in one bet; 1/2 or 3/4 are reasonable, says section 3.2 of Waudby-
Smith and Ramdas."""
_STEPS = 60


def betting(x: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the mean of values in [0, 1] with its interval now, valid at every now.

    The means against which nobody would have multiplied a capital by 1 / alpha, betting half of it
    on a higher and half on a lower mean. The narrowest of the three; exact, no approximation.
    Source: I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting",
    JRSS B 86 (2024), theorem 3 (hedged capital) with the bets of equation 26.

    Args:
        x: Observations in the order of time, each in [0, 1].
        level: Probability that the sequence covers the mean at all times.

    Raises:
        ValueError: If a value is outside [0, 1].
    """
    values = _bounded(x)
    if not values.size:
        return Estimate(float("nan"), 0.0, 1.0)
    alpha = 1 - level
    bets = _bets(values, alpha)
    mean = float(values.mean())

    def out(m: float) -> bool:
        return float(_capital(values, bets, m)[-1]) >= log(1 / alpha)

    inner = min(max(mean, 1e-12), 1 - 1e-12)
    if out(inner):  # rare: the bets of the past went against the mean of all
        inner = _cheapest(values, bets)
    return Estimate(mean, _edge(0.0, inner, out), _edge(1.0, inner, out))


def wealth(x: ArrayLike, mean: float, level: float = 0.95) -> Path:
    """Return the logarithm of the capital of bets against a mean, after each observation.

    The mean is outside the sequence of `betting` while this is log(1 / alpha) or more.
    """
    values = _bounded(x)
    return _capital(values, _bets(values, 1 - level), mean)


def empirical_bernstein(x: ArrayLike, level: float = 0.95) -> tuple[Path, Path, Path]:
    """Return centre and ends of the sequence after each observation, for values in [0, 1].

    In closed form for all times at once, wider than `betting`. Source: Waudby-Smith and Ramdas
    (2024), theorem 2, the predictable plug-in empirical Bernstein sequence.

    Returns:
        (centre, low, high), each as long as x; the centre weights observations by their bets.
    """
    values = _bounded(x)
    alpha = 1 - level
    bets = np.minimum(_bets(values, alpha), _CAP)
    means, _ = _moments(values)
    spread = 4 * (values - means) ** 2 * (-np.log1p(-bets) - bets) / 4
    stake = np.cumsum(bets)
    centre = np.cumsum(bets * values) / stake
    half = (log(2 / alpha) + np.cumsum(spread)) / stake
    return centre, np.maximum(0, centre - half), np.minimum(1, centre + half)


def asymptotic(
    x: ArrayLike, level: float = 0.95, tightest_at: int = 1000
) -> tuple[Path, Path, Path]:
    """Return mean and ends after each observation, for values without bounds, such as costs.

    Valid in the limit only, as the central limit theorem is: not for the first dozens of values.
    Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, "Time-uniform central
    limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024), theorem 2.2,
    with rho from their appendix B.2.

    Args:
        x: Observations in the order of time.
        level: Probability that the sequence covers the mean at all times.
        tightest_at: Number of observations at which the interval is to be narrowest.

    Returns:
        (mean, low, high), each as long as x; infinite ends while there is a single value.
    """
    values = np.asarray(x, dtype=np.float64)
    alpha = 2 * error(level, "both")
    t = np.arange(1, values.size + 1)
    mean = np.cumsum(values) / t
    deviation = np.sqrt(np.maximum(0, np.cumsum(values**2) / t - mean**2))
    rho2 = (-2 * log(alpha) + log(-2 * log(alpha)) + 1) / tightest_at
    grown = t * rho2 + 1
    half = deviation * np.sqrt(2 * grown / (t * t * rho2) * np.log(np.sqrt(grown) / alpha))
    half[:1] = inf
    return mean, mean - half, mean + half


def _bounded(x: ArrayLike) -> Path:
    values = np.asarray(x, dtype=np.float64)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("values must lie in [0, 1]; divide them by their bound first")
    return values


def _moments(x: Path) -> tuple[Path, Path]:
    """Return what was known of mean and variance before each observation."""
    t = np.arange(1, x.size + 1)
    means = (1 / 2 + np.cumsum(x)) / (t + 1)
    variances = (1 / 4 + np.cumsum((x - means) ** 2)) / (t + 1)
    return np.r_[1 / 2, means[:-1]], np.r_[1 / 4, variances[:-1]]


def _bets(x: Path, alpha: float) -> Path:
    _, variances = _moments(x)
    t = np.arange(1, x.size + 1)
    return np.sqrt(2 * log(2 / alpha) / (variances * t * np.log1p(t)))


def _capital(x: Path, bets: Path, mean: float) -> Path:
    up = np.minimum(bets, _CAP / mean if mean else inf)
    down = np.minimum(bets, _CAP / (1 - mean) if mean < 1 else inf)
    with np.errstate(divide="ignore"):
        higher = np.cumsum(np.log1p(up * (x - mean)))
        lower = np.cumsum(np.log1p(-down * (x - mean)))
    return np.asarray(np.maximum(higher, lower) - log(2))


def _cheapest(x: Path, bets: Path) -> float:
    """Return the mean that bets have made least of; the capital is quasiconvex in it."""
    low, high = 0.0, 1.0
    golden = (sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _capital(x, bets, left)[-1] < _capital(x, bets, right)[-1]:
            high = right
        else:
            low = left
    return (low + high) / 2


def _edge(outside: float, inside: float, out: Callable[[float], bool]) -> float:
    """Return where the interval ends between a mean that may be out of it and one inside."""
    if not out(outside):
        return outside
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if out(middle) else (outside, middle)
    return outside
