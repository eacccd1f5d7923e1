"""Stops, cost, sessions, one session, free queries, columns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_build import EPOCH_NS, ledger, task

from tracekit.errors import UsageError
from tracekit.reports import columns, cost, free, session, sessions, stops
from tracekit.reports.query import Selection
from tracekit.reports.sessions import Order


def span(span_id: str, parent: str | None = None, **values: Any) -> dict[str, Any]:
    """Return a span of session `s`, a second after the one before it in the alphabet."""
    return {
        "session_id": "s",
        "task_id": "s",
        "trace_id": "t",
        "span_id": span_id,
        "parent_span_id": parent,
        "name": span_id,
        "start_ns": EPOCH_NS + ord(span_id[0]) * 10**9,
        "end_ns": EPOCH_NS + ord(span_id[0]) * 10**9 + 5 * 10**8,
        "duration_s": 0.5,
        "operation": "llm",
        "billable": True,
    } | values


def test_stops_count_tasks_per_code_and_raw_value() -> None:
    """One row per code and provider's word, so that a program can pivot it as it likes."""
    con = ledger(
        [
            task("a", stop_raw="stop"),
            task("b", stop_raw="stop"),
            task("c", stop_raw=None, stop_reason="runtime.crash", stop_category="runtime"),
        ]
    )
    rows = stops.stops(con).rows
    assert [(row["stop_raw"], row["stop_reason"], row["tasks"]) for row in rows] == [
        ("stop", "completed.unverified", 2),
        (None, "runtime.crash", 1),
    ]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_the_matrix_loses_no_task(width: int) -> None:
    """Whatever fits, the cells of a row add up to its total."""
    con = ledger(
        [task(f"{raw}{n}", stop_raw=f"value_{raw}") for raw in range(12) for n in range(raw)]
    )
    table = stops.matrix(stops.stops(con), width=width)
    (row,) = table.rows
    cells = [row[column.name] for column in table.columns if column.name.startswith(("=", "other"))]
    assert sum(cell for cell in cells if isinstance(cell, int)) == row["tasks"] == 66


def test_categories_say_how_they_ended() -> None:
    """Per category: successes, failures and the rest."""
    con = ledger([task("a", outcome="success"), task("b", outcome="failure"), task("c")])
    (row,) = stops.categories(con).rows
    counts = [row[name] for name in ("tasks", "successes", "failures", "undetermined")]
    assert counts == [3, 1, 1, 1]


def test_cost_adds_up_by_model_with_its_sources_and_reasons() -> None:
    """Tokens and money are sums over billable steps; what has no price is counted with reasons."""
    con = ledger(
        [task("s", agent_name="helper")],
        spans=[
            span("a", model="m", cost_usd=0.3, cost_source="reported", input_tokens=10),
            span("b", model="m", cost_usd=0.1, cost_source="computed", input_tokens=20),
            span("c", model="m", cost_missing_reason="unknown_model"),
            span("d", operation="agent", billable=False, cost_usd=0.0, input_tokens=30),
        ],
    )
    table = cost.cost(con, ["model"])
    (row,) = table.rows
    assert (row["calls"], row["input_tokens"], row["unpriced_calls"]) == (3, 30, 1)
    assert row["cost_usd"] == pytest.approx(0.4)
    assert row["reported_share"] == pytest.approx(0.75)
    assert row["unpriced_reasons"] == ["unknown_model 1"]
    assert any("unknown_model 1" in note for note in table.notes)


def test_steps_without_an_agent_count_for_the_session_s() -> None:
    """Model calls rarely name their agent; the session does."""
    con = ledger([task("s", agent_name="helper")], spans=[span("a", cost_usd=0.3)])
    assert [row["agent_name"] for row in cost.cost(con, ["agent"]).rows] == ["helper"]


def test_waste_is_named_by_reason() -> None:
    """Wasted money appears under its reason, and as a share."""
    con = ledger(
        [task("s")],
        spans=[
            span("a", cost_usd=0.3),
            span("b", cost_usd=0.1, wasted_cost_usd=0.1, waste_reason="failed_attempt"),
        ],
    )
    (row,) = cost.cost(con, ["day"]).rows
    assert row["wasted_failed_attempt_usd"] == pytest.approx(0.1)
    assert row["wasted_share"] == pytest.approx(0.25)


def test_cost_says_when_sessions_were_not_kept() -> None:
    """Steps of dropped sessions are gone; the note says how many."""
    con = ledger([task("s"), task("x", kept=False)], spans=[span("a", cost_usd=0.3)])
    assert any("1 of 2 sessions were not kept" in note for note in cost.cost(con).notes)


