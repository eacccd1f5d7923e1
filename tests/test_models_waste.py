"""Waste: one reason per model call that did not help, and the near misses of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from models_build import AGENT, LLM, TOOL, USED, ledger, row, rows
from otlp_build import span

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

ROOT = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "c"}, end=100)
PRICE = 0.0035


def step(attributes: dict[str, Any], at: float, end: float | None = None, **more: Any) -> Span:
    """Return a span of one second under the root, or one that ends later."""
    return span(
        "s", attributes, **({"parent": ROOT} | more), start=at, end=at + 1 if end is None else end
    )


def tool(at: float, arguments: str = "a", result: str | None = "r", **more: Any) -> Span:
    keys = {"gen_ai.tool.call.arguments": arguments, "gen_ai.tool.call.result": result}
    named = TOOL | {key: value for key, value in keys.items() if value is not None}
    return step(named | more.pop("keys", {}), at, **more)


def reasons(*spans: Span) -> list[str | None]:
    """Return the waste reason of each model call."""
    con = ledger(ROOT, *spans)
    return [
        reason for reason, billable in rows(con, "spans", "waste_reason", "billable") if billable
    ]


def test_a_failed_attempt_is_wasted_whether_retried_or_not() -> None:
    """What the failed attempts cost is wasted, the attempt that worked is not."""
    con = ledger(
        ROOT,
        step(USED, 1, status="error"),
        step(USED, 3),
        step(USED, 9, status="error"),
    )
    found = rows(con, "attempts", "waste_reason")
    assert found == ["failed_attempt", None, "failed_attempt"]
    columns = ("cost_usd", "wasted_cost_usd", "wasted_failed_attempt_usd", "wasted_duplicate_usd")
    assert row(con, "sessions", *columns) == pytest.approx((3 * PRICE, 2 * PRICE, 2 * PRICE, 0))


CANCELLED = LLM | {"error.type": "asyncio.CancelledError"}
WASTED, FAILED = "cancelled_sibling", "failed_attempt"


@pytest.mark.parametrize(
    ("winner", "expected"),
    [
        (step(USED, 2, 4), [WASTED, None]),
        (step(USED, 2, 4, status="error"), [FAILED, FAILED]),
        (step(USED, 6, 7), [FAILED, None]),
        (step(USED, 2, 4, parent=b"another1"), [FAILED, None]),
    ],
    ids=["won", "failed too", "not in parallel", "other parent"],
)
def test_a_call_cancelled_for_a_sibling(winner: Span, expected: list[str]) -> None:
    """A cancelled call is a lost race only where a call beside it succeeded."""
    assert reasons(step(CANCELLED, 1, 5, status="error"), winner) == expected


def test_another_error_beside_a_success_is_a_failure() -> None:
    """Only a cancelled call lost a race."""
    error = LLM | {"error.type": "RateLimitError"}
    assert reasons(step(error, 1, 5, status="error"), step(USED, 2, 4)) == [FAILED, None]


DONE = TOOL | {"tracekit.done.status": "ok"}


def test_calls_after_the_task_was_done_are_wasted() -> None:
    """A call that starts after the done tool ended is; one that was under way is not."""
    found = reasons(step(USED, 1), step(DONE, 3), step(USED, 3.5, 9), step(USED, 5))
    assert found == [None, None, "after_done"]


def test_a_failed_call_after_the_end_is_a_failure_first() -> None:
    """A span has one reason."""
    assert reasons(step(DONE, 1), step(USED, 3, status="error")) == [FAILED]


def test_the_next_turn_of_a_conversation_is_not_after_its_end() -> None:
    """Without a declared task, being done holds for the trace of the turn."""
    turn = {"gen_ai.conversation.id": "c"}
    assert reasons(step(DONE, 1), span("chat", USED | turn, trace=2, start=50, end=51)) == [None]


def test_a_declared_task_is_done_in_all_of_its_traces() -> None:
    """With a declared task, a later trace of it comes after its end."""
    done = DONE | {"tracekit.task.id": "t"}
    late = USED | {"gen_ai.conversation.id": "c", "tracekit.task.id": "t"}
    assert reasons(step(done, 1), span("chat", late, trace=2, start=50, end=51)) == ["after_done"]


def test_another_task_goes_on() -> None:
    """The end of one task is not the end of the next."""
    found = reasons(
        step(DONE | {"tracekit.task.id": "t"}, 1), step(USED | {"tracekit.task.id": "u"}, 3)
    )
    assert found == [None]


def test_a_status_of_an_early_step_does_not_end_the_task() -> None:
    """Of several statuses the last one to end is the task's."""
    status = {"tracekit.operation": "task", "tracekit.task.status": "success"}
    assert reasons(step(status, 1), step(USED, 3), step(status, 5), step(USED, 7)) == [
        None,
        "after_done",
    ]


def test_a_call_that_only_repeats_finished_work_is_a_duplicate() -> None:
    """The same tool, arguments and result again: the call that led to it was for nothing."""
    assert reasons(step(USED, 1), tool(2), step(USED, 4), tool(5), step(USED, 7)) == [
        None,
        "duplicate",
        None,
    ]


@pytest.mark.parametrize(
    "second",
    [
        [tool(5, arguments="other")],
        [tool(5, result="other")],
        [tool(5, keys={"gen_ai.tool.name": "other"})],
        [tool(5), tool(5.5, arguments="new")],
        [],
    ],
    ids=["arguments", "result", "tool", "one new call", "no call"],
)
def test_a_call_with_any_new_work_is_no_duplicate(second: list[Span]) -> None:
    """One tool call that differs is enough, and a call without tool calls repeats nothing."""
    assert reasons(step(USED, 1), tool(2), step(USED, 4), *second) == [None, None]


def test_without_results_nothing_is_known_to_repeat() -> None:
    """Equal arguments alone may have given different results."""
    found = reasons(step(USED, 1), tool(2, result=None), step(USED, 4), tool(5, result=None))
    assert found == [None, None]


def test_two_calls_of_one_answer_do_not_repeat_each_other() -> None:
    """Calls in parallel, or one inside the other, are not work that was finished before."""
    assert reasons(step(USED, 1), tool(2, end=5), tool(3, end=4)) == [None]
    assert reasons(step(USED, 1), tool(2, end=2), tool(2, end=2)) == [None]


def test_a_tool_call_belongs_to_the_latest_call_of_its_agent() -> None:
    """An agent that works beside another is blamed for its own tool calls only."""
    a, b = ({"gen_ai.agent.name": name} for name in "ab")
    found = reasons(
        step(USED | a, 1), tool(2, keys=a), step(USED | a, 4), step(USED | b, 4.5), tool(5, keys=a)
    )
    assert found == [None, "duplicate", None]
