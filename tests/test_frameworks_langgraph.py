"""LangGraph against a scripted provider: how its runs end, and what they did."""

from __future__ import annotations

import asyncio
import operator
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from framework_build import MODEL, Play, asks, limited, playing, refuses, says
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt
from openai import RateLimitError
from opentelemetry import trace
from pydantic import SecretStr

import tracekit.instrumentation.agents as ours
from tracekit.instrumentation.frameworks.runs import Run
from tracekit.instrumentation.tools import ToolStep

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION = {"messages": [("user", "What is the weather?")]}


@tool
def weather(city: str) -> str:
    """Return the weather in a city."""
    if city == "Atlantis":
        raise LookupError("no station")
    return f"4 degrees in {city}"


@tool
def confirm(question: str) -> str:
    """Ask a person."""
    return str(interrupt(question))


def chat(play: Play, retries: int = 0) -> ChatOpenAI:
    """Return the model."""
    key = SecretStr("none")
    return ChatOpenAI(model=MODEL, base_url=play.url, api_key=key, max_retries=retries)


def agent(play: Play, *, name: str | None = "assistant", retries: int = 0, **options: Any) -> Any:
    """Return a graph of a model node and a tool node, as LangGraph's guide builds one."""
    model = chat(play, retries).bind_tools([weather, confirm])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node(
        "tools", ToolNode([weather, confirm], handle_tool_errors=options.pop("handle", True))
    )
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(name=name, **options)


def test_a_run_is_one_agent_with_its_model_and_tool_calls() -> None:
    """A run of a graph is one agent's span over its model calls and tool calls, each there once."""
    with playing(
        "langgraph",
        asks(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})),
        says("4 degrees"),
    ) as play:
        result = agent(play).invoke(QUESTION)
    assert result["messages"][-1].content == "4 degrees"
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == ("completed.unverified", "done")
    assert (session.agent_name, session.model) == ("assistant", MODEL)
    assert (session.llm_calls, session.tool_calls, session.tool_errors) == (2, 2, 0)
    assert (session.input_tokens, session.output_tokens) == (200, 40)
    assert session.cost_usd == pytest.approx(200 * 0.15e-6 + 40 * 0.6e-6)
    assert len(play.of("invoke_agent")) == 1
    assert len({span["tracekit.tool.arguments_hash"] for span in play.of("execute_tool")}) == 2
    assert all(span["gen_ai.agent.name"] == "assistant" for span in play.of("chat"))


def test_an_async_run_is_the_same() -> None:
    """Async runs say the same: what was called, and that it waits for a person."""

    async def twice(play: Play) -> None:
        thread = {"configurable": {"thread_id": "thread-7"}}
        graph = agent(play, checkpointer=InMemorySaver())
        await graph.ainvoke(QUESTION, thread)
        async for _ in graph.astream(QUESTION, thread):
            pass

    replies = asks(("weather", {"city": "Oslo"})), says("4 degrees")
    with playing("langgraph", *replies, asks(("confirm", {"question": "Sure?"}))) as play:
        asyncio.run(twice(play))
    (session,) = play.sessions()
    assert (session.session_id, session.llm_calls, session.tool_calls) == ("thread-7", 3, 2)
    assert (session.stop_reason, session.stop_framework_raw) == ("waiting.human_input", "interrupt")


def test_a_failure_of_ours_changes_nothing_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tracekit fails the run goes on without it, and the failure is counted."""

    def broken(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(Run, "_start", broken)
    monkeypatch.setattr(ToolStep, "closing", broken)
    with playing("langgraph", asks(("weather", {"city": "Oslo"})), says("4 degrees")) as play:
        result = agent(play).invoke(QUESTION)
    assert result["messages"][-1].content == "4 degrees"
    assert play.lost == {"tracekit.drop.internal_error": 2}


def test_a_graph_out_of_steps_stops_by_its_limit() -> None:
    """The recursion limit ends a run as a step limit, with the exception as LangGraph's word."""
    replies = [asks(("weather", {"city": f"City {number}"})) for number in range(5)]
    with playing("langgraph", *replies) as play, pytest.raises(GraphRecursionError):
        agent(play).invoke(QUESTION, {"recursion_limit": 5})
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == (
        "limit.steps",
        "GraphRecursionError",
    )
    assert play.root()["error.type"] == "langgraph.errors.GraphRecursionError"


