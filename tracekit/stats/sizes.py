"""How many tasks it takes to show something."""

from __future__ import annotations

from math import ceil, sqrt

from tracekit.stats.intervals import clopper_pearson
from tracekit.stats.special import beta_cdf, normal_quantile


def tasks_to_show_a_miss(
    target: float, true: float, error: float = 0.05, power: float = 0.9
) -> int:
    """Return how many independent tasks show, as often as `power`, that a target is missed.

    One-sided test of a rate against `target` with the normal approximation, both variances used:
    J. L. Fleiss, "Statistical Methods for Rates and Proportions", 2nd edition (1981), formula 2.3
    without the continuity correction. With few expected failures the exact test does a little
    worse: `power_of` says how much.

    Args:
        target: Success rate that was promised.
        true: Success rate that holds, below the target.
        error: Probability of crying wolf at the target.
        power: Probability of showing the miss.

    Raises:
        ValueError: If the true rate is no miss.
    """
    if not 0 < true < target < 1:
        raise ValueError(f"needs 0 < true < target < 1, but got {true} and {target}")
    spread = sqrt(target * (1 - target)) * normal_quantile(1 - error)
    spread += sqrt(true * (1 - true)) * normal_quantile(power)
    return ceil((spread / (target - true)) ** 2)


def power_of(n: int, target: float, true: float, error: float = 0.05) -> float:
    """Return how often n tasks show the miss by an exact test: Clopper and Pearson's upper bound.

    Args:
        n: Tasks.
        target: Success rate that was promised.
        true: Success rate that holds.
        error: Largest probability of crying wolf.
    """
    # The fewest failures at which the upper bound of success falls below the target.
    low, high = 1, n + 1
    while low < high:
        middle = (low + high) // 2
        shown = clopper_pearson(n - middle, n, 1 - error, "upper").high < target
        low, high = (low, middle) if shown else (middle + 1, high)
    return beta_cdf(1 - true, low, n - low + 1) if low <= n else 0.0
