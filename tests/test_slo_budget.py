"""The arithmetic of error budgets, against numbers worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slo_build import objective

from tracekit.slo.budget import adjusted, budget_s, burn_rate, exhausted_in_s, rules

DAY_S = 86_400


def test_the_budget_as_time() -> None:
    """99.9 % over 30 days may be bad for 43.2 minutes, 99.5 % for 3.6 hours."""
    assert budget_s(0.999, 30 * DAY_S) / 60 == pytest.approx(43.2)
    assert budget_s(0.995, 30 * DAY_S) / 3600 == pytest.approx(3.6)


def test_how_long_a_budget_lasts() -> None:
    """At burn 14.4 thirty days' budget is gone in 2.08 days, at burn 1 in thirty."""
    assert exhausted_in_s(1, 14.4, 30 * DAY_S) / DAY_S == pytest.approx(2.0833, abs=1e-4)
    assert exhausted_in_s(1, 1, 30 * DAY_S) == 30 * DAY_S
    assert exhausted_in_s(0.25, 2, 30 * DAY_S) == 3.75 * DAY_S
    assert exhausted_in_s(-0.1, 2, 30 * DAY_S) == 0
    assert exhausted_in_s(1, 0, 30 * DAY_S) == float("inf")


def test_the_rates_of_thirty_days() -> None:
    """2 %, 5 % and 10 % of thirty days' budget in 1 h, 6 h, 1 d and 3 d are burns 14.4, 6, 3, 1."""
    found = rules(objective(target="99.9%", time_window="30d"))
    assert [(rule.name, rule.burn) for rule in found] == [
        ("page 1h/5m", 14.4),
        ("page 6h/30m", 6),
        ("ticket 1d/2h", 3),
        ("ticket 3d/6h", 1),
    ]


def test_a_loose_objective_has_reachable_rates() -> None:
    """With 90 % no burn exceeds 10: the rate of 14.4, never reached, becomes 5, and is told."""
    loose = objective(target="90%", time_window="30d")
    assert burn_rate(bad=7, total=7, budget=loose.budget) == pytest.approx(10)
    assert [rule.burn for rule in rules(loose)] == pytest.approx([5, 5, 3, 1])
    (note,) = adjusted(loose)
    assert "with a budget of 0.1 no burn exceeds 10" in note
    assert "page 1h/5m (14.4), page 6h/30m (6)" in note


def test_what_a_short_period_leaves_out() -> None:
    """Over a week three days at burn 0.23 spend less than the budget: nobody is told of that."""
    week = objective(target="99.9%", time_window="7d")
    assert [rule.burn for rule in rules(week)] == pytest.approx([3.36, 1.4])
    assert "ticket 1d/2h (0.7), ticket 3d/6h (0.23)" in adjusted(week)[0]


def test_windows_are_whole_slices() -> None:
    """With slices of ten minutes a window of five is one slice, at the same rate."""
    fields = {"budgeting_method": "Timeslices", "time_slice_window": "10m"}
    found = rules(objective(target=0.999, time_window="30d", time_slice_target=0.9, **fields))
    assert (found[0].name, found[0].burn) == ("page 1h/10m", 14.4)


def test_what_is_shorter_than_a_slice_is_left_out() -> None:
    """With slices of two hours nothing can be said of one, and that is told."""
    fields = {"budgeting_method": "RatioTimeslices", "time_slice_window": "2h"}
    found = objective(target=0.999, time_window="30d", **fields)
    assert [rule.name for rule in rules(found)] == ["page 6h/2h", "ticket 1d/2h", "ticket 3d/6h"]
    assert "shorter than a slice of 2h: page 1h" in adjusted(found)[0]


@given(
    target=st.floats(0.01, 0.9999),
    days=st.integers(1, 90),
)
def test_every_rule_can_fire_and_means_something(target: float, days: int) -> None:
    """Whatever the objective, a rule's rate lies between a burn of 1 and the most there is."""
    one = objective(target=target, time_window=days * DAY_S)
    for rule in rules(one):
        assert 1 <= rule.burn <= max(1, 1 / one.budget)
        assert rule.burn * one.budget <= max(0.5, one.budget) + 1e-9
