"""Handoffs, plans, compensations, checkpoints and resumed runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from models_build import rows
from traced import Recording, attributes, context_of, hex_id, recorded

import tracekit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


def test_handoff_as_a_function(spans: Recording) -> None:
    """A handoff names the current agent as the one that hands over, and is written at once."""
    with tracekit.agent("triage"):
        tracekit.handoff("billing")
        assert spans.names() == ["handoff billing"]

    found = attributes(spans.one("handoff billing"))
    assert found["tracekit.handoff.from"] == "triage"
    assert found["tracekit.handoff.to"] == "billing"


def test_handoff_around_the_other_agent(spans: Recording) -> None:
    """What the other agent does inside belongs below the handoff."""
    billing = tracekit.agent("billing")
    with tracekit.agent("triage"), tracekit.handoff("billing", from_="desk"), billing:
        pass

    assert spans.parent(spans.one("invoke_agent billing")) == "handoff billing"
    assert spans.values("handoff billing", "tracekit.handoff.from") == ["desk"]
    assert spans.stops()[0][0] == spans.stops()[0][1] != "waiting.handoff"


def test_handoff_that_nobody_took(spans: Recording) -> None:
    """A run that ends on a handoff waits for it, live and in the lake."""
    with tracekit.agent("triage"):
        tracekit.handoff("billing")

    assert spans.stops() == [("waiting.handoff", "waiting.handoff")]


def test_plan(spans: Recording) -> None:
    """A plan is its agent's, and has versions."""
    with tracekit.agent("coder"):
        with tracekit.plan("trip", version=1):
            pass
        with tracekit.plan("trip", version=2):
            pass

    found = rows(spans.ledger(), "normalised", "operation", "plan_id", "plan_version")
    assert found == [("agent", None, None), ("plan", "trip", 1), ("plan", "trip", 2)]
    assert spans.names() == ["invoke_agent coder", "plan coder", "plan coder"]


def test_decorated_plan(spans: Recording) -> None:
    """A function that plans can be decorated, and its failure is the plan's."""

    @tracekit.plan
    def think() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        think()

    assert spans.values("plan", "error.type") == ["KeyError"]


def test_compensation_of_a_step(spans: Recording) -> None:
    """The tool called inside is linked to the step it takes back."""

    @tracekit.tool(side_effect="write")
    def refund() -> None:
        inner()

    @tracekit.tool
    def inner() -> None: ...

    with tracekit.tool("charge", side_effect="write") as charge:
        pass
    with tracekit.compensates(charge):
        refund()
    refund()

    charged = spans.one("execute_tool charge")
    taken_back, plain = spans.named("execute_tool refund")
    assert attributes(taken_back)["tracekit.compensates"] == hex_id(charged)
    assert [link.context.span_id for link in taken_back.links] == [context_of(charged).span_id]
    assert "tracekit.compensates" not in attributes(plain)
    assert spans.values("execute_tool inner", "tracekit.compensates") == [None, None]
    (found,) = rows(spans.ledger(), "normalised WHERE compensates IS NOT NULL", "link_span_id")
    assert found == hex_id(charged)


@pytest.mark.parametrize("given", ["00000000000000ff", "00000000000000FF"])
def test_compensation_of_a_span_id(spans: Recording, given: str) -> None:
    """A span id is a span of the trace we are in."""
    with tracekit.agent("support"), tracekit.compensates(given), tracekit.tool("refund"):
        pass

    span = spans.one("execute_tool refund")
    assert attributes(span)["tracekit.compensates"] == "00000000000000ff"
    (link,) = span.links
    assert link.context.span_id == 255
    assert link.context.trace_id == context_of(span).trace_id


def test_compensation_of_a_tool(spans: Recording) -> None:
    """A decorated tool can name the tool it takes back."""

    @tracekit.compensates("charge")
    @tracekit.tool
    def refund() -> str:
        return "ok"

    assert refund() == "ok"
    assert spans.values("execute_tool refund", "tracekit.compensates") == ["charge"]


def test_checkpoint_and_resume(spans: Recording) -> None:
    """What happens in a resumed run says of what, also spans of others."""
    with tracekit.agent("coder"):
        tracekit.checkpoint("c-1", step_index=3)
    resumed = tracekit.resume("c-1", step_index=3, replayed=True)
    with tracekit.session("s"), resumed, tracekit.agent("coder"), tracekit.tool("read"):
        pass
    with tracekit.resume("c-1"), tracekit.tool("write"):
        pass

    assert spans.values("checkpoint", "tracekit.checkpoint.id") == ["c-1"]
    assert spans.values("checkpoint", "tracekit.step.index") == [3]
    assert spans.values("resume", "tracekit.step.index") == [3, None]
    assert spans.values("execute_tool read", "tracekit.resume.of") == ["c-1"]
    assert spans.values("execute_tool read", "tracekit.replayed") == [True]
    assert spans.values("execute_tool read", "tracekit.session.id") == ["s"]
    assert spans.values("execute_tool write", "tracekit.replayed") == [None]
    assert spans.values("invoke_agent coder", "tracekit.resume.of") == [None, "c-1"]


def test_decorators_are_used_again(spans: Recording) -> None:
    """One compensation marks every call of the function it decorates."""

    @tracekit.compensates("charge")
    @tracekit.tool
    def refund() -> None: ...

    refund()
    refund()

    assert spans.values("execute_tool refund", "tracekit.compensates") == ["charge", "charge"]


def test_off() -> None:
    """Switched off, nothing happens."""
    with tracekit.handoff("billing"), tracekit.plan("p"), tracekit.resume("r"):
        tracekit.checkpoint("c")
    with tracekit.tool("charge") as charge:
        pass
    with tracekit.compensates(charge):
        assert tracekit.tool("refund")(lambda: 1)() == 1
