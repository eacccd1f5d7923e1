"""OpenAI Agents against a scripted provider: how its runs end, and what they did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelRefusalError,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from framework_build import MODEL, Play, asks, limited, playing, refuses, says
from openai import AsyncOpenAI, RateLimitError

import tracekit.instrumentation.agents as ours
from tracekit.testing.provider import json_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = "What is the weather?"


@pytest.fixture(autouse=True)
def _no_upload() -> Iterator[None]:
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@function_tool
def weather(city: str) -> str:
    """Return the weather in a city."""
    if city == "Atlantis":
        raise LookupError("no station")
    return f"4 degrees in {city}"


def agent(play: Play, name: str = "assistant", *, retries: int = 0, **options: Any) -> Agent[Any]:
    """Return an agent with a tool."""
    client = AsyncOpenAI(base_url=play.url, api_key="none", max_retries=retries)
    model = OpenAIChatCompletionsModel(MODEL, client)
    return Agent(name=name, model=model, **{"tools": [weather], **options})


async def streamed(*args: Any, **kwargs: Any) -> Any:
    """Run an agent as a stream, read to its end."""
    result = Runner.run_streamed(*args, **kwargs)
    async for _ in result.stream_events():
        pass
    return result


def run(way: str, *args: Any, **kwargs: Any) -> Any:
    """Run an agent in one of the SDK's ways."""
    if way == "sync":
        try:
            return Runner.run_sync(*args, **kwargs)
        finally:  # the SDK keeps the loop for the next time
            asyncio.get_event_loop_policy().get_event_loop().close()
            asyncio.set_event_loop(None)
    return asyncio.run((Runner.run if way == "async" else streamed)(*args, **kwargs))


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_run_is_one_agent_with_its_model_and_tool_calls(way: str) -> None:
    """A run is one agent's span over its model calls and tool calls, each there once."""
    with playing(
        "openai_agents",
        asks(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})),
        says("4 degrees"),
    ) as play:
        result = run(way, agent(play), QUESTION)
    assert result.final_output == "4 degrees"
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == ("completed.unverified", None)
    assert (session.agent_name, session.model) == ("assistant", MODEL)
    assert (session.llm_calls, session.tool_calls, session.tool_errors) == (2, 2, 0)
    assert (session.input_tokens, session.output_tokens) == (200, 40)
    assert session.cost_usd == pytest.approx(200 * 0.15e-6 + 40 * 0.6e-6)
    assert len(play.of("invoke_agent")) == 1
    assert len({span["tracekit.tool.arguments_hash"] for span in play.of("execute_tool")}) == 2
    assert all(span["gen_ai.tool.call.id"] for span in play.of("execute_tool"))


@pytest.mark.parametrize("way", ["async", "stream"])
def test_too_many_turns_are_a_step_limit(way: str) -> None:
    """The limit of turns ends a run as a step limit, however the run is read."""
    replies = [asks(("weather", {"city": f"C{n}"}), stream=way == "stream") for n in range(3)]
    with playing("openai_agents", *replies) as play, pytest.raises(MaxTurnsExceeded):
        run(way, agent(play), QUESTION, max_turns=2)
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == ("limit.steps", "MaxTurnsExceeded")
    assert play.root()["error.type"] == "agents.exceptions.MaxTurnsExceeded"


def test_a_streamed_run_ends_with_its_background_task() -> None:
    """A run that is streamed lasts until its loop has ended, its calls inside."""
    replies = asks(("weather", {"city": "Oslo"}), stream=True), says("4 degrees", stream=True)
    with playing("openai_agents", *replies) as play:
        result = run("stream", agent(play), QUESTION)
    assert result.final_output == "4 degrees"
    session = play.session()
    assert (session.stop_reason, session.llm_calls, session.tool_calls) == (
        "completed.unverified",
        2,
        1,
    )
    assert session.input_tokens == 200


def test_a_streamed_run_that_is_cancelled_says_so() -> None:
    """Cancelling a streamed run ends it as cancelled, though nobody reads on."""

    async def left(play: Play) -> None:
        result = Runner.run_streamed(agent(play), QUESTION)
        async for _ in result.stream_events():
            result.cancel()

    replies = asks(("weather", {"city": "Oslo"}), stream=True), says("unread", stream=True)
    with playing("openai_agents", *replies) as play:
        asyncio.run(left(play))
    assert play.session().stop_reason == "cancelled.caller"


