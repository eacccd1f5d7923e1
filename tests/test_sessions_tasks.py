"""Sessions, agents and tasks: what belongs to what, how it ended, and what travels."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from models_build import row, rows
from opentelemetry import baggage
from opentelemetry.context import attach, detach, get_current
from traced import Recording, attributes, recorded

import tracekit
from tracekit.instrumentation.agents import DONE_STATUSES
from tracekit.instrumentation.propagation import headers, restored

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


def ask(stop: str = "stop", model: str = "gpt-4o") -> None:
    """Call a model."""
    with tracekit.llm(model, provider="openai") as call:
        call.usage(input_tokens=1000, output_tokens=100)
        call.stop(stop)


def test_session_of_everything_inside(spans: Recording) -> None:
    """Every span inside names the session, its user and its tenant, over several traces."""
    with tracekit.session("s", user="u-7", tenant="acme") as session:
        assert session.id == tracekit.current_session() == "s"
        with tracekit.agent("support"):
            ask()
        with tracekit.tool("search"):
            pass
    assert tracekit.current_session() is None
    ask()

    assert spans.values("chat gpt-4o", "tracekit.session.id") == ["s", None]
    assert spans.values("execute_tool search", "user.id") == ["u-7"]
    assert spans.values("execute_tool search", "tracekit.tenant.id") == ["acme"]
    assert spans.values("invoke_agent support", "gen_ai.conversation.id") == ["s"]
    columns = ("session_id", "traces", "user_id", "tenant_id")
    found = rows(spans.ledger(), "sessions", *columns)
    assert found[0] == ("s", 2, "u-7", "acme")


def test_session_without_a_key(spans: Recording) -> None:
    """A session without a key gets a random one; without a session the trace is the session."""
    with tracekit.session() as first:
        ask()
    with tracekit.session() as second:
        ask()
    with tracekit.agent("support"):
        ask()

    assert first.id != second.id
    found = spans.ledger().execute("SELECT session_source FROM ledger_spans ORDER BY start_ns")
    assert [source for (source,) in found.fetchall()] == ["attribute"] * 2 + ["trace_id"] * 2


def test_decorated_session(spans: Recording) -> None:
    """A decorated function runs in the session; without a key each call in one of its own."""

    @tracekit.session("s")
    def named() -> str | None:
        return tracekit.current_session()

    @tracekit.session()
    async def unnamed() -> str | None:
        return tracekit.current_session()

    assert named() == named() == "s"
    assert asyncio.run(unnamed()) != asyncio.run(unnamed())
    assert spans.all() == []


def test_session_in_a_session(spans: Recording) -> None:
    """A session inside another one is another one: nothing of the outer task is left."""
    with tracekit.session("outer", user="u"), tracekit.task("t"):
        with tracekit.session("inner"):
            ask()
            assert tracekit.current_task().span is None
        ask("length")

    assert spans.values("chat gpt-4o", "tracekit.session.id") == ["inner", "outer"]
    assert (
        attributes(spans.named("chat gpt-4o")[0]).keys().isdisjoint({"tracekit.task.id", "user.id"})
    )


def test_sessions_side_by_side(spans: Recording) -> None:
    """Sessions of concurrent tasks do not mix."""

    async def chat(key: str) -> None:
        with tracekit.session(key):
            await asyncio.sleep(0)
            with tracekit.tool("search") as step:
                step.set("expected", key)

    async def both() -> None:
        await asyncio.gather(chat("a"), chat("b"))

    asyncio.run(both())

    written = spans.values("execute_tool search", "tracekit.session.id")
    assert written == spans.values("execute_tool search", "expected")


def test_session_and_task_travel(spans: Recording) -> None:
    """Session and task are baggage, and are found again in another process."""
    with tracekit.session("s"), tracekit.task("refund", task_id="t"):
        assert baggage.get_baggage("tracekit.session.id") == "s"
        carrier = headers()
    token = attach(restored(carrier))
    try:
        assert tracekit.current_session() == "s"
        with tracekit.tool("remote"):
            pass
    finally:
        detach(token)

    assert spans.values("execute_tool remote", "tracekit.task.id") == ["t"]
    assert spans.parent(spans.one("execute_tool remote")) == "task refund"


def test_nothing_travels_unasked() -> None:
    """Without propagation there is no baggage."""
    with recorded(propagate=False), tracekit.session("s"), tracekit.task("t"):
        assert baggage.get_all(get_current()) == {}


def test_tasks_of_a_session(spans: Recording) -> None:
    """Each task has its own id, stop and outcome; what is optional says so."""
    with tracekit.session("s"), tracekit.agent("support"):
        with tracekit.task("refund", task_id="a") as task:
            assert task.id == "a"
            ask()
            task.done("success", reason="refunded", handle="ticket/7")
        with tracekit.task("survey", task_id="b", essential=False):
            ask("length")

    columns = ("task_id", "task_name", "essential", "outcome_declared")
    assert rows(spans.ledger(), "tasks", *columns) == [
        ("a", "refund", True, "success"),
        ("b", "survey", False, None),
    ]
    live = [attributes(span)["tracekit.stop.reason"] for span in spans.all() if "task" in span.name]
    assert live == rows(spans.ledger(), "tasks", "stop_reason")
    assert live == ["completed.declared", "truncated.output_limit"]


@pytest.mark.parametrize("status", DONE_STATUSES)
@pytest.mark.parametrize("kind", ["task", "agent"])
def test_declared_end(spans: Recording, status: str, kind: str) -> None:
    """A typed end, whichever it is, has the same stop in process and in the lake."""
    step = tracekit.task("t") if kind == "task" else tracekit.agent("a")
    with step:
        ask()
        tracekit.done(status)  # type: ignore[arg-type]

    ((live, recorded_stop),) = spans.stops()
    assert live == recorded_stop


def test_wrong_status() -> None:
    """A status nobody knows is a mistake of the developer, also when switched off."""
    with pytest.raises(ValueError, match="splendid"):
        tracekit.done("splendid")  # type: ignore[arg-type]


def test_current_task(spans: Recording) -> None:
    """The innermost task is the one that is signed off, also from inside an agent or a tool."""
    with tracekit.task("outer"), tracekit.agent("support"):
        with tracekit.task("inner"), tracekit.agent("helper"), tracekit.tool("finish"):
            tracekit.done("success")
        tracekit.current_task().done("failed")

    assert spans.values("task inner", "tracekit.task.status") == ["success"]
    assert spans.values("task outer", "tracekit.task.status") == ["failed"]


@pytest.mark.parametrize("code", ["limit.steps", "cancelled.user"])
def test_declared_code(spans: Recording, code: str) -> None:
    """A stop code the application knows better is taken over."""
    with tracekit.agent("support") as run:
        ask()
        run.stopped(code)

    assert spans.stops() == [(code, code)]


def test_framework_state(spans: Recording) -> None:
    """A framework's terminal state counts, and stays as it was written."""
    with tracekit.agent("support") as run:
        ask("tool_calls")
        run.framework_state("max_turns_exceeded")

    ((live, recorded_stop),) = spans.stops()
    assert live == recorded_stop
    assert row(spans.ledger(), "tasks", "stop_framework_raw") == "max_turns_exceeded"


