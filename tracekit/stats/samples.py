"""Estimates from the rows of a Poisson sample: each kept with a probability of its own, known.

The unit is the session. Its probability is stored with it, never taken from a configuration: it is
that of the union of all policies that wanted it. A row without one stands for an unknown number of
others, which is not 1; nothing here takes it, and `known` sets it apart to be counted.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracekit.stats.intervals import Estimate, error
from tracekit.stats.special import normal_quantile
from tracekit.stats.weighted import RatioSums, rate, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable

Array: TypeAlias = NDArray[np.float64]
About: TypeAlias = Literal["process", "sessions"]
"""Whether the interval is about what made the sessions, or just about these sessions."""


def known(probability: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows have an inclusion probability: a number above 0 and up to 1."""
    p = np.asarray(probability, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray((p > 0) & (p <= 1))


def weights(probability: ArrayLike) -> Array:
    """Return how many rows each row stands for, 1 / p.

    Raises:
        ValueError: If a probability is missing (NaN), 0, or above 1.
    """
    p = np.asarray(probability, dtype=np.float64)
    unknown = int((~known(p)).sum())
    if unknown:
        raise ValueError(
            f"{unknown:,} of {p.size:,} rows have no inclusion probability in (0, 1]; "
            "leave them out and count them apart"
        )
    return np.asarray(1 / p)


def sums(  # noqa: PLR0913 - a sample has that many columns
    y: ArrayLike,
    x: ArrayLike | None = None,
    probability: ArrayLike = 1.0,
    *,
    weight: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    about: About = "process",
) -> RatioSums:
    """Return what `rate` and `ratio` need of a sample.

    The variance of a Poisson sample's total is the sum of (1 - p) / p^2 * y^2 over kept rows, that
    is w (w - 1) y^2, when these sessions are all that is asked about (Särndal, Swensson, Wretman,
    1992, result 2.8.1, for independent inclusion). The process adds its own w y^2, as if each of
    the w sessions had been drawn anew, which makes it w^2 y^2.

    Args:
        y: Numerator of each row.
        x: Denominator of each row; 1 by default, for a mean.
        probability: Inclusion probability of each row.
        weight: Weights that `census.calibrated` set right, instead of 1 / probability. What that
            gains in precision is not counted: the interval is rather too wide.
        cluster: Label of each row's cluster; rows of one cluster are one observation.
        about: What the interval is about. Clusters are a property of the process.

    Raises:
        ValueError: If a probability is unknown, or clusters are given for these sessions alone.
    """
    ys = np.asarray(y, dtype=np.float64)
    xs = np.ones_like(ys) if x is None else np.asarray(x, dtype=np.float64)
    given = weights(probability) if weight is None else np.asarray(weight, dtype=np.float64)
    w = np.broadcast_to(given, ys.shape)
    if cluster is not None:
        if about == "sessions":
            raise ValueError(
                "clusters say how far the process varies; leave them out, or ask of it"
            )
        return _clustered(w * ys, w * xs, cluster, w)
    square = w * w if about == "process" else w * np.maximum(0, w - 1)
    chance = w if about == "process" else w[w > 1]
    return RatioSums(
        n=ys.size,
        y=float(w @ ys),
        x=float(w @ xs),
        yy=float(square @ (ys * ys)),
        xy=float(square @ (xs * ys)),
        xx=float(square @ (xs * xs)),
        largest=float(chance.max(initial=0.0)),
        failing=int((ys < xs).sum()),
        succeeding=int((ys > 0).sum()),
    )


def _clustered(y: Array, x: Array, cluster: ArrayLike, w: Array) -> RatioSums:
    _, codes = np.unique(np.asarray(cluster), return_inverse=True)
    ys, xs = np.bincount(codes, y), np.bincount(codes, x)
    return RatioSums(
        n=ys.size,
        y=float(ys.sum()),
        x=float(xs.sum()),
        yy=float(ys @ ys),
        xy=float(xs @ ys),
        xx=float(xs @ xs),
        largest=float(w.max(initial=0.0)),
        clustered=True,
        failing=int((np.bincount(codes, y < x) > 0).sum()),
        succeeding=int((ys > 0).sum()),
    )


def hajek(y: ArrayLike, probability: ArrayLike, level: float = 0.95, **of: Any) -> Estimate:
    """Estimate the mean of y by Hajek's ratio, sum w y / sum w; of a rate where y is 0 or 1.

    Args:
        y: Value of each row.
        probability: Inclusion probability of each row.
        level: Confidence level.
        of: `cluster` and `about`, as for `sums`.
    """
    values = np.asarray(y, dtype=np.float64)
    made = sums(values, None, probability, **of)
    return (rate if np.isin(values, (0, 1)).all() else ratio)(made, level)


def total(y: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Estimate:
    """Estimate the sum of y >= 0 over all sessions, kept or not, by Horvitz and Thompson.

    Sum of w y, variance as for `sums` about these sessions. Source: D. G. Horvitz, D. J. Thompson,
    "A generalization of sampling without replacement from a finite universe", JASA 47 (1952). The
    ends are those of a gamma distribution with the mean and variance of what was left to chance,
    the upper one after one more row of the largest w y (Fay and Feuer, 1997), by the approximation
    of E. B. Wilson and M. M. Hilferty ("The distribution of chi-square", PNAS 17, 1931); rows kept
    for certain are added as they are. So a total of which nothing was seen has a bound, too.

    Raises:
        ValueError: If a probability is unknown, or a value negative.
    """
    ys = np.asarray(y, dtype=np.float64)
    w = np.broadcast_to(weights(probability), ys.shape)
    if (ys < 0).any():
        raise ValueError("a total is estimated of amounts, which are not negative")
    z = -normal_quantile(error(level, "both"))
    seen = float((ys[w == 1]).sum())
    chance, variance = float((w * ys)[w > 1].sum()), float((w * (w - 1)) @ (ys * ys))
    heaviest = float(w[w > 1].max(initial=0.0)) * float(ys.max(initial=0.0))
    low = _gamma_end(chance, variance, -z)
    high = _gamma_end(chance + heaviest, variance + heaviest**2, z)
    # What was kept of it was there.
    return Estimate(seen + chance, max(seen + low, float(ys.sum())), seen + high)


def _gamma_end(mean: float, variance: float, z: float) -> float:
    if variance == 0 or mean == 0:
        return mean
    shape = mean**2 / variance
    return float(mean * max(0.0, 1 - 1 / (9 * shape) + z / (3 * sqrt(shape))) ** 3)


def design_effect(
    y: ArrayLike, x: ArrayLike | None, probability: ArrayLike, cluster: ArrayLike
) -> tuple[float, float]:
    """Return by how much clusters inflate the variance of a ratio, and how alike their rows are.

    deff is the variance with clusters over that with independent rows; the intraclass correlation
    is solved from deff = 1 + (m - 1) * ICC, with m the rows per cluster, each cluster counted by
    its size. Source: L. Kish, "Survey Sampling" (1965), sections 5.4 and 8.2.

    Returns:
        (deff, ICC); infinite and NaN where rows alone do not vary, or no cluster has two.
    """
    single = sums(y, x, probability)
    grouped = sums(y, x, probability, cluster=cluster)
    value = single.y / single.x
    alone = single.squares(value)
    deff = grouped.squares(value) / alone if alone else inf
    _, counts = np.unique(np.asarray(cluster), return_counts=True)
    size = float((counts**2).sum() / counts.sum())
    return deff, (deff - 1) / (size - 1) if size > 1 else float("nan")


def incident_clusters(
    start_ns: ArrayLike,
    *labels: Iterable[object],
    incident: Iterable[object] | None = None,
    minutes: int = 15,
) -> NDArray[np.int64]:
    """Return the cluster of each session: what an outage would take down together.

    Args:
        start_ns: Start of each session, ns since 1970.
        labels: Columns that part clusters: provider, region, model.
        incident: Known incident of each session, "" or None for none; sessions of one incident are
            one cluster, however long it lasted. Others fall into blocks of time.
        minutes: Length of a block; 15 is an unvalidated default.

    Returns:
        A number per session, equal within a cluster.
    """
    block = np.asarray(start_ns, dtype=np.int64) // (minutes * 60 * 10**9)
    when = block.astype("U20")
    if incident is not None:
        named = _texts(incident)
        when = np.where(named == "", when, np.char.add("incident ", named))
    columns = np.stack([*(_texts(label) for label in labels), when], axis=1)
    _, codes = np.unique(columns, axis=0, return_inverse=True)
    return np.asarray(codes, dtype=np.int64).reshape(-1)


def _texts(values: Iterable[object]) -> NDArray[np.str_]:
    return np.asarray(["" if value is None else str(value) for value in values], dtype=np.str_)
