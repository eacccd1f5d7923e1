"""The bootstrap whose draws are hashes: the same in SQL and numpy, and Poisson distributed."""

from __future__ import annotations

from math import exp, factorial

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tracekit.stats import bootstrap
from tracekit.stats.samples import sums
from tracekit.stats.weighted import ratio

NAMES = [f"openai/eu/gpt/{number}" for number in range(300)]


def in_duckdb(y: list[float], x: list[float], count: int, seed: int) -> np.ndarray:
    with duckdb.connect() as con:
        con.register("units", pa.table({"cluster": NAMES[: len(y)], "y": y, "x": x}))
        con.register("replicates", pa.table({"replicate": range(1, count + 1)}))
        rows = con.execute(bootstrap.sql(seed)).fetchall()
    return np.array([row[1:] for row in rows])


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 1])
def test_the_query_draws_what_the_reference_draws(seed: int) -> None:
    """DuckDB and numpy give the same totals for every replicate; integers, so to the last bit."""
    rng = np.random.default_rng(1)
    x = rng.integers(1, 50, len(NAMES)).astype(float)
    y = np.floor(x * rng.random(len(NAMES)))
    expected = bootstrap.replicates(NAMES, y, x, 200, seed)
    assert np.array_equal(in_duckdb(y.tolist(), x.tolist(), 200, seed), expected)


def test_draws_are_poisson_and_unrelated() -> None:
    """Counts of 300 x 2,000 draws are within five sigma of Poisson(1); no two rows correlate."""
    times = bootstrap.draws(NAMES, 2000, seed=3)
    for k in range(6):
        p = exp(-1) / factorial(k)
        sigma = (p * (1 - p) * times.size) ** 0.5
        assert abs((times == k).sum() - p * times.size) < 5 * sigma
    between_clusters = np.asarray(np.corrcoef(times.T))[np.triu_indices(len(NAMES), 1)]
    assert abs(between_clusters).max() < 6 / 2000**0.5
    assert between_clusters.std() == pytest.approx(1 / 2000**0.5, rel=0.05)
    between_replicates = np.asarray(np.corrcoef(times[:300]))[np.triu_indices(300, 1)]
    assert abs(between_replicates).max() < 6 / 300**0.5


def test_another_seed_draws_another_bootstrap() -> None:
    """The same seed repeats, another does not."""
    first, again, other = (bootstrap.draws(NAMES, 50, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 5 / first.size**0.5


def test_the_interval_is_about_the_linearised_one() -> None:
    """Cost per success of 300 clusters: both intervals are as wide, within a tenth."""
    rng = np.random.default_rng(5)
    x = rng.integers(5, 50, len(NAMES)).astype(float)
    y = x * rng.gamma(4, 0.05, len(NAMES))
    totals = bootstrap.replicates(NAMES, y, x, 2000)
    boot = bootstrap.percentile(y.sum() / x.sum(), totals, len(NAMES))
    line = ratio(sums(y, x, cluster=NAMES))
    assert boot.value == pytest.approx(line.value)
    assert boot.high - boot.low == pytest.approx(line.high - line.low, rel=0.1)
    assert boot.reliable


def test_too_little_to_draw_from_is_said() -> None:
    """A dozen clusters, and replicates without a denominator, are in the note."""
    y, x = [1.0] * 12, [1.0] + [0.0] * 11
    totals = bootstrap.replicates(NAMES[:12], y, x, 500)
    note = bootstrap.percentile(12.0, totals, 12).note
    assert "12 clusters only" in note
    assert "replicates had no denominator" in note


def test_a_cluster_named_twice_is_refused() -> None:
    """Rows of a cluster are added up before they are drawn."""
    with pytest.raises(ValueError, match="named twice"):
        bootstrap.replicates(["a", "a"], [1, 2], [1, 2])
