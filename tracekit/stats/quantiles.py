"""Quantiles of sampled sessions: a p95 of durations or costs, with an interval."""

from __future__ import annotations

from bisect import bisect_left
from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np

from tracekit.stats.intervals import Estimate, Side
from tracekit.stats.samples import sums, weights
from tracekit.stats.weighted import rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def weighted_quantile(
    values: ArrayLike,
    at: float,
    probability: ArrayLike = 1.0,
    level: float = 0.95,
    *,
    cluster: ArrayLike | None = None,
) -> Estimate:
    """Estimate a quantile by the inverse of the weighted distribution function.

    The smallest value at or below which a share `at` of all weight lies. Its interval is that of
    Woodruff, by inverting a test: the values whose share of weight below is a rate that may be
    `at`, by the interval of `weighted.rate`. R. S. Woodruff, "Confidence intervals for medians and
    other position measures", JASA 47 (1952); C. A. Francisco, W. A. Fuller, "Quantile estimation
    with a complex survey design", Annals of Statistics 19 (1991).

    Args:
        values: Value of each row.
        at: Which quantile, inside (0, 1).
        probability: Inclusion probability of each row.
        level: Confidence level.
        cluster: Label of each row's cluster.

    Returns:
        An infinite end where the sample has no value that could bound it: a p99 of fifty rows.

    Raises:
        ValueError: If `at` is not inside (0, 1), or a probability is unknown.
    """
    if not 0 < at < 1:
        raise ValueError(f"a quantile lies between 0 and 1, but it is {at}")
    rows = np.asarray(values, dtype=np.float64)
    if not rows.size:
        return Estimate(nan, -inf, inf)
    w = np.broadcast_to(weights(probability), rows.shape)
    order = np.argsort(rows, kind="stable")
    ordered, share = rows[order], np.cumsum(w[order]) / w.sum()
    # A sum of weights that should be 1 may be a rounding error below it.
    value = float(ordered[min(int(np.searchsorted(share, at - 1e-12)), rows.size - 1)])

    def below(x: float, side: Side) -> Estimate:
        # One end at a time, with half of the error.
        found = sums(rows <= x, None, probability, cluster=cluster)
        return rate(found, (1 + level) / 2, side)

    steps = np.unique(rows)
    first = bisect_left(steps, True, key=lambda x: below(x, "upper").high >= at)
    last = bisect_left(steps, True, key=lambda x: below(x, "lower").low >= at)
    here = below(value, "lower")
    return Estimate(
        value,
        float(steps[first]) if first else -inf,
        float(steps[last]) if last < steps.size else inf,
        effective=here.effective,
        clusters=here.clusters,
    )
