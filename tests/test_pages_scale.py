"""Axes: round numbers that cover the values, few enough to be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.pages.charts import stacked
from tracekit.pages.render import labels
from tracekit.pages.scale import STEPS, scale
from tracekit.reports.table import Kind

AMOUNTS = st.lists(st.floats(0, 1e12, allow_subnormal=False), max_size=20)


@given(AMOUNTS, st.sampled_from([Kind.USD, Kind.COUNT, Kind.SECONDS]))
def test_an_axis_covers_its_values_with_few_ticks(values: list[float], kind: Kind) -> None:
    """Every value has its place, ticks run from end to end, and there are at most six of them."""
    axis = scale(values, kind)
    places = [place for place, _ in axis.ticks()]
    assert axis.high >= max(values, default=0) * (1 - 1e-9)
    assert (places[0], places[-1]) == (0, 100)
    assert 2 <= len(places) <= STEPS + 1
    assert places == sorted(places)


@given(AMOUNTS, st.sampled_from([Kind.USD, Kind.COUNT, Kind.SECONDS]))
def test_no_two_ticks_are_labelled_alike(values: list[float], kind: Kind) -> None:
    """Labels have enough decimals to tell the ticks apart."""
    texts = [label for _, label in scale(values, kind).ticks()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([108], Kind.COUNT, ["0", "25", "50", "75", "100", "125"]),
        ([3], Kind.COUNT, ["0", "1", "2", "3"]),
        ([], Kind.COUNT, ["0", "1", "2", "3", "4", "5"]),
        ([1.0], Kind.SHARE, ["0", "20", "40", "60", "80", "100"]),
        ([0.46], Kind.SHARE, ["0", "10", "20", "30", "40", "50"]),
        ([0.009], Kind.SHARE, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.47], Kind.USD, ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        ([1.2], Kind.USD, ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25"]),
        ([21_000], Kind.USD, ["0", "5,000", "10,000", "15,000", "20,000", "25,000"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], kind: Kind, expected: list[str]) -> None:
    """Steps are 1, 2, 2.5 or 5 times a power of ten; counts have whole ones."""
    assert [label for _, label in scale(values, kind).ticks()] == expected


def test_a_bar_of_several_amounts_is_as_long_as_their_sum() -> None:
    """Pieces follow one another; what is not there takes no room."""
    parts = stacked({"success": 3, "undetermined": 0, "failure": 2})
    assert [(part.start, part.end, part.look) for part in parts] == [
        (0, 3, "success"),
        (3, 5, "failure"),
    ]


@given(st.integers(1, 400))
def test_dates_below_a_chart_are_few_and_within(count: int) -> None:
    """The first and the last period are named, at most five in all, each once, in order."""
    periods = [f"2026-01-01T{hour:02}:00:00" for hour in range(24)] * 20
    found = labels(periods[:count], "hour")
    places = [place for place, _ in found]
    assert places == sorted(set(places))
    assert len(places) == min(count, 5)
    assert 0 < places[0] <= places[-1] < 100


def test_no_periods_have_no_dates() -> None:
    """A chart over nothing has an empty axis."""
    assert labels([], "day") == []