def test_a_tool_whose_error_the_model_is_told_has_failed() -> None:
    """The SDK tells the model of a tool's exception; the tool call still says which it was."""
    with playing(
        "openai_agents",
        asks(("weather", {"city": "Atlantis"})),
        asks(("weather", {"city": "Oslo"})),
        says("There is no station in Atlantis, but one in Oslo."),
    ) as play:
        run("async", agent(play), QUESTION)
    session = play.session()
    assert (session.stop_reason, session.tool_errors) == ("completed.unverified", 1)
    assert play.of("execute_tool")[0]["error.type"] == "LookupError"


def test_a_tool_that_takes_too_long_has_timed_out() -> None:
    """A time-out the SDK answers for the tool is the tool call's time-out."""

    @function_tool(timeout=0.001)
    async def endless() -> str:
        """Take for ever."""
        await asyncio.Event().wait()
        return ""

    with playing("openai_agents", asks(("endless", {})), says("It takes too long.")) as play:
        run("async", agent(play, tools=[endless]), QUESTION)
    assert play.of("execute_tool")[0]["error.type"] == "ToolTimeoutError"
    assert play.session().stop_reason == "tool.timeout"


def test_a_tool_that_ends_the_run_is_what_it_stopped_for() -> None:
    """An exception of a tool that nobody turns into an answer ends the run."""

    @function_tool(failure_error_function=None)
    def broken() -> str:
        """Fail."""
        raise LookupError("no station")

    with (
        playing("openai_agents", asks(("broken", {}))) as play,
        pytest.raises(Exception, match="sta"),
    ):
        run("async", agent(play, tools=[broken]), QUESTION)
    assert play.session().stop_reason == "tool.error_unrecovered"


