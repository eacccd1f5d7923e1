"""Burn-rate alerts: windows against a plain reference, the guard for low traffic, episodes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_build import EPOCH_NS, ledger
from slo_build import EPOCH, objective, spread, status_of, tasks_at

from tracekit.slo import measure
from tracekit.slo.alerts import Judged, episodes, judged
from tracekit.slo.budget import Rule, rules
from tracekit.slo.objectives import Objective, Objectives
from tracekit.slo.replay import replay

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE = 60
PAGE = {"severity": "page", "budget": 0.5, "long": "1h", "short": "5m"}
"""Over four hours: burn 2."""
EVENTS = st.lists(
    st.tuples(st.integers(0, 6 * 60 - 1), st.sampled_from(["success", "failure", None])),
    max_size=40,
)


def burned(
    events: Sequence[tuple[int, str | None]], one: Objective, until: int, length: int
) -> tuple[float, float]:
    """Return total and bad units between two minutes, counted the plain way."""
    size = 1 if one.budgeting_method == "Occurrences" else one.slice_s // MINUTE
    slices: dict[int, list[str]] = {}
    for minute, outcome in events:
        if until - length <= minute < until and outcome is not None:
            slices.setdefault(minute // size, []).append(outcome)
    shares = [found.count("failure") / len(found) for found in slices.values()]
    if one.budgeting_method == "Timeslices":
        assert one.time_slice_target is not None
        return len(shares), sum(1 - share < one.time_slice_target for share in shares)
    if one.budgeting_method == "RatioTimeslices":
        return len(shares), sum(shares)
    outcomes = [outcome for found in slices.values() for outcome in found]
    return len(outcomes), outcomes.count("failure")


@settings(max_examples=25)
@given(
    events=EVENTS,
    method=st.sampled_from(
        [
            {},
            {
                "budgeting_method": "Timeslices",
                "time_slice_window": "10m",
                "time_slice_target": 0.7,
            },
            {"budgeting_method": "RatioTimeslices", "time_slice_window": "20m"},
        ]
    ),
)
def test_windows_hold_what_happened_in_them(
    events: list[tuple[int, str | None]], method: dict[str, Any]
) -> None:
    """At every moment long windows, and the first short one with three tasks, are counted right."""
    alert = {"severity": "page", "budget": 0.5, "long": "2h", "short": "20m"}
    one = objective(alerts=[alert], **method)
    (rule,) = rules(one)
    con = ledger(tasks_at([(minute * MINUTE, outcome) for minute, outcome in events]))
    measure.load_events(con, one, 0, EPOCH_NS * 2)
    step = measure.step_s(one, [rule], 5 * MINUTE)
    found = measure.burns(con, one, [rule], first_ns=EPOCH_NS, moments=25, step=step, every=True)
    assert len(found) == 25
    for number, row in enumerate(found):
        until = number * step // MINUTE
        assert row["at_ns"] == EPOCH_NS + until * MINUTE * 10**9
        assert (row["total"], row["bad"]) == pytest.approx(burned(events, one, until, 120))
        plain = objective()
        shorts = [length // MINUTE for length in rule.short_windows()]
        enough = [s for s in shorts if burned(events, plain, until, s)[0] >= 3]
        short = (enough or shorts[-1:])[0]
        assert (row["short_total"], row["short_bad"]) == pytest.approx(
            burned(events, one, until, short), abs=1e-9
        )


def judgement(total: float, bad: float, short: tuple[float, float], **fields: Any) -> Judged:
    """Return the state of a rule of burn 2 on a budget of 10 %."""
    row = {
        "rule": 0,
        "tasks": total,
        "total": total,
        "bad": bad,
        "short_total": short[0],
        "short_bad": short[1],
    }
    return judged(objective(**fields), [Rule("page", 3600, 300, 2)], row)


@pytest.mark.parametrize(
    ("total", "bad", "short", "state"),
    [
        (100, 40, (10, 5), "firing"),  # 40 %, at least 32 %: more than 20 %
        (100, 40, (10, 1), "ok"),  # it is over: 10 % in the short window
        (100, 40, (0, 0), "ok"),  # nothing happens any more
        (100, 15, (10, 5), "ok"),
        (100, 24, (10, 5), "low_traffic"),  # 24 %, at least 17.7 %
        (4, 4, (4, 4), "low_traffic"),  # all of them, but four
        (0, 0, (0, 0), "no_data"),
    ],
)
def test_an_alert_needs_both_windows_and_enough_tasks(
    total: int, bad: int, short: tuple[int, int], state: str
) -> None:
    """Burning in the long window beyond doubt, and in the short one still."""
    assert judgement(total, bad, short).state == state


def test_how_many_tasks_are_enough_is_the_objective_s() -> None:
    """Four of four bad tasks are beyond doubt above 20 %; whether four are enough is a setting."""
    assert judgement(4, 4, (4, 4), min_events=4).state == "firing"


def seen(*minutes: int, severity: str = "page") -> list[tuple[int, Judged]]:
    rule = Rule(severity, 3600, 300, 2)
    return [(minute * MINUTE * 10**9, Judged(rule, "firing", 3.0, 2.5, 50)) for minute in minutes]


def test_a_quiet_moment_ends_no_episode() -> None:
    """Moments no further apart than the short window are one episode; a severity has its own."""
    tickets = seen(2, severity="ticket")
    both = sorted([*seen(0, 1, 2, 7, 20), *tickets], key=lambda one: one[0])
    found, held_back = episodes(both, MINUTE, 60 * MINUTE * 10**9)
    spans = [(e.severity, e.start_ns // 10**9 // 60, e.end_ns // 10**9 // 60) for e in found]
    assert spans == [("page", 0, 8), ("ticket", 2, 3), ("page", 20, 21)]
    assert held_back == 0


def hours(rate: dict[int, tuple[int, int]]) -> list[tuple[float, str | None]]:
    """Return a day of hours of 100 good tasks but for those named."""
    return [event for hour in range(24) for event in _mixed(hour, *rate.get(hour, (100, 0)))]


def _mixed(hour: int, good: int, bad: int) -> list[tuple[float, str | None]]:
    """Return events of an hour, bad ones spread evenly among the good."""
    total = good + bad
    outcomes = ["failure" if (n * bad) % total < bad else "success" for n in range(total)]
    return [(hour * 3600 + 3600 * n / total, outcome) for n, outcome in enumerate(outcomes)]


def test_an_incident_is_told_in_time_and_nothing_else_is() -> None:
    """At 50 % bad an hour's window exceeds 20 % after 24 minutes, beyond doubt soon after."""
    con = ledger(tasks_at(hours({10: (50, 50), 11: (50, 50)})))
    one = Objectives(objectives=(objective(alerts=[PAGE]),))
    table = replay(con, one, EPOCH, EPOCH + timedelta(hours=24), 5 * MINUTE)
    (row,) = table.rows
    assert (row["severity"], row["rules"]) == ("page", ["page 1h/5m"])
    assert "2026-01-01T10:25" <= str(row["start"]) <= "2026-01-01T10:40"
    assert "2026-01-01T12:00" <= str(row["end"]) <= "2026-01-01T12:20"
    assert row["burn"] == pytest.approx(5, rel=0.05)


