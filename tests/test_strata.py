"""Floors, quotas and budgets announce probabilities before R is looked at."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplers import pacing, strata
from samplers.pacing import DAY_NS, LEAST, STEP_NS, Level, Limit, Pace
from samplers.strata import OTHER, Share, StrataSet, StrataState

HOUR_NS = 3_600_000_000_000
SECOND_NS = 1_000_000_000


def rules(floor: float = 0, quota: float | None = None) -> StrataSet:
    return StrataSet("s", floor, quota, HOUR_NS)


def passed(state: StrataState, declared: StrataSet, window: int, sessions: int) -> list[Share]:
    """Let some sessions of stratum `a` pass in a window; return what was announced for each."""
    shares = []
    strata.advance(state, declared, window * HOUR_NS)
    for _ in range(sessions):
        shares.append(strata.announced(state, declared, "a", 1))
        strata.count(state, "a", 1)
    return shares


def test_new_strata_are_kept_until_the_floor_is_filled() -> None:
    """A stratum nobody has seen is kept whole at first, then fades as floor by sessions seen."""
    shares = passed(StrataState(), rules(floor=3), 0, 6)
    assert [share.floor for share in shares] == [1, 1, 1, 3 / 4, 3 / 5, 3 / 6]


@given(st.integers(1, 20), st.integers(1, 400))
def test_floors_hold_in_expectation(floor: int, sessions: int) -> None:
    """In a steady stream each window keeps floor sessions in expectation, or all there are."""
    state, declared = StrataState(), rules(floor)
    for window in range(3):
        expected = sum(share.floor for share in passed(state, declared, window, sessions))
        assert expected >= min(floor, sessions) - 1e-9
    assert expected == pytest.approx(min(floor, sessions))


@given(st.lists(st.integers(0, 300), min_size=2, max_size=8), st.integers(1, 20))
def test_floors_fall_short_only_where_fewer_come_than_before(counts: list[int], floor: int) -> None:
    """A window keeps its floor unless fewer sessions came than in the smallest estimate."""
    state, declared = StrataState(), rules(floor)
    for window, sessions in enumerate(counts):
        strata.advance(state, declared, window * HOUR_NS)
        low = state.strata["a"].low if "a" in state.strata else 0
        expected = sum(share.floor for share in passed(state, declared, window, sessions))
        assert sessions < low or expected >= min(floor, sessions) - 1e-9


@given(st.integers(1, 20), st.integers(21, 400))
def test_quotas_hold_in_expectation(quota: int, sessions: int) -> None:
    """In a steady stream a window keeps no more than the quota; a new one the logarithm more."""
    state, declared = StrataState(), rules(quota=quota)
    first = sum(share.quota for share in passed(state, declared, 0, sessions))
    assert first <= quota * (1 + math.log(sessions / quota)) + 1e-9
    second = sum(share.quota for share in passed(state, declared, 1, sessions))
    assert second == pytest.approx(quota)


def test_weights_of_earlier_stages_count() -> None:
    """A session that stands for ten fills the estimate like ten."""
    state, declared = StrataState(), rules(floor=5)
    strata.advance(state, declared, 0)
    strata.count(state, "a", 10)
    assert strata.announced(state, declared, "a", 10).floor == 5 / 20


def test_strata_that_stay_away_are_forgotten() -> None:
    """What is not seen for long is new again, and takes no memory."""
    state, declared = StrataState(), rules(floor=5)
    passed(state, declared, 0, 100)
    strata.advance(state, declared, 3 * HOUR_NS)
    assert state.strata["a"].mean == 25
    strata.advance(state, declared, 40 * HOUR_NS)
    assert state.strata == {}


def test_a_clock_that_goes_back_closes_nothing() -> None:
    """Sessions of a little before count in the window at hand; a clock that was wrong restarts."""
    state, declared = StrataState(), rules(floor=5)
    passed(state, declared, 7, 10)
    strata.advance(state, declared, 6 * HOUR_NS)
    assert (state.window, state.strata["a"].seen) == (7, 10)
    strata.advance(state, declared, 3 * HOUR_NS)
    assert (state.window, state.strata) == (3, {})


def test_another_window_begins_anew() -> None:
    """After a reload with windows of another length nothing of the old ones is left."""
    state = StrataState()
    passed(state, rules(floor=5), 7, 10)
    declared = StrataSet("s", 5, None, 24 * HOUR_NS)
    strata.advance(state, declared, 7 * HOUR_NS)
    assert (state.window, state.window_ns, state.strata) == (0, 24 * HOUR_NS, {})


def test_excess_strata_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit new strata share one, however many values a column takes."""
    monkeypatch.setattr(strata, "MOST_STRATA", 3)
    state = StrataState()
    for number in range(10):
        strata.count(state, str(number), 1)
    assert {name: stratum.seen for name, stratum in state.strata.items()} == {
        **dict.fromkeys("012", 1.0),
        OTHER: 7.0,
    }