def test_a_tool_that_fails_and_is_answered_for_is_a_failed_tool_call() -> None:
    """An error the tool node tells the model is an error of the tool call, not of the run."""
    with playing(
        "langgraph",
        asks(("weather", {"city": "Atlantis"})),
        asks(("weather", {"city": "Oslo"})),
        says("There is no station in Atlantis, but one in Oslo."),
    ) as play:
        agent(play).invoke(QUESTION)
    session = play.session()
    assert (session.stop_reason, session.tool_errors) == ("completed.unverified", 1)
    assert session.stop_contributing == "tool.error_unrecovered"
    assert play.of("execute_tool")[0]["error.type"] == "LookupError"


def test_a_tool_that_ends_the_run_is_what_it_stopped_for() -> None:
    """An error of a tool that nobody handles ends the run as an unrecovered tool error."""
    with (
        playing("langgraph", asks(("weather", {"city": "Atlantis"}))) as play,
        pytest.raises(LookupError),
    ):
        agent(play, handle=False).invoke(QUESTION)
    assert play.session().stop_reason == "tool.error_unrecovered"


def test_an_interrupt_waits_for_a_person_until_the_graph_is_resumed() -> None:
    """An interrupt is no error: the run waits, and its thread's session goes on with the resume."""
    thread = {"configurable": {"thread_id": "thread-7"}}
    with playing(
        "langgraph", asks(("confirm", {"question": "Sure?"})), says("Then I will.")
    ) as play:
        graph = agent(play, checkpointer=InMemorySaver())
        graph.invoke(QUESTION, thread)
        waiting = play.session()
        graph.invoke(Command(resume="yes"), thread)
    assert (waiting.stop_reason, waiting.stop_framework_raw) == ("waiting.human_input", "interrupt")
    assert (waiting.session_id, waiting.approvals, waiting.tool_errors) == ("thread-7", 1, 0)
    assert play.of("execute_tool")[0]["tracekit.tool.status"] == "pending"
    (session,) = play.sessions()
    assert (session.stop_reason, session.session_id) == ("completed.unverified", "thread-7")


def test_a_breakpoint_waits_too() -> None:
    """A graph that stands before a node says so in LangGraph's own word."""
    with playing("langgraph", asks(("weather", {"city": "Oslo"}))) as play:
        graph = agent(play, checkpointer=InMemorySaver(), interrupt_before=["tools"])
        graph.invoke(QUESTION, {"configurable": {"thread_id": "t"}})
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == (
        "waiting.human_input",
        "interrupt_before",
    )


def test_a_refusal_is_the_models_own() -> None:
    """A refusal of the model ends a run that ended well as a refusal."""
    with playing("langgraph", refuses("I cannot help with that.")) as play:
        agent(play).invoke(QUESTION)
    assert play.session().stop_reason == "policy.model_refusal"


def test_a_rate_limit_that_lasts_is_the_providers() -> None:
    """A rate limit that outlasts the client's retries ends the run as one, its attempts visible."""
    with playing("langgraph", limited(), limited()) as play, pytest.raises(RateLimitError):
        agent(play, retries=1).invoke(QUESTION)
    session = play.session()
    assert (session.stop_reason, session.llm_calls) == ("provider.rate_limited", 2)


@pytest.mark.parametrize("leave", ["break", "close"])
def test_a_stream_nobody_reads_to_its_end_is_left_by_the_caller(leave: str) -> None:
    """A stream that is closed or abandoned ends its run, as one its caller left."""
    with playing("langgraph", asks(("weather", {"city": "Oslo"})), says("unread")) as play:
        stream = agent(play).stream(QUESTION, stream_mode="updates")
        assert "model" in next(stream)
        if leave == "close":
            stream.close()
        del stream
    assert play.session().stop_reason == "cancelled.caller"


def test_an_async_run_that_is_cancelled_is_cancelled_by_its_caller() -> None:
    """Cancelling the task of a run ends it as cancelled, whatever it was doing."""
    entered = asyncio.Event()

    @tool
    async def endless(city: str) -> str:
        """Take for ever."""
        entered.set()
        await asyncio.Event().wait()
        return city

    async def play_it(play: Play) -> None:
        model = chat(play).bind_tools([endless])

        async def answer(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await model.ainvoke(state["messages"])]}

        graph: Any = StateGraph(MessagesState)
        graph.add_node("model", answer)
        graph.add_node("tools", ToolNode([endless]))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition)
        task = asyncio.create_task(graph.compile().ainvoke(QUESTION))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with playing("langgraph", asks(("endless", {"city": "Oslo"}))) as play:
        asyncio.run(play_it(play))
    session = play.session()
    assert (session.stop_reason, session.tool_calls) == ("cancelled.caller", 1)


