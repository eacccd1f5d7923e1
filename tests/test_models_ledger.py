"""The ledger tables: attributes, sums, stops and verdicts of tasks and sessions."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_build import AGENT, LLM, RECORDED_NS, TOOL, USED, ledger, row, rows
from otlp_build import nanos, request, span

from tracekit.models import run
from tracekit.otlp.reference import scan_reference


def test_attributes_come_from_the_root_else_from_the_first_span() -> None:
    """The root names the agent even where it is not the first span."""
    root = span("invoke_agent", AGENT | {"user.id": "u"}, start=1, end=9)
    other = AGENT | {"gen_ai.agent.name": "first"}
    con = ledger(
        span("invoke_agent", other, parent=root, start=0, end=1),
        root,
        span("x", {"tenant.id": "t"}, parent=root, start=2),
        resource={"service.name": "shop", "deployment.environment": "prod"},
    )
    columns = ("agent_name", "user_id", "tenant_id", "service_name", "environment")
    expected = ("support", "u", "t", "shop", "prod")
    assert row(con, "sessions", *columns) == expected
    assert row(con, "tasks", *columns) == expected


def test_the_model_is_the_one_that_took_most_input() -> None:
    """Not the one that was called most often."""
    big = LLM | {"gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-opus-4-5"}
    con = ledger(
        span("a", USED),
        span("b", USED, start=1),
        span("c", big | {"gen_ai.usage.input_tokens": 5000}, start=2),
    )
    assert rows(con, "sessions", "model", "provider") == [("claude-opus-4-5", "anthropic")]


def test_work_is_counted() -> None:
    """Tools, tool errors, handoffs, approvals and the time from first to last."""
    root = span("invoke_agent", AGENT, end=60)
    con = ledger(
        root,
        span("t", TOOL, parent=root, start=1, status="error"),
        span("t", TOOL | {"error.type": "ValueError"}, parent=root, start=2),
        span("t", TOOL | {"tracekit.tool.status": "timeout"}, parent=root, start=3),
        span("t", TOOL | {"tracekit.tool.status": "denied"}, parent=root, start=4),
        span("t", TOOL | {"error.type": "Handled"}, parent=root, start=5, status="ok"),
        span("h", {"tracekit.handoff.to": "billing"}, parent=root, start=6),
        span("p", {"tracekit.approval.status": "requested"}, parent=root, start=7),
    )
    columns = ("spans", "tool_calls", "tool_errors", "handoffs", "approvals", "duration_s")
    assert row(con, "sessions", *columns) == (8, 5, 3, 1, 1, 60.0)


def test_root_seen_needs_an_ended_root() -> None:
    """A session whose root never ended, or never came, is still open or crashed."""
    con = ledger(
        span("a", LLM, trace=1, end=1),
        span("b", LLM, trace=2, start=2, end=None),
        span("c", LLM, trace=3, start=3, parent=b"missing1"),
    )
    assert rows(con, "sessions", "root_seen") == [True, False, False]


def test_the_last_task_gives_the_session_its_stop() -> None:
    """A session ends as its last-ending task ended."""
    root = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "c"}, end=60)
    con = ledger(
        root,
        *(
            span(
                "task",
                {"tracekit.task.id": name, "tracekit.stop.declared": code},
                parent=root,
                start=at,
                end=end,
            )
            for name, code, at, end in (
                ("a", "limit.time", 1, 30),
                ("b", "limit.steps", 2, 20),
            )
        ),
    )
    assert rows(con, "tasks", "task_id", "stop_reason") == [
        ("a", "limit.time"),
        ("b", "limit.steps"),
    ]
    assert row(con, "sessions", "stop_reason", "tasks") == ("limit.time", 2)


def test_a_task_is_essential_unless_its_span_says_otherwise() -> None:
    """The mark on a mere step is about the step."""
    optional = {"tracekit.essential": False}
    task = {"tracekit.operation": "task"}
    root = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "c"}, end=60)
    con = ledger(
        root,
        span("task", task | optional | {"tracekit.task.id": "a"}, parent=root, start=1, end=9),
        span("task", task | {"tracekit.task.id": "b"}, parent=root, start=20, end=29),
        span("chat", USED | optional, parent=root, start=21, end=22),
    )
    assert rows(con, "tasks", "task_id", "essential") == [("a", False), ("b", True)]


def verdict(**values: Any) -> tuple[str, dict[str, Any]]:
    names = {"name": "name", "label": "score.label", "score": "score.value"}
    keys = {f"gen_ai.evaluation.{names[name]}": value for name, value in values.items()}
    return ("gen_ai.evaluation.result", keys)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (verdict(name="reward", label="pass", score=1.0), ("success", "reward", 1.0)),
        (verdict(name="reward", label="fail", score=0.0), ("failure", "reward", 0.0)),
        (verdict(label="Resolved"), ("success", "evaluation", None)),
        (verdict(name="quality", label="so-so", score=0.5), ("undetermined", "quality", 0.5)),
        (verdict(name="reward", score=1.0), ("undetermined", "reward", 1.0)),
    ],
    ids=["pass", "fail", "other word", "unknown word", "score alone"],
)
def test_evaluations_are_verified_outcomes(
    event: tuple[str, dict[str, Any]], expected: tuple[Any, ...]
) -> None:
    """A known label decides; a score without a scale does not."""
    root = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "c"}, [event], end=9)
    columns = ("session_id", "task_id", "evidence", "decided_ns", "recorded_ns")
    con = ledger(root)
    assert row(con, "outcomes", *columns) == ("c", None, "verified", nanos(9), RECORDED_NS)
    assert row(con, "outcomes", "outcome", "source", "score") == expected


def test_an_evaluation_of_one_call_says_nothing_about_the_task() -> None:
    """A relevance score of a model call is no verdict."""
    root = span("invoke_agent", AGENT, end=9)
    con = ledger(root, span("chat", USED, [verdict(label="fail")], parent=root))
    assert rows(con, "outcomes", "outcome") == []


def test_done_events_and_task_statuses_are_declared_outcomes() -> None:
    """Each task's declaration is one outcome, decided when the span that says so ended."""
    key = {"gen_ai.conversation.id": "c"}
    root = span("invoke_agent", AGENT | key, end=60)
    con = ledger(
        root,
        span("a", {"tracekit.task.id": "a", "tracekit.task.status": "failure"}, parent=root, end=5),
        span(
            "b", TOOL | {"tracekit.task.id": "b", "tracekit.done.status": "ok"}, parent=root, end=7
        ),
    )
    assert rows(con, "outcomes", "task_id", "outcome", "evidence", "source", "decided_ns") == [
        ("a", "failure", "declared", "task.status", nanos(5)),
        ("b", "success", "declared", "task.done", nanos(7)),
    ]


