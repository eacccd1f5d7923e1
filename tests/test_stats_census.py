"""A census sets weights right, finds those that are wrong, and names what nobody speaks for."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.stats.census import calibrated, check, raked
from tracekit.stats.samples import sums
from tracekit.stats.weighted import rate

CENSUS = {"chat": 5_000, "coding": 800, "batch": 200}


def sample(seed: int, probability: dict[str, float]) -> tuple[list[str], list[float]]:
    rng = np.random.default_rng(seed)
    kept = {name: int(rng.binomial(CENSUS[name], p)) for name, p in probability.items()}
    rows = [name for name, count in kept.items() for _ in range(count)]
    return rows, [probability[name] for name in rows]


def test_right_weights_agree_with_the_census() -> None:
    """In 300 samples no more strata are called biased than three sigma allow: 0.27 %, of 900."""
    p = {"chat": 0.05, "coding": 0.2, "batch": 0.5}
    found = [len(check(CENSUS, *sample(seed, p)).biased) for seed in range(300)]
    assert sum(found) <= 12  # Poisson(2.4) exceeds 12 once in a million


def test_wrong_weights_are_found() -> None:
    """Rows that say they were kept with 5 % and were kept with 10 % contradict the census."""
    rows, _ = sample(1, {"chat": 0.1, "coding": 0.2})
    stated = [0.05 if name == "chat" else 0.2 for name in rows]
    assert check(CENSUS, rows, stated).biased == ["chat"]


def test_a_stratum_without_rows_is_blind() -> None:
    """What was never kept is named, and left out of the share the sample speaks for."""
    coverage = check(CENSUS, *sample(1, {"chat": 0.1, "coding": 0.2}))
    assert coverage.blind == ["batch"]
    assert coverage.share == pytest.approx(5_800 / 6_000)
    assert isnan(check({}, [], []).share)


def test_sessions_kept_for_certain_must_be_all_there() -> None:
    """With probability 1 there is no chance: one session too few is one too few."""
    assert check({"a": 10}, ["a"] * 10, 1.0).biased == []
    assert check({"a": 10}, ["a"] * 9, 1.0).biased == ["a"]


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_calibrated_weights_add_up_to_the_census(seed: int) -> None:
    """Whatever chance kept, each stratum counts for as many sessions as it had."""
    rows, p = sample(seed, {"chat": 0.05, "coding": 0.2, "batch": 0.5})
    weight = calibrated(CENSUS, rows, p)
    for name, count in CENSUS.items():
        assert weight[np.array(rows) == name].sum() == pytest.approx(count)


def test_calibration_repairs_a_loss_that_had_nothing_to_do_with_the_outcome() -> None:
    """Half of one stratum lost after the decision: the plain rate is off, the calibrated is not."""
    strata = ["chat"] * 50 + ["coding"] * 80  # of chat at 1 in 50, half is gone
    y = [1] * 50 + [0] * 80
    p = [1 / 50] * 50 + [1 / 10] * 80
    truth = 5_000 / 5_800
    plain = rate(sums(y, None, p))
    right = rate(sums(y, None, p, weight=calibrated(CENSUS, strata, p)))
    assert right.value == pytest.approx(truth)
    assert plain.value < truth - 0.09
    assert right.low < truth < right.high


def test_raking_meets_two_censuses_at_once() -> None:
    """Margins of model and region hold together, though nobody counted their cells."""
    models = ["a", "a", "b", "b"]
    regions = ["eu", "us", "eu", "us"]
    weight = raked([({"a": 70, "b": 30}, models), ({"eu": 40, "us": 60}, regions)], [0.5] * 4)
    assert weight[:2].sum() == pytest.approx(70)
    assert weight[[0, 2]].sum() == pytest.approx(40)


def test_margins_nobody_can_meet_are_refused() -> None:
    """A margin without rows, and margins with different totals, are errors that say so."""
    with pytest.raises(ValueError, match="no row speaks for b"):
        raked([({"a": 1, "b": 2}, ["a"])], [1.0])
    with pytest.raises(ValueError, match="cannot be met together"):
        raked([({"a": 10}, ["a"]), ({"x": 20}, ["x"])], [1.0], rounds=5)


def test_rows_outside_the_census_are_refused() -> None:
    """A row of a stratum that the census says is empty cannot be weighted to it."""
    with pytest.raises(ValueError, match="no sessions in other"):
        calibrated(CENSUS, ["other"], 1.0)