def flow(pace: Pace, limit: Limit, second: int, rates: tuple[float, float], *ladder: Level) -> None:
    """Let a step's volume pass at some time: so much per second of the baseline and of rules."""
    pacing.announce(pace, limit, second * SECOND_NS, ladder)
    factors = (pace.random_factor, pace.protected_factor)
    for protected, rate, factor in zip((False, True), rates, factors, strict=True):
        volume = rate * STEP_NS / SECOND_NS
        pacing.spend(pace, volume, protected=protected, kept=volume * factor)


RATE = Limit(100, daily=False)


@pytest.mark.parametrize(
    ("baseline", "wanted", "factors"),
    [
        (50, 50, (1, 1)),
        (400, 0, (1 / 4, 1)),
        (100, 75, (1 / 4, 1)),
        (102.4, 199.9, (LEAST, 99.9 / 199.9)),
        (0, 200, (1, 1 / 2)),
    ],
)
def test_the_baseline_gives_way_first(
    baseline: float, wanted: float, factors: tuple[float, float]
) -> None:
    """Demand over a budget thins the baseline, and rules only where that is not enough."""
    pace = Pace()
    for second in (0, 10, 20):
        flow(pace, RATE, second, (baseline, wanted))
    assert (pace.random_factor, pace.protected_factor) == pytest.approx(factors)


def test_rates_rise_at_once_and_fall_slowly() -> None:
    """A burst is met in the next step; afterwards the factor recovers over a minute."""
    pace = Pace()
    for second in range(0, 100, 10):
        flow(pace, RATE, second, (1000 if second == 20 else 10, 0))
        if second == 30:
            assert pace.random_factor == pytest.approx(0.1)
    assert 0.2 < pace.random_factor < 0.5


def test_factors_hold_for_a_step() -> None:
    """Within a step nothing that is seen changes what was announced."""
    pace = Pace()
    flow(pace, RATE, 0, (1000, 0))
    pacing.announce(pace, RATE, 9 * SECOND_NS)
    assert pace.random_factor == 1
    pacing.announce(pace, RATE, 10 * SECOND_NS)
    assert pace.random_factor == pytest.approx(0.1)


@given(st.integers(0, 2**32), st.floats(1, 20))
def test_daily_budgets_are_paced(seed: int, overload: float) -> None:
    """However the demand moves, a day's budget is spent slowly and hardly exceeded."""
    dice = random.Random(seed)
    limit, pace = Limit(86_400, daily=True), Pace()
    for second in range(0, 86_400, 10):
        if second % 3600 == 0:
            demand = overload * dice.random() * 2
        flow(pace, limit, second, (demand, demand / 10))
    assert pace.spent <= 86_400 * (1 + 10 * 2.2 * overload * 24 / 86_400 + 0.01)


def test_budgets_and_clocks_that_go_back() -> None:
    """A step is announced once; a clock that was wrong by hours does not stop the steps."""
    pace = Pace()
    flow(pace, RATE, 50_000, (1000, 0))
    pacing.announce(pace, RATE, 49_990 * SECOND_NS)
    assert pace.step == 5_000
    pacing.announce(pace, RATE, 10 * SECOND_NS)
    assert pace.step == 1
    pacing.announce(pace, RATE, 20 * SECOND_NS)
    assert pace.step == 2
    assert pace.random_factor == pytest.approx(0.1)


def test_a_new_day_has_a_new_budget() -> None:
    """At midnight UTC what was spent is forgotten; a spent budget leaves the least factor."""
    limit, pace = Limit(1000, daily=True), Pace()
    for second in (0, 10):
        flow(pace, limit, second, (1000, 0))
    pacing.announce(pace, limit, 20 * SECOND_NS)
    assert pace.random_factor == LEAST
    pacing.announce(pace, limit, DAY_NS)
    assert pace.spent == 0


def test_payload_goes_before_sessions() -> None:
    """The ladder's levels apply by pressure, and what they save is not taken from sessions."""
    ladder = (Level(above=1.5, ratio=0.5), Level(above=4, ratio=0.25))
    pace = Pace()
    flow(pace, RATE, 0, (0, 150), *ladder)
    flow(pace, RATE, 10, (0, 800), *ladder)
    assert (pace.level, pace.protected_factor) == (1, 1)
    pacing.announce(pace, RATE, 20 * SECOND_NS, ladder)
    assert pace.level == 2
    assert pace.protected_factor == pytest.approx(0.5)
