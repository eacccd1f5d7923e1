"""A page of sessions is the page that sorting and filtering everything would give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tracekit import detectors
from tracekit.errors import UsageError
from tracekit.reports import browse as module
from tracekit.reports.browse import Found, Wanted, browse
from tracekit.reports.query import fetch
from tracekit.reports.sessions import Order

if TYPE_CHECKING:
    import duckdb

    from tracekit.lake import Lake

SELECT = "SELECT session_id FROM sessions WHERE {} ORDER BY {} NULLS LAST, session_id"


def names(found: Found) -> list[str]:
    return [str(row["session_id"]) for row in found.table.rows]


def all_pages(lake: Lake, wanted: Wanted) -> list[str]:
    """Return the sessions of page after page."""
    listed: list[str] = []
    while True:
        page = replace(wanted, offset=len(listed))
        found = lake.read(lambda con, page=page: browse(con, page))  # type: ignore[misc]
        listed += names(found)
        if not found.more:
            return listed


@pytest.mark.parametrize(
    ("wanted", "condition", "order"),
    [
        (Wanted(), "true", "started_at DESC"),
        (Wanted(order=Order("cost_usd", limit=7)), "true", "cost_usd DESC"),
        (
            Wanted(
                stored=("starts_with(stop_reason, 'completed.')",),
                order=Order("started_at", descending=False, limit=7),
            ),
            "stop_category = 'completed'",
            "started_at",
        ),
        (
            Wanted(outcome="failure", order=Order(limit=7)),
            "outcome = 'failure'",
            "started_at DESC",
        ),
        (
            Wanted(outcome="success", where="llm_calls > 3", order=Order("duration_s", limit=7)),
            "outcome = 'success' AND llm_calls > 3",
            "duration_s DESC",
        ),
        (
            Wanted(where="cost_usd > (SELECT avg(cost_usd) FROM sessions)", order=Order(limit=7)),
            "cost_usd > (SELECT avg(cost_usd) FROM sessions)",
            "started_at DESC",
        ),
    ],
)
def test_pages_together_are_the_sorted_list(
    simulated: Lake, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, condition: str, order: str
) -> None:
    """Page after page gives every session once, in order, however few are looked at first."""
    monkeypatch.setattr(module, "_FIRST_LOOK", 3)
    expected = simulated.read(lambda con: fetch(con, SELECT.format(condition, order)))
    assert all_pages(simulated, wanted) == [row["session_id"] for row in expected]
    assert expected


def test_a_detector_is_judged_as_over_the_whole_lake(simulated: Lake) -> None:
    """The sessions of a page that a detector hits are those `tracekit detect` counts."""

    def hits(con: duckdb.DuckDBPyConnection) -> set[str]:
        detectors.register(con)
        detectors.run(con, ["stop_mismatch"])
        found = fetch(con, "SELECT session_id FROM detections WHERE verdict = 'hit'")
        return {row["session_id"] for row in found}

    listed = all_pages(simulated, Wanted(detector="stop_mismatch"))
    assert set(listed) == simulated.read(hits)
    assert listed


def test_what_no_detector_looked_at_is_said(
    simulated: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that ends because enough was judged says that sessions were left out."""
    monkeypatch.setattr(module, "_MOST_DETECTED", 10)
    found = simulated.read(lambda con: browse(con, Wanted(detector="retry_storm")))
    assert (found.unseen, found.more) == (True, False)


def test_counting_is_left_out_where_it_would_read_everything(simulated: Lake) -> None:
    """The total is there for what the files say, and null for what has to be worked out."""
    assert simulated.read(lambda con: browse(con, Wanted())).total == 60
    assert simulated.read(lambda con: browse(con, Wanted(outcome="failure"))).total is None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(order=Order("kost_usd")), "did you mean cost_usd"),
        (Wanted(outcome="great"), "no outcome 'great'"),
        (Wanted(detector="retry_strom"), "retry_strom"),
        (Wanted(where="kost > 1"), "no column 'kost'"),
        (Wanted(where="1; DROP TABLE x"), "syntax error"),
    ],
)
def test_mistakes_are_named(simulated: Lake, wanted: Wanted, words: str) -> None:
    """A filter that makes no sense is a usage error that says what is wrong."""
    with pytest.raises(UsageError, match=words):
        simulated.read(lambda con: browse(con, wanted))