class Numbers(TypedDict):
    """State of a graph without a model."""

    seen: Annotated[list[int], operator.add]


def counting(name: str | None, step: Callable[[Numbers], dict[str, list[int]]]) -> Any:
    """Return a graph of one node."""
    graph: Any = StateGraph(Numbers)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    return graph.compile(name=name)


def test_a_subgraph_is_part_of_the_run_unless_it_has_a_name() -> None:
    """A subgraph's run is the graph's own; one with another name is an agent inside it."""

    def one(state: Numbers) -> dict[str, list[int]]:
        return {"seen": [len(state["seen"])]}

    nameless, named = counting(None, one), counting("counter", one)

    def both(state: Numbers) -> dict[str, list[int]]:
        return {"seen": [*nameless.invoke(state)["seen"], *named.invoke(state)["seen"]]}

    with playing("langgraph") as play:
        counting("outer", both).invoke({"seen": []})
    names = [span["name"] for span in play.of("invoke_agent")]
    assert names == ["invoke_agent outer", "invoke_agent counter"]


@pytest.mark.parametrize("name", ["inner", None])
def test_a_subgraph_that_interrupts_has_not_failed(name: str | None) -> None:
    """An interrupt inside a subgraph makes the graph around it wait, and is nobody's error."""
    inner = counting(name, lambda _: {"seen": [len(interrupt("Sure?"))]})
    graph: Any = StateGraph(Numbers)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    with playing("langgraph") as play:
        compiled = graph.compile(name="outer", checkpointer=InMemorySaver())
        compiled.invoke({"seen": []}, {"configurable": {"thread_id": "t"}})
    assert play.session().stop_reason == "waiting.human_input"
    assert not any("error.type" in span for span in play.of("invoke_agent"))


@pytest.mark.parametrize("name", ["support", None])
def test_an_agent_the_application_traces_is_not_doubled(name: str | None) -> None:
    """Inside a span the application made for the agent, the run adds to that span."""
    with playing("langgraph", says("Hello.")) as play:

        @ours.agent
        def support() -> object:
            return agent(play, name=name).invoke(QUESTION)

        support()
    assert len(play.of("invoke_agent")) == 1
    session = play.session()
    assert (session.agent_name, session.stop_framework_raw) == ("support", "done")


@pytest.mark.parametrize("name", ["support", None])
def test_the_span_of_another_instrumentation_is_not_doubled(name: str | None) -> None:
    """Inside a span another instrumentation made for the agent, the run adds what that lacks."""
    known = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}
    thread = {"configurable": {"thread_id": "thread-7"}}
    with playing("langgraph", asks(("weather", {"city": "Oslo"})), says("Hello.")) as play:
        tracer = trace.get_tracer("another")
        with tracer.start_as_current_span("invoke_agent support", attributes=known):
            agent(play, name=name).invoke(QUESTION, thread)
    assert [span["name"] for span in play.of("invoke_agent")] == ["invoke_agent support"]
    session = play.session()
    assert (session.session_id, session.stop_framework_raw) == ("thread-7", "done")
    assert play.root()["tracekit.stop.reason"] == "completed.unverified"


def test_a_run_of_another_agent_is_inside() -> None:
    """Where the agent around a run has another name, the run is an agent of its own inside."""
    with playing("langgraph", says("Hello.")) as play, ours.agent("desk"):
        agent(play, name="support").invoke(QUESTION)
    names = [span["name"] for span in play.of("invoke_agent")]
    assert names == ["invoke_agent desk", "invoke_agent support"]


def test_a_graph_runs_as_before_once_it_is_no_longer_instrumented() -> None:
    """What was hooked is put back, and nothing is written any more."""
    with playing("langgraph") as play:
        pass
    graph = counting(None, lambda _: {"seen": [1]})
    assert graph.invoke({"seen": []}) == {"seen": [1]}
    assert play.spans == []
