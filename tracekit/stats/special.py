"""Beta and Student quantiles, which exact intervals need.

The standard library has neither, and SciPy, a hundred megabytes and a fifth of a second at every
start, would be carried for these alone. They are held against exact binomial sums by the tests.
"""

from __future__ import annotations

from math import exp, inf, isnan, lgamma, log, log1p, sqrt
from statistics import NormalDist

_TINY = 1e-300
_EPSILON = 1e-16
_CLOSE = 1e-13
"""Relative step at which a quantile is found; rounding of the distribution allows no less."""
_STEPS = 200
"""Steps after which to stop anyhow; bisection alone needs some 60, Newton's method five."""


def normal_quantile(level: float) -> float:
    """Return the quantile of the standard normal distribution.

    Raises:
        ValueError: If the level is not inside (0, 1).
    """
    return NormalDist().inv_cdf(_inside(level))


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, evaluated by
    Lentz's method; on the side of the mean where it converges fast.

    Args:
        x: Where, in [0, 1].
        a: First shape, above 0.
        b: Second shape, above 0.

    Raises:
        ValueError: If a shape is not above 0, or x is outside [0, 1].
    """
    if not (0 < a < inf and 0 < b < inf and 0 <= x <= 1):
        raise ValueError(f"I_x(a, b) needs 0 <= x <= 1 and a, b > 0, but got {x}, {a}, {b}")
    if x in {0, 1}:
        return float(x)
    if x > (a + 1) / (a + b + 2):
        return 1 - _tail(1 - x, b, a)
    return _tail(x, a, b)


def _tail(x: float, a: float, b: float) -> float:
    return exp(_log_front(x, a, b) - log(a)) / _fraction(x, a, b)


def _log_front(x: float, a: float, b: float) -> float:
    return a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)


def _fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d_1 / (1 + d_2 / (1 + ...)) of 8.17.22; it takes some sqrt(max(a, b)) terms."""
    value, above, below = 1.0, 1.0, 0.0
    for index in range(1, 200 + 20 * int(sqrt(max(a, b)))):
        half = index // 2
        if index % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        below = 1 / (1 + term * below or _TINY)
        above = 1 + term / above or _TINY
        value *= above * below
        if abs(above * below - 1) < _EPSILON:
            break
    return value


def beta_quantile(level: float, a: float, b: float) -> float:
    """Return x with I_x(a, b) = level.

    Newton's method inside a bracket that every step narrows, so that it cannot run away.

    Args:
        level: Inside (0, 1).
        a: First shape, above 0.
        b: Second shape, above 0.

    Raises:
        ValueError: If a shape is not above 0, or the level is not inside (0, 1).
    """
    _inside(level)
    low, high, x = 0.0, 1.0, a / (a + b) if a > 0 and b > 0 else inf
    for _ in range(_STEPS):
        excess = beta_cdf(x, a, b) - level
        low, high = (x, high) if excess < 0 else (low, x)
        density = exp(_log_front(x, a, b) - log(x) - log1p(-x)) if 0 < x < 1 else 0.0
        step = x - excess / density if density > 0 else inf
        new = step if low < step < high else (low + high) / 2
        if abs(new - x) <= _CLOSE * x or excess == 0:
            break
        x = new
    return x


def t_quantile(level: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution; normal for infinite degrees of freedom.

    By t^2 = degrees * (1 - x) / x with x of Beta(degrees / 2, 1 / 2): NIST DLMF 8.17 and
    Abramowitz and Stegun 26.7.1.

    Raises:
        ValueError: If the degrees are not above 0, or the level is not inside (0, 1).
    """
    if isnan(degrees) or degrees <= 0:
        raise ValueError(f"degrees of freedom must be above 0, but they are {degrees}")
    if degrees > 1e7 or _inside(level) == 1 / 2:  # noqa: PLR2004 - normal to seven digits
        return normal_quantile(level)
    x = beta_quantile(2 * min(level, 1 - level), degrees / 2, 1 / 2)
    size = sqrt(degrees * (1 - x) / x)
    return -size if level < 1 / 2 else size


def _inside(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but it is {level}")
    return level