def test_one_of_two_tasks_wakes_nobody() -> None:
    """Few tasks, half of them bad: held back, said so, and shown as low traffic."""
    events = [*spread(3, 1, 1)]
    con = ledger(tasks_at(events))
    one = Objectives(objectives=(objective(alerts=[PAGE]),))
    table = replay(con, one, EPOCH, EPOCH + timedelta(hours=24), 5 * MINUTE)
    assert table.rows == ()
    assert "an alert was held back: too few tasks" in table.notes[0]
    row = status_of(tasks_at(events), hours=3.55, alerts=[PAGE])
    assert (row["alert"], row["alerts"]) == ("low traffic", ["page 1h/5m: low traffic"])
    assert row["burn"] is None


def test_burn_now_and_how_long_the_budget_lasts() -> None:
    """30 % bad is burn 3; 73 % of the budget of the four hours is left for 58 minutes of it."""
    row = status_of(
        tasks_at([*_mixed(0, 100, 0), *_mixed(1, 100, 0), *_mixed(2, 170, 0), *_mixed(3, 21, 9)]),
        alerts=[PAGE],
        gate=["page"],
    )
    assert (row["burn"], row["burn_window_s"]) == (pytest.approx(3), 3600)
    left = 1 - 9 / 40
    assert row["budget_left"] == pytest.approx(left)
    assert row["exhausted_in_s"] == pytest.approx(left * 4 * 3600 / 3)
    assert row["alert"] == "low traffic"  # 9 of 30: at least 18.5 %, not above 20 %
    assert row["gate"] == "passed"