def test_sessions_are_filtered_sorted_and_cut() -> None:
    """The list holds the first of an order, and says how many more there are."""
    con = ledger([task("a", cost_usd=1.0), task("b", cost_usd=3.0), task("c"), task("d", spans=9)])
    table = sessions.sessions(con, Selection("spans < 9"), Order("cost_usd", limit=2))
    assert [row["session_id"] for row in table.rows] == ["b", "a"]
    assert table.notes == ("1 more: --limit shows them.",)


def test_sessions_of_a_time() -> None:
    """`since` is included, `until` is not."""
    con = ledger([task("a"), task("b", start_s=86_400), task("c", start_s=2 * 86_400)])
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (2, 3)]
    table = sessions.sessions(con, Selection(since=days[0], until=days[1]))
    assert [row["session_id"] for row in table.rows] == ["b"]


@pytest.mark.parametrize(
    ("order", "message"),
    [(Order("cost"), "did you mean cost_usd"), (Order(limit=-1), "must not be negative")],
)
def test_an_impossible_order_is_named(order: Order, message: str) -> None:
    """An unknown column or a negative limit is a mistake of the caller."""
    with pytest.raises(UsageError, match=message):
        sessions.sessions(ledger(), None, order)


def test_a_session_is_found_by_the_beginning_of_its_id() -> None:
    """Enough of an id is as good as the id; the whole id wins over longer ones."""
    con = ledger([task("abc"), task("abcd"), task("x'y")])
    assert session.session(con, "x").head["session_id"] == "x'y"
    assert session.session(con, "abc").head["session_id"] == "abc"


@pytest.mark.parametrize(("prefix", "message"), [("ab", "abc, abcd"), ("zz", "no session begins")])
def test_a_session_that_is_not_one_is_named(prefix: str, message: str) -> None:
    """An ambiguous beginning names the candidates."""
    with pytest.raises(UsageError, match=message):
        session.session(ledger([task("abc"), task("abcd")]), prefix)


def test_steps_form_a_tree_in_order_of_time() -> None:
    """Parents come before children, siblings in order of time, and branches say which is last."""
    spans = [span("d", "a"), span("a"), span("c", "b"), span("b", "a"), span("e", "gone")]
    steps = session.session(ledger([task("s")], spans=spans), "s").steps.rows
    assert [(row["span_id"], row["branch"]) for row in steps] == [
        ("a", ""),
        ("b", "├"),
        ("c", "│└"),
        ("d", "└"),
        ("e", ""),
    ]
    assert steps[0]["at_s"] == 0
    assert steps[1]["at_s"] == 1


@given(st.lists(st.integers(0, 9), max_size=10))
def test_every_step_appears_once_whatever_the_parents(parents: list[int]) -> None:
    """Broken instrumentation (cycles, missing parents) loses no step."""
    spans = [span(chr(97 + n), chr(97 + parent)) for n, parent in enumerate(parents)]
    walked = [row["span_id"] for _, row in session.walk(spans)]
    assert sorted(walked) == [row["span_id"] for row in spans]


def test_a_deep_tree_is_walked() -> None:
    """A chain of thousands of steps is no problem of recursion."""
    spans = [span("a") | {"span_id": str(n), "parent_span_id": str(n - 1)} for n in range(3000)]
    assert len(list(session.walk(spans))[-1][0]) == 2999


def test_a_free_query_returns_its_rows() -> None:
    """Any SELECT over the views; columns of one name stay apart."""
    table = free.run(ledger([task("a")]), "SELECT session_id, 1 AS n, 2 AS n FROM sessions")
    assert table.rows == ({"session_id": "a", "n": 1, "n_2": 2},)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT agnt_name FROM sessions", "did you mean agent_name"),
        ("SELECT * FROM session", "Did you mean"),
        ("SELECT 1; SELECT 2", "one query at a time"),
        ("", "one query at a time"),
        ("COPY sessions TO 'x.csv'", "only queries are allowed"),
        ("DROP VIEW sessions", "only queries are allowed"),
        ("SELECT FROM WHERE", "syntax error"),
        ("SELECT 'x'::INT", "Could not convert"),
    ],
)
def test_a_wrong_query_is_one_line(query: str, message: str) -> None:
    """A mistake in a query is told in one line; nothing but reading is possible."""
    with pytest.raises(UsageError) as caught:
        free.run(ledger([task("a")]), query)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_name_the_attributes_they_are_read_from() -> None:
    """A span column lists the keys of every dialect, the best first."""
    (row,) = columns.columns("spans.request_model").rows
    assert isinstance(row["read_from"], list)
    assert any(key.startswith("gen_ai.request.model") for key in row["read_from"])


def test_an_unknown_column_is_named() -> None:
    """A typing error gets a suggestion."""
    with pytest.raises(UsageError, match="did you mean"):
        columns.columns("sesions")
