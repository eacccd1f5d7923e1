"""A bootstrap over clusters that draws the same in every engine: draws are hashes, not random.

Each replicate counts each cluster a Poisson(1) number of times, which is how often a cluster would
be drawn with replacement out of many: N. Chamandy et al., "Estimating uncertainty for massive data
streams", Google technical report (2012); J. A. Hanley, B. MacGibbon, "Creating non-parametric
bootstrap samples using Poisson frequencies", Computer Methods and Programs in Biomedicine 83
(2006). `bootstrap.sql` does it where the data is, `replicates` here; both give the same totals.

For what has no variance formula. It knows only clusters that were seen: where few are bad, use
`tracekit.stats.weighted.rate`.
"""

from __future__ import annotations

from hashlib import md5
from importlib import resources
from math import exp, factorial, floor
from typing import TYPE_CHECKING

import numpy as np

from tracekit.stats.intervals import Estimate, error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_PRIME = 2**31 - 1
_MULTIPLIERS = (48271, 69621, 39373)
"""Primitive roots of the prime: G. S. Fishman, L. R. Moore, SIAM Journal on Scientific and
Statistical Computing 7 (1986); P. L'Ecuyer, Communications of the ACM 31 (1988)."""
_DIGITS = 7
_MOST = 12
"""Draws of one cluster are cut here; more have a probability of 6e-11."""

LIMITS = tuple(
    floor(_PRIME * sum(exp(-1) / factorial(k) for k in range(times + 1))) for times in range(_MOST)
)
"""Below the first of them a hash means no draw, below the second one, and so on."""


def sql(seed: int) -> str:
    """Return the query over `units` and `replicates` that `bootstrap.sql` describes."""
    text = resources.files("tracekit.stats").joinpath("bootstrap.sql").read_text("utf-8")
    return text.format(
        seed=seed % _PRIME,
        first=_number_sql(1),
        second=_number_sql(1 + _DIGITS),
        limits="\n            ".join(
            f"WHEN h < {limit} THEN {times}" for times, limit in enumerate(LIMITS)
        ),
        most=_MOST,
    )


def _number_sql(start: int) -> str:
    """Return SQL that reads hexadecimal digits, which engines have no common function for."""
    digits = [
        f"(strpos('0123456789abcdef', substr(name, {start + place}, 1)) - 1)"
        f" * {16 ** (_DIGITS - 1 - place)}"
        for place in range(_DIGITS)
    ]
    return "CAST(" + " + ".join(digits) + " AS BIGINT)"


def draws(clusters: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """Return how often each replicate draws each cluster, shape (count, clusters)."""
    names = [md5(name.encode(), usedforsecurity=False).hexdigest() for name in clusters]
    first = np.array([int(name[:_DIGITS], 16) for name in names], dtype=np.int64)
    second = np.array([int(name[_DIGITS : 2 * _DIGITS], 16) for name in names], dtype=np.int64)
    h = _fifth((first * _MULTIPLIERS[0] + seed % _PRIME) % _PRIME)
    h = _fifth((h * _MULTIPLIERS[1] + second) % _PRIME)
    h = _fifth(h * np.arange(2, count + 2, dtype=np.int64)[:, None] % _PRIME)
    h = _fifth((h * _MULTIPLIERS[2] + 1) % _PRIME)
    return np.searchsorted(np.array(LIMITS, dtype=np.int64), h, side="right").astype(np.int64)


def _fifth(h: NDArray[np.int64]) -> NDArray[np.int64]:
    square = h * h % _PRIME
    return np.asarray((square * square % _PRIME) * h % _PRIME)


def replicates(
    clusters: Sequence[str], y: ArrayLike, x: ArrayLike, count: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Return the totals of y and x per replicate, shape (count, 2): the reference of the query.

    Args:
        clusters: Name of each cluster, each once.
        y: Weighted total of the numerator per cluster.
        x: Weighted total of the denominator per cluster.
        count: Replicates; 500 to 2,000 are usual.
        seed: Another seed draws other replicates.

    Raises:
        ValueError: If a cluster is named twice.
    """
    if len(set(clusters)) != len(clusters):
        raise ValueError("a cluster is named twice; add its rows up first")
    totals = np.column_stack([np.asarray(y, np.float64), np.asarray(x, np.float64)])
    return np.asarray(draws(clusters, count, seed) @ totals)


def percentile(
    value: float, totals: NDArray[np.float64], clusters: int, level: float = 0.95
) -> Estimate:
    """Return a ratio with the percentile interval of its replicates.

    Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
    Replicates without a denominator are left out; with more than a hundredth of them, the note says
    so, as it does of fewer than 20 clusters, of which a bootstrap underestimates the spread.

    Args:
        value: The ratio of all clusters.
        totals: What `replicates` or the query returned, y and x per replicate.
        clusters: Number of clusters.
        level: Confidence level.
    """
    tail = error(level, "both")
    usable = totals[totals[:, 1] > 0]
    if not len(usable):
        return Estimate(value, float("-inf"), float("inf"), clusters=clusters, note="no replicate")
    low, high = np.quantile(usable[:, 0] / usable[:, 1], [tail, 1 - tail])
    notes = []
    if clusters < 20:  # noqa: PLR2004 - as said above
        notes.append(f"{clusters} clusters only")
    if len(usable) < 0.99 * len(totals):
        notes.append(f"{len(totals) - len(usable)} replicates had no denominator")
    return Estimate(value, float(low), float(high), clusters=clusters, note="; ".join(notes))