async def _no_questions(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


@pytest.mark.parametrize("way", ["async", "stream"])
def test_a_guardrail_that_trips_is_a_policy_and_its_span_failed(way: str) -> None:
    """A tripped guardrail ends a run as a policy."""
    guardrail = InputGuardrail(_no_questions, name="no questions", run_in_parallel=False)
    with playing("openai_agents") as play, pytest.raises(InputGuardrailTripwireTriggered):
        run(way, agent(play, input_guardrails=[guardrail]), QUESTION)
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == (
        "policy.guardrail",
        "InputGuardrailTripwireTriggered",
    )
    (check,) = play.of("guardrail")
    assert (check["name"], check["error.type"]) == (
        "guardrail no questions",
        "GuardrailTripwireTriggered",
    )


@pytest.mark.parametrize("is_traced", [True, False])
def test_a_handoff_is_part_of_the_run_and_names_both_agents(is_traced: bool) -> None:
    """A handoff is written whether the SDK traces or not, and what follows is the new agent's."""
    set_tracing_disabled(not is_traced)
    with playing("openai_agents", asks(("transfer_to_billing", {})), says("Paid.")) as play:
        billing = agent(play, "billing")
        result = run("async", agent(play, "triage", handoffs=[billing]), QUESTION)
        set_tracing_disabled(True)
    assert result.last_agent is billing
    session = play.session()
    assert (session.stop_reason, session.handoffs) == ("completed.unverified", 1)
    (handoff,) = play.of("handoff")
    assert handoff["tracekit.handoff.from"] == "triage"
    assert handoff["tracekit.handoff.to"] == "billing"
    assert [span["gen_ai.agent.name"] for span in play.of("chat")] == ["triage", "billing"]
    assert (session.agent_name, len(play.of("invoke_agent"))) == ("triage", 1)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_tool_that_needs_approval_waits_and_goes_on(decision: str) -> None:
    """A run that waits for approval says so; what was decided is written when it goes on."""

    @function_tool(needs_approval=True)
    def refund() -> str:
        """Pay back."""
        return "paid"

    with playing("openai_agents", asks(("refund", {})), says("Done.")) as play:
        cashier = agent(play, tools=[refund])
        memory = SQLiteSession("chat-7")
        result = run("async", cashier, QUESTION, session=memory)
        waiting = play.session()
        state = result.to_state()
        getattr(state, decision)(result.interruptions[0])
        run("async", cashier, state, session=memory)
        memory.close()
    assert (waiting.stop_reason, waiting.stop_framework_raw) == (
        "waiting.human_input",
        "interruptions",
    )
    assert (waiting.session_id, waiting.approvals, waiting.tool_calls) == ("chat-7", 1, 0)
    (session,) = play.sessions()
    assert session.session_id == "chat-7"
    statuses = [span["tracekit.approval.status"] for span in play.of("approval")]
    assert statuses == ["requested", "approved" if decision == "approve" else "denied"]
    assert session.tool_calls == (1 if decision == "approve" else 0)


def test_a_refusal_is_the_models_own() -> None:
    """A refusal of the model ends the run as a refusal."""
    reply = refuses("I cannot help with that.")
    with playing("openai_agents", reply) as play, pytest.raises(ModelRefusalError):
        run("async", agent(play, output_type=int), QUESTION)
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == (
        "policy.model_refusal",
        "ModelRefusalError",
    )


def test_a_rate_limit_that_lasts_is_the_providers() -> None:
    """A rate limit that outlasts the client's retries ends the run as one, its attempts visible."""
    with playing("openai_agents", limited(), limited()) as play, pytest.raises(RateLimitError):
        run("async", agent(play, retries=1), QUESTION)
    session = play.session()
    assert (session.stop_reason, session.llm_calls) == ("provider.rate_limited", 2)
    assert session.stop_framework_raw is None


def test_a_run_that_is_cancelled_is_cancelled_by_its_caller() -> None:
    """Cancelling the task of a run ends it as cancelled, whatever it was doing."""
    entered = asyncio.Event()

    @function_tool
    async def endless() -> str:
        """Take for ever."""
        entered.set()
        await asyncio.Event().wait()
        return ""

    async def cancelled(play: Play) -> None:
        task = asyncio.create_task(Runner.run(agent(play, tools=[endless]), QUESTION))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with playing("openai_agents", asks(("endless", {}))) as play:
        asyncio.run(cancelled(play))
    assert play.session().stop_reason == "cancelled.caller"


def test_an_agent_that_is_a_tool_is_an_agent_inside_the_tool_call() -> None:
    """An agent used as a tool runs below the tool call, in the session of the run around it."""
    with playing(
        "openai_agents", asks(("ask", {"input": "?"})), says("Inner."), says("Outer.")
    ) as play:
        inner = agent(play, "inner", tools=[]).as_tool("ask", "Ask")
        run("async", agent(play, tools=[inner]), QUESTION, run_config=RunConfig(group_id="g-1"))
    session = play.session()
    assert (session.session_id, session.agent_name, session.llm_calls) == ("g-1", "assistant", 3)
    assert [span["name"] for span in play.of("invoke_agent")] == [
        "invoke_agent assistant",
        "invoke_agent inner",
    ]
    inner_span = next(span for span in play.spans if span.name == "invoke_agent inner")
    tool_span = next(span for span in play.spans if span.name == "execute_tool ask")
    assert inner_span.parent is not None
    assert inner_span.parent.span_id == tool_span.context.span_id


def test_the_responses_api_is_the_same() -> None:
    """The SDK's own choice of API says the same as chat completions."""
    used: dict[str, Any] = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    used |= {"input_tokens_details": {"cached_tokens": 0}}
    used |= {"output_tokens_details": {"reasoning_tokens": 0}}
    known = {"object": "response", "created_at": 1, "model": MODEL, "status": "completed"}
    known |= {"usage": used, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    call = {"type": "function_call", "id": "fc", "call_id": "c", "status": "completed"}
    call |= {"name": "weather", "arguments": '{"city": "Oslo"}'}
    text = {"type": "output_text", "text": "4 degrees", "annotations": []}
    said: dict[str, Any] = {"type": "message", "id": "m", "role": "assistant"}
    said |= {"status": "completed"}
    said |= {"content": [text]}
    leave = {"connection": "close"}
    replies = [
        json_reply({**known, "id": f"resp_{number}", "output": [item]}, headers=leave)
        for number, item in enumerate([call, said])
    ]
    with playing("openai_agents", *replies) as play:
        client = AsyncOpenAI(base_url=play.url, api_key="none", max_retries=0)
        model = OpenAIResponsesModel(MODEL, client)
        result = run("async", Agent(name="assistant", model=model, tools=[weather]), QUESTION)
    assert result.final_output == "4 degrees"
    session = play.session()
    assert (session.stop_reason, session.llm_calls, session.tool_calls) == (
        "completed.unverified",
        2,
        1,
    )
    assert (session.input_tokens, session.output_tokens) == (200, 40)


def test_an_agent_the_application_traces_is_not_doubled() -> None:
    """Inside a span the application made for the agent, the run adds to that span."""
    with (
        playing("openai_agents", asks(("weather", {"city": "Oslo"}))) as play,
        pytest.raises(MaxTurnsExceeded),
        ours.agent("support"),
    ):
        run("sync", agent(play, "support"), QUESTION, max_turns=1)
    assert len(play.of("invoke_agent")) == 1
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == ("limit.steps", "MaxTurnsExceeded")