def test_sampling_weights_reach_the_session() -> None:
    """The weight of any span is the session's; without one it is 1, or unknown if sampled."""
    con = ledger(
        span("a", USED | {"tracekit.sampling.weight": 4.0}, trace=1),
        span("b", USED, trace=1, start=1, end=2),
        span("c", USED, trace=2, start=3, end=4),
        span("d", USED | {"tracekit.sampling.policy": "late"}, trace=3, start=5, end=6),
    )
    assert rows(con, "sessions", "kept", "weight") == [(True, 4.0), (True, 1.0), (True, None)]


_COUNT = st.none() | st.integers(0, 5000)
_CALLS = st.lists(
    st.tuples(
        st.sampled_from(["llm", "tool", "agent", "embeddings", "step"]),
        st.sampled_from(["unset", "error"]),
        st.sampled_from([None, "t1", "t2"]),
        st.integers(0, 2),  # session
        st.tuples(_COUNT, _COUNT, _COUNT),  # input, output, cache read
        st.sampled_from([None, "r1", "r2"]),  # response id
        st.integers(-1, 5),  # parent, by place
        st.integers(1, 30),  # duration
    ),
    min_size=1,
    max_size=40,
)
_KEYS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")


def _spans(calls: list[tuple[Any, ...]]) -> list[Any]:
    spans: list[Any] = []
    for at, (operation, status, task, session, counts, response, parent, lasting) in enumerate(
        calls
    ):
        keys = LLM | {
            "tracekit.operation": operation,
            "tracekit.task.id": task,
            "session.id": f"s{session}",
            "gen_ai.response.id": response,
            "gen_ai.usage.cache_read.input_tokens": counts[2],
        }
        keys |= dict(zip(_KEYS, counts, strict=False))
        known = {key: value for key, value in keys.items() if value is not None}
        above = spans[parent] if 0 <= parent < len(spans) else None
        more: dict[str, Any] = {"parent": above, "start": at, "end": at + lasting, "status": status}
        spans.append(span("x", known, trace=session + 1, **more))
    return spans


SUMS = (
    ("count(*)", "llm_calls"),
    ("count(failure_class)", "llm_errors"),
    ("sum(input_tokens)", "input_tokens"),
    ("sum(output_tokens)", "output_tokens"),
    ("sum(cost_usd)", "cost_usd"),
    ("sum(cost_usd) FILTER (WHERE waste_reason IS NOT NULL)", "wasted_cost_usd"),
)


@settings(max_examples=15, deadline=None)
@given(_CALLS)
def test_sessions_are_the_sums_of_their_attempts(calls: list[tuple[Any, ...]]) -> None:
    """Counts, tokens and costs of a session equal those of its attempts, and of billable spans."""
    con = duckdb.connect()
    run(con, scan_reference(request(_spans(calls))), recorded_ns=RECORDED_NS)
    sums = ", ".join(f"coalesce({total}, 0)" for total, _ in SUMS)
    names = ", ".join(f"coalesce({name}, 0)" for _, name in SUMS)
    rest = "FROM attempts GROUP BY session_id ORDER BY session_id"
    attempts = con.execute(f"SELECT session_id, {sums} {rest}").fetchall()
    sessions = con.execute(
        f"SELECT session_id, {names} FROM sessions WHERE llm_calls > 0 ORDER BY session_id"
    ).fetchall()
    assert [pytest.approx(found) for found in attempts] == sessions
    spans = con.execute("SELECT sum(cost_usd), count(*) FROM spans WHERE billable").fetchall()
    assert con.execute("SELECT sum(cost_usd), count(*) FROM attempts").fetchall() == [
        pytest.approx(found) for found in spans
    ]


@pytest.mark.parametrize(
    ("code", "outcome"), [("limit.cost", "failure"), ("completed.declared", "success")]
)
def test_a_declared_stop_code_declares_its_outcome(code: str, outcome: str) -> None:
    """`tracekit.stop.declared` is the application's word on the outcome too."""
    con = ledger(span("invoke_agent", AGENT | {"tracekit.stop.declared": code}))
    assert rows(con, "outcomes", "outcome", "evidence", "source") == [
        (outcome, "declared", "stop.reason")
    ]


def test_a_claim_the_final_state_contradicts_is_no_declaration() -> None:
    """A task that declares success and ends in a truncated answer is judged by its stop code."""
    root = span("invoke_agent", AGENT | {"tracekit.stop.declared": "completed.declared"}, end=9)
    cut = USED | {"gen_ai.response.finish_reasons": ["length"]}
    con = ledger(root, span("chat", cut, parent=root, start=1, end=8))
    assert row(con, "tasks", "stop_reason") == "completed.false_claim"
    assert rows(con, "outcomes", "outcome") == []