@pytest.mark.parametrize(("passed", "outcome"), [(True, "success"), (False, "failure")])
def test_evaluation_inside(spans: Recording, passed: bool, outcome: str) -> None:
    """An evaluation that ran inside is a verified outcome."""
    with tracekit.task("t", task_id="t") as task:
        ask()
        task.evaluated("unit_tests", passed=passed, score=0.5)

    found = rows(spans.ledger(), "outcomes", "outcome", "evidence", "source", "score")
    assert found == [(outcome, "verified", "unit_tests", 0.5)]
    ((live, recorded_stop),) = spans.stops()
    assert live == recorded_stop


def test_failed_run(spans: Recording) -> None:
    """A run that raises ends with what it raised, live and in the lake."""

    @tracekit.agent
    def support() -> None:
        ask()
        raise KeyError("x")

    with pytest.raises(KeyError):
        support()

    assert spans.stops() == [("runtime.exception", "runtime.exception")]


def test_agents_in_agents(spans: Recording) -> None:
    """Only the outermost agent is judged; each span names the innermost agent."""
    with tracekit.agent("outer", agent_id="a-1", version="2", workflow="w"):
        with tracekit.agent("inner"):
            ask()
        ask()

    assert spans.values("chat gpt-4o", "gen_ai.agent.name") == ["inner", "outer"]
    assert spans.values("invoke_agent inner", "tracekit.stop.reason") == [None]
    assert spans.values("invoke_agent inner", "gen_ai.agent.name") == ["inner"]
    outer = attributes(spans.one("invoke_agent outer"))
    assert outer["gen_ai.agent.id"] == "a-1"
    assert outer["gen_ai.agent.version"] == "2"
    assert outer["gen_ai.workflow.name"] == "w"


def test_cost_of_a_task(spans: Recording) -> None:
    """A task's cost is that of its calls, live and in the lake; of unknown models it is missing."""
    with tracekit.task("t", task_id="t"):
        ask()
        ask(model="nobodys-model")

    task = attributes(spans.one("task t"))
    cost, missing = row(spans.ledger(), "tasks", "cost_usd", "cost_missing_reason")
    assert task["tracekit.cost.usd"] == pytest.approx(cost) == 0.0035
    assert task["tracekit.cost.missing_reason"] == missing == "unknown_model"


def test_off() -> None:
    """Switched off, ids are there and nothing else."""
    with tracekit.session("s") as session, tracekit.task("t") as task, tracekit.agent("a") as run:
        run.done("success")
        run.stopped("limit.steps")
        run.framework_state("x")
        task.evaluated("e", passed=True)
        tracekit.done("failed")
        assert tracekit.current_session() is None
    assert session.id == "s"
