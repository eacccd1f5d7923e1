"""Task success, cost per success and waste."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_build import ledger, task

from tracekit.errors import UsageError
from tracekit.reports.query import Selection
from tracekit.reports.success import report

OUTCOMES = st.lists(st.sampled_from(["success", "failure", None]), max_size=30)


def tasks(**counts: int) -> list[dict[str, object]]:
    """Return tasks by verdict: `tasks(success=3, undetermined=1)`."""
    return [
        task(f"{outcome}-{number}", outcome=None if outcome == "undetermined" else outcome)
        for outcome, count in counts.items()
        for number in range(count)
    ]


def test_the_rate_leaves_undetermined_tasks_out_and_names_them() -> None:
    """985 of 1,000 decided tasks: 98.5 %, 97.5 to 99.1 %; 200 undetermined stand beside it."""
    (row,) = report(ledger(tasks(success=985, failure=15, undetermined=200))).rows
    assert (row["tasks"], row["undetermined"], row["success_rate"]) == (1200, 200, 0.985)
    assert row["success_low"] == pytest.approx(0.975, abs=5e-4)
    assert row["success_high"] == pytest.approx(0.991, abs=5e-4)
    assert row["success_if_rest_failed"] == 985 / 1200
    assert row["success_if_rest_succeeded"] == 1185 / 1200


@given(OUTCOMES)
def test_the_bounds_hold_the_rate(outcomes: list[str | None]) -> None:
    """The rate lies between what it would be if all undetermined tasks failed or succeeded."""
    (row,) = report(ledger([task(str(n), outcome=o) for n, o in enumerate(outcomes)])).rows
    decided = len([outcome for outcome in outcomes if outcome])
    if decided:
        low, rate, high = (
            row[name]
            for name in ("success_if_rest_failed", "success_rate", "success_if_rest_succeeded")
        )
        assert isinstance(low, float)
        assert isinstance(rate, float)
        assert isinstance(high, float)
        assert low <= rate <= high
    else:
        assert row["success_rate"] is None


def test_no_task_gives_no_rate() -> None:
    """An empty lake: one row, nothing estimated, and an interval that excludes nothing."""
    (row,) = report(ledger()).rows
    assert (row["tasks"], row["success_rate"], row["cost_usd"]) == (0, None, None)
    assert (row["success_low"], row["success_high"]) == (0, 1)


def test_cost_per_success_is_all_cost_over_known_successes() -> None:
    """Failed and undetermined tasks cost money, too; the bound says what it may come to."""
    con = ledger(
        [
            task("a", outcome="success", cost_usd=0.5, wasted_cost_usd=0.1),
            task("b", outcome="failure", cost_usd=0.4),
            task("c", cost_usd=0.1),
        ]
    )
    (row,) = report(con).rows
    assert row["cost_per_success_usd"] == pytest.approx(1.0)
    assert row["cost_per_success_if_rest_succeeded_usd"] == pytest.approx(0.5)
    assert row["wasted_share"] == pytest.approx(0.1)


def test_calls_without_a_price_make_costs_lower_bounds() -> None:
    """Unpriced calls are counted, and a note says what ≥ means."""
    table = report(ledger([task("a", cost_usd=0.5), task("b", unpriced_calls=3)]))
    assert table.rows[0]["unpriced_calls"] == 3
    assert any("≥" in note for note in table.notes)


def test_unknown_cost_is_not_zero() -> None:
    """Where no cost is known, total, cost per success and waste are unknown."""
    (row,) = report(ledger([task("a", outcome="success", unpriced_calls=1)])).rows
    assert (row["cost_usd"], row["cost_per_success_usd"], row["wasted_share"]) == (None, None, None)


def test_groups_come_by_size_and_keep_tasks_without_a_value() -> None:
    """`--by` makes one row per value, the largest first; no value is a group of its own."""
    con = ledger([task("a", agent_name="x"), task("b", agent_name="x"), task("c")])
    assert [(row["agent_name"], row["tasks"]) for row in report(con, ["agent"]).rows] == [
        ("x", 2),
        (None, 1),
    ]


def test_several_columns_and_calendar_units_group() -> None:
    """Columns combine; day, week and month are cut from the start, in UTC."""
    con = ledger([task("a", model="m"), task("b", model="m", start_s=86_400)])
    rows = report(con, ["model", "day"]).rows
    assert [(row["model"], row["day"]) for row in rows] == [
        ("m", "2026-01-01"),
        ("m", "2026-01-02"),
    ]


def test_a_session_counts_once_whatever_its_tasks() -> None:
    """Two tasks of one session are one session; a note says what the intervals assume."""
    con = ledger([task("a", task_id="1"), task("a", task_id="2")], sessions=[])
    table = report(con)
    assert (table.rows[0]["sessions"], table.rows[0]["tasks"]) == (1, 2)
    assert any("independent" in note for note in table.notes)


def test_the_most_frequent_stop_is_named() -> None:
    """Each group names the stop most of its tasks ended with."""
    con = ledger([task("a", stop_reason="limit.steps"), task("b"), task("c")])
    (row,) = report(con).rows
    assert (row["top_stop"], row["top_stop_tasks"]) == ("completed.unverified", 2)


def test_evidence_is_counted() -> None:
    """Verdicts are counted by what they rest on; undetermined tasks rest on nothing."""
    con = ledger([task("a", outcome="success"), task("b", outcome_inferred="failure"), task("c")])
    (row,) = report(con).rows
    assert (row["verified"], row["declared"], row["inferred"]) == (1, 0, 1)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("agent_name = 'x'", 1),
        ("agent_name = 'x' -- and a comment", 1),
        ("agent_name IS NULL OR true", 2),
        (None, 2),
    ],
)
def test_a_condition_selects(where: str | None, expected: int) -> None:
    """`--where` is one SQL expression and stands in parentheses of its own."""
    con = ledger([task("a", agent_name="x"), task("b")])
    assert report(con, selection=Selection(where)).rows[0]["tasks"] == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("agnt_name = 'x'", "did you mean agent_name"),
        ('agent_name = "x"', "text goes in 'single quotes'"),
        ("agent_name =", "syntax error"),
        ("true); DROP VIEW tasks; SELECT (true", "one SQL expression"),
        ("count(*) > 1", "aggregates"),
        ("false) OR (true", "syntax error"),
        ("true) GROUP BY (1", "syntax error"),
    ],
)
def test_a_wrong_condition_is_named(where: str, message: str) -> None:
    """A mistake in `--where` ends in one line that says what to do."""
    with pytest.raises(UsageError, match=r"--where") as caught:
        report(ledger([task("a")]), selection=Selection(where))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_column_to_group_by_is_named() -> None:
    """A typing error in `--by` gets a suggestion."""
    with pytest.raises(UsageError, match="did you mean agent_name"):
        report(ledger(), ["agent_nam"])


def test_grouping_by_a_number_of_the_report_is_refused() -> None:
    """Columns that the report computes itself cannot be its keys."""
    with pytest.raises(UsageError, match="cannot group by cost_usd"):
        report(ledger(), ["cost_usd"])
