"""Objectives measured: methods, coverage, what counts, what was known, months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from lake_build import imported, new_lake
from ledger_build import EPOCH_NS, ledger, task
from otlp_build import span
from slo_build import EPOCH, objective, spread, status_of, tasks_at

from tracekit.errors import UsageError
from tracekit.slo.objectives import Objectives
from tracekit.slo.status import failed, nanoseconds, status

if TYPE_CHECKING:
    from pathlib import Path

HOURS = [*spread(0, 10, 0), *spread(1, 8, 2), *spread(3, 1, 1)]
"""Ratios 1, 0.8, nothing, 0.5."""
SLICES: dict[str, Any] = {
    "budgeting_method": "Timeslices",
    "time_slice_window": "1h",
    "time_slice_target": 0.9,
}
PAGE = {"severity": "page", "budget": 0.5, "long": "2h", "short": "1h"}
RATIOS: dict[str, Any] = {"budgeting_method": "RatioTimeslices", "time_slice_window": "1h"}


def test_occurrences() -> None:
    """19 of 22 tasks are good; of a budget of 2.2 tasks 3 are spent: 136 %."""
    row = status_of(tasks_at(HOURS))
    assert (row["good"], row["bad"], row["sli"]) == (19, 3, pytest.approx(19 / 22))
    assert (row["budget_unit"], row["budget_spent"]) == ("tasks", 3)
    assert row["budget"] == pytest.approx(2.2)
    assert row["budget_left"] == pytest.approx(1 - 3 / 2.2)


def test_timeslices() -> None:
    """Of three measured hours one reaches 90 %: 33 %; 7,200 s were bad, 1,080 s may be."""
    row = status_of(tasks_at(HOURS), **SLICES)
    assert row["sli"] == pytest.approx(1 / 3)
    assert (row["budget_unit"], row["budget"]) == ("s", pytest.approx(1080))
    assert row["budget_spent"] == 7200
    assert row["sli_occurrences"] == pytest.approx(19 / 22)


def test_ratio_timeslices() -> None:
    """The mean of 1, 0.8 and 0.5 is 76.7 %: a bad hour at night counts like one at noon."""
    row = status_of(tasks_at(HOURS), **RATIOS)
    assert row["sli"] == pytest.approx((1 + 0.8 + 0.5) / 3)
    assert row["budget_spent"] == pytest.approx(0.7 * 3600)


@pytest.mark.parametrize("method", [{}, SLICES, RATIOS])
def test_unmeasured_time_is_not_uptime(method: dict[str, Any]) -> None:
    """One perfect hour of four does not make an objective met; nor does no data."""
    hour = {"time_slice_window": "1h"} | method
    row = status_of(tasks_at(spread(0, 500, 0)), **hour)
    assert (row["sli"], row["coverage"]) == (1, 0.25)
    assert (row["verdict"], row["reason"]) == ("indeterminate", "25 % of the slices have data")
    empty = status_of([], alerts=[PAGE], **hour)
    assert (empty["verdict"], empty["reason"], empty["alert"]) == (
        "indeterminate",
        "no data",
        "no data",
    )
    assert empty["sli"] is empty["budget_left"] is empty["burn"] is None


@pytest.mark.parametrize(
    ("good", "bad", "word"),
    [(990, 10, "met"), (800, 200, "missed"), (18, 2, "indeterminate"), (9, 0, "indeterminate")],
)
def test_verdicts_rest_on_the_exact_interval(good: int, bad: int, word: str) -> None:
    """Met and missed are proven; nine of nine tasks prove no 90 % (66.4 to 100 %)."""
    row = status_of(tasks_at(spread(1, good, bad)), time_slice_window="4h")
    assert row["verdict"] == word
    low, high = row["exact_low"], row["exact_high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert {"met": low >= 0.9, "missed": high < 0.9}.get(word, low < 0.9 <= high)


def test_undetermined_tasks_are_left_out_and_told_or_bad() -> None:
    """A clean stop nobody vouches for is never good."""
    events = [*spread(0, 60, 0), *((float(n), None) for n in range(20))]
    left_out = status_of(tasks_at(events), time_slice_window="4h")
    assert (left_out["sli"], left_out["undetermined_share"]) == (1, 0.25)
    bad = status_of(tasks_at(events), indicator={"undetermined": "bad"}, time_slice_window="4h")
    assert (bad["sli"], bad["bad"]) == (0.75, 20)


def test_too_many_undetermined_tasks_decide_nothing() -> None:
    """Where most tasks are undetermined the verdict is, too."""
    events = [*spread(0, 60, 0), *((float(n), None) for n in range(90))]
    row = status_of(tasks_at(events), time_slice_window="4h")
    assert (row["verdict"], row["reason"]) == (
        "indeterminate",
        "60 % of the tasks are undetermined",
    )


def test_what_counts_is_said_in_sql() -> None:
    """Filters choose tasks, `not_counted` takes some out, bad wins; null matches nothing."""
    rows = [
        *tasks_at(spread(0, 6, 2), agent_name="a"),
        task("u", outcome="failure", agent_name="a", stop_fault="U"),
        task("other", outcome="failure", agent_name="b"),
        task("none", outcome="failure"),
    ]
    indicator = {"where": "agent_name = 'a'", "not_counted": "stop_fault = 'U' -- theirs"}
    row = status_of(rows, indicator=indicator)
    assert (row["good"], row["bad"], row["not_counted"]) == (6, 2, 1)
    slow = {"good": "true", "bad": "duration_s > 5"}
    assert status_of(rows[:3], indicator=slow)["bad"] == 3


def test_what_cannot_be_computed_of_a_task_does_not_match() -> None:
    """A predicate that fails on one task says nothing of that task, and spoils no other."""
    rows = [
        task("a", outcome="success", agent_name="7"),
        task("b", outcome="failure", agent_name="seven"),
    ]
    row = status_of(rows, indicator={"where": "CAST(agent_name AS INTEGER) = 7"})
    assert (row["good"], row["bad"]) == (1, 0)


def test_inferred_outcomes_are_no_verified_ones() -> None:
    """With `truth: verified` an outcome inferred from the stop is undetermined."""
    rows = [*tasks_at(spread(0, 3, 1)), task("i", outcome=None, outcome_inferred="failure")]
    assert status_of(rows)["bad"] == 2
    verified = status_of(rows, indicator={"truth": "verified"})
    assert (verified["bad"], verified["undetermined"], verified["truth"]) == (1, 1, "verified")


def test_only_people_are_people() -> None:
    """With `truth: human` the last verdict of the named sources counts, and no other."""
    said = {"evidence": "verified", "recorded_ns": EPOCH_NS, "decided_ns": EPOCH_NS}
    later = EPOCH_NS + 9
    outcomes = [
        said | {"session_id": "s0", "outcome": "failure", "source": "review"},
        said | {"session_id": "s0", "outcome": "success", "source": "review", "decided_ns": later},
        said | {"session_id": "s1", "outcome": "failure", "source": "judge-model"},
        said | {"session_id": "s2", "outcome": "failure", "source": "support", "task_id": "s2"},
    ]
    con = ledger(tasks_at(spread(0, 4, 0)), outcomes=outcomes)
    row = status_of(con, indicator={"truth": "human", "sources": ["review", "support"]})
    assert (row["good"], row["bad"], row["undetermined"]) == (1, 1, 2)


def test_labels_have_their_time() -> None:
    """With a label lag of an hour the window ends an hour earlier: younger tasks do not count."""
    rows = tasks_at([*spread(2, 5, 0), *spread(3, 0, 5)])
    assert status_of(rows)["bad"] == 5
    lagged = status_of(rows, indicator={"label_lag": "1h"})
    assert (lagged["good"], lagged["bad"]) == (5, 0)
    assert lagged["window_end"] == "2026-01-01T03:00:00Z"


def test_history_is_restated(tmp_path: Path) -> None:
    """A verdict that comes later changes the past, and --as-of says what was known."""
    stop = {"gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": ["length"]}
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, one=[span("chat", stop | {"gen_ai.conversation.id": "c"}, trace=1)])
    (start_ns,) = lake.query("SELECT end_ns FROM tasks").column(0).to_pylist()
    lake.add_outcome("c", "success", "verified", "review", recorded_ns=2_000_000_000_000_000_000)
    one = Objectives(objectives=(objective(),))
    at = datetime.fromtimestamp(start_ns / 1e9, UTC) + timedelta(hours=1)
    counts = [
        [(row["good"], row["bad"]) for row in lake.read(lambda c: status(c, one, at), known).rows]
        for known in (1_999_999_999_000_000_000, None)
    ]
    assert counts == [[(0, 1)], [(1, 0)]]


def test_bad_tasks_of_one_incident_are_one_cluster() -> None:
    """40 failures of a provider within minutes are one observation: the interval is wide."""
    lone = tasks_at([*spread(0, 960, 40)])
    row = status_of(lone, time_slice_window="4h")
    assert (row["bad_clusters"], row["effective_units"], row["verdict"]) == (40, 1000, "met")
    incident = [
        *tasks_at(spread(0, 960, 0)),
        *(
            task(f"x{n}", start_s=5000 + 30 * n, outcome="failure", stop_fault="P", provider="p")
            for n in range(40)
        ),
    ]
    row = status_of(incident, time_slice_window="4h")
    assert row["bad_clusters"] == 1
    # By hand: 960 * 0.04^2 + 40^2 * 0.96^2 = 1,476.1; 0.0384 * 10^6 / 1,476.1 = 26.0.
    assert row["effective_units"] == pytest.approx(26.0, abs=0.05)
    assert row["verdict"] == "indeterminate"


def test_incidents_end() -> None:
    """Failures of a provider 16 minutes apart, or of two providers, are different incidents."""
    rows = [
        task(f"x{at}{who}", start_s=at, outcome="failure", stop_fault="P", provider=who)
        for at, who in ((0, "p"), (60, "p"), (90, "q"), (1100, "p"))
    ]
    assert status_of(rows)["bad_clusters"] == 3


def test_bad_slices_in_a_row_are_one_cluster() -> None:
    """Three bad hours in a row and one apart are two clusters."""
    hours = [
        spread(h, 0 if h in {2, 3, 4, 8} else 5, 5 if h in {2, 3, 4, 8} else 0) for h in range(12)
    ]
    row = status_of(tasks_at([e for h in hours for e in h]), hours=12, time_window="12h", **SLICES)
    assert (row["budget_spent"], row["bad_clusters"]) == (4 * 3600, 2)


def test_a_calendar_month_begins_in_its_zone() -> None:
    """In Tokyo February begins at 15:00 UTC of 31 January, and lasts until now or its end."""
    month = objective(time_window="month", time_zone="Asia/Tokyo")
    inside = datetime(2026, 2, 10, 12, tzinfo=UTC)
    assert month.window(inside) == (datetime(2026, 1, 31, 15, tzinfo=UTC), inside)
    end = datetime(2026, 2, 28, 15, tzinfo=UTC)
    assert month.window(end) == (datetime(2026, 1, 31, 15, tzinfo=UTC), end)


def test_the_window_is_half_open() -> None:
    """What ends at the moment itself is of the next window; what ended at its start is of this."""
    row = status_of(tasks_at([(0, "success"), (4 * 3600, "failure")]))
    assert (row["good"], row["bad"]) == (1, 0)
    assert nanoseconds(EPOCH) == EPOCH_NS


def test_gates_fail_on_what_they_name() -> None:
    """The same hours pass a gate on a proven miss, and fail one on a spent budget."""
    rows = tasks_at(HOURS)
    assert status_of(rows)["gate"] == "passed"
    spent = status_of(rows, gate=["spent", "page"])
    assert (spent["gate"], spent["gate_failed_on"]) == ("failed", ["spent"])
    assert status_of(rows, gate=[])["gate"] == "off"
    table = status(
        ledger(rows),
        Objectives(objectives=(objective(name="a"), objective(name="b", gate=["indeterminate"]))),
        EPOCH + timedelta(hours=4),
    )
    assert failed(table) == {"b": ["indeterminate"]}


def test_a_sample_has_no_error_budget() -> None:
    """Tasks that stand for others are refused where the ledger lacks those."""
    rows = tasks_at(spread(0, 3, 1), weight=10.0)
    with pytest.raises(UsageError, match="4 tasks are of sampled sessions"):
        status_of(rows)
    rows.append(task("dropped", outcome="success", kept=False))
    assert status_of(rows)["tasks"] == 5
