"""pydantic-ai against a scripted provider: how its runs end, and what they did."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from framework_build import MODEL, Play, asks, limited, playing, refuses, says
from openai import AsyncOpenAI
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelRetry,
    Tool,
    UsageLimitExceeded,
    UsageLimits,
)
from pydantic_ai.exceptions import (
    ModelHTTPError,
    RunCancelled,
    RunTimedOut,
    UnexpectedModelBehavior,
)
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import tracekit.instrumentation.agents as ours

QUESTION = "What is the weather?"


def weather(city: str) -> str:
    """Return the weather in a city."""
    if city == "Atlantis":
        raise LookupError("no station")
    if city == "Paris":
        raise ModelRetry("Which one?")
    return f"4 degrees in {city}"


def agent(play: Play, name: str = "assistant", *, retries: int = 0, **options: Any) -> Any:
    """Return an agent with a tool."""
    client = AsyncOpenAI(base_url=play.url, api_key="none", max_retries=retries)
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
    return Agent(model, name=name, **{"tools": [weather], **options})


@pytest.mark.parametrize("is_instrumented", [False, True])
def test_a_run_is_one_agent_with_its_model_and_tool_calls(is_instrumented: bool) -> None:
    """A run is one agent's span over its calls, each there once, whoever made the spans."""
    with playing(
        "pydantic_ai",
        asks(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})),
        says("4 degrees"),
    ) as play:
        mine = agent(play)
        mine.instrument = is_instrumented
        result = asyncio.run(mine.run(QUESTION, conversation_id="chat-7"))
    assert result.output == "4 degrees"
    session = play.session()
    assert (session.session_id, session.stop_reason) == ("chat-7", "completed.unverified")
    assert (session.agent_name, session.model) == ("assistant", MODEL)
    assert (session.llm_calls, session.tool_calls, session.tool_errors) == (2, 2, 0)
    assert (session.input_tokens, session.output_tokens) == (200, 40)
    assert session.cost_usd == pytest.approx(200 * 0.15e-6 + 40 * 0.6e-6)
    assert [len(play.of(kind)) for kind in ("invoke_agent", "chat", "execute_tool")] == [1, 2, 2]
    assert len({span["tracekit.tool.arguments_hash"] for span in play.of("execute_tool")}) == 2
    assert play.root()["tracekit.stop.reason"] == "completed.unverified"


async def streamed(mine: Agent[Any]) -> None:
    """Read a run as a stream."""
    async with mine.run_stream(QUESTION) as stream:
        async for _ in stream.stream_text():
            pass


async def stepped(mine: Agent[Any]) -> None:
    """Walk through the nodes of a run."""
    async with mine.iter(QUESTION) as run:
        async for _ in run:
            pass


@pytest.mark.parametrize("way", ["stream", "iter"])
def test_every_way_to_run_an_agent_is_a_run(way: str) -> None:
    """Streams and walks are runs too, with what happens inside."""
    stream = way == "stream"
    replies = asks(("weather", {"city": "Oslo"}), stream=stream), says("4 degrees", stream=stream)
    with playing("pydantic_ai", *replies) as play:
        asyncio.run((streamed if stream else stepped)(agent(play)))
    session = play.session()
    assert (session.stop_reason, session.llm_calls, session.tool_calls) == (
        "completed.unverified",
        2,
        1,
    )
    assert len(play.of("invoke_agent")) == 1


def test_a_run_left_in_the_middle_is_cancelled() -> None:
    """Walking away from a run ends it as cancelled."""

    async def left(play: Play) -> None:
        async with agent(play).iter(QUESTION) as run:
            async for node in run:
                if "CallTools" in type(node).__name__:
                    break

    with playing("pydantic_ai", asks(("weather", {"city": "Oslo"}))) as play:
        asyncio.run(left(play))
    assert play.session().stop_reason == "cancelled.caller"


def test_the_limit_of_requests_is_a_step_limit() -> None:
    """The usage limit ends a run as a limit, with the exception as pydantic-ai's word."""
    replies = [asks(("weather", {"city": f"C{number}"})) for number in range(3)]
    with playing("pydantic_ai", *replies) as play, pytest.raises(UsageLimitExceeded):
        asyncio.run(agent(play).run(QUESTION, usage_limits=UsageLimits(request_limit=2)))
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == (
        "limit.steps",
        "UsageLimitExceeded",
    )


def test_tools_that_fail_are_told_apart() -> None:
    """A tool that asks the model to try again, and arguments that do not fit, are failed calls."""
    with playing(
        "pydantic_ai",
        asks(("weather", {"city": "Paris"})),
        asks(("weather", {"town": "Oslo"})),
        asks(("weather", {"city": "Oslo"})),
        says("4 degrees"),
    ) as play:
        asyncio.run(agent(play, tools=[Tool(weather, max_retries=3)]).run(QUESTION))
    session = play.session()
    assert (session.stop_reason, session.tool_calls, session.tool_errors) == (
        "completed.unverified",
        3,
        2,
    )
    errors = [span.get("error.type") for span in play.of("execute_tool")]
    assert errors[0] == "pydantic_ai.exceptions.ModelRetry"
    assert str(errors[1]).endswith("ValidationError")
    assert errors[2] is None


def test_a_tool_that_ends_the_run_is_what_it_stopped_for() -> None:
    """An exception of a tool ends the run as an unrecovered tool error."""
    reply = asks(("weather", {"city": "Atlantis"}))
    with playing("pydantic_ai", reply) as play, pytest.raises(LookupError):
        asyncio.run(agent(play).run(QUESTION))
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == ("tool.error_unrecovered", None)


@pytest.mark.parametrize("approved", [True, False])
def test_a_tool_that_needs_approval_waits_and_goes_on(approved: bool) -> None:
    """A run that waits for approval says so; what was decided is written when it goes on."""

    def refund() -> str:
        """Pay back."""
        return "paid"

    with playing("pydantic_ai", asks(("refund", {})), says("Done.")) as play:
        tools = [Tool(refund, requires_approval=True)]
        cashier = agent(play, tools=tools, output_type=[str, DeferredToolRequests])
        result = asyncio.run(cashier.run(QUESTION))
        waiting = play.session()
        (call,) = result.output.approvals
        decisions = DeferredToolResults(approvals={call.tool_call_id: approved})
        history = result.all_messages()
        asyncio.run(cashier.run(message_history=history, deferred_tool_results=decisions))
    assert (waiting.stop_reason, waiting.stop_framework_raw) == (
        "waiting.human_input",
        "ApprovalRequired",
    )
    assert (waiting.approvals, waiting.tool_calls) == (1, 0)
    (session,) = play.sessions()  # the conversation goes on with its history
    assert session.tool_calls == int(approved)
    statuses = [span["tracekit.approval.status"] for span in play.of("approval")]
    assert statuses == ["requested", "approved" if approved else "denied"]


def test_a_refusal_is_the_models_own() -> None:
    """A refusal of the model ends the run as a refusal, whatever the run makes of it."""
    reply = refuses("I cannot help with that.")
    with playing("pydantic_ai", reply) as play, pytest.raises(UnexpectedModelBehavior):
        asyncio.run(agent(play).run(QUESTION))
    assert play.session().stop_reason.startswith("policy.")


def test_a_rate_limit_that_lasts_is_the_providers() -> None:
    """A rate limit that outlasts the client's retries ends the run as one, its attempts visible."""
    with playing("pydantic_ai", limited(), limited()) as play, pytest.raises(ModelHTTPError):
        asyncio.run(agent(play, retries=1).run(QUESTION))
    session = play.session()
    assert (session.stop_reason, session.llm_calls) == ("provider.rate_limited", 2)


def test_a_run_out_of_time_is_a_time_limit() -> None:
    """The run's own time-out ends it as a time limit."""

    async def endless() -> str:
        """Take for ever."""
        await asyncio.Event().wait()
        return ""

    with playing("pydantic_ai", asks(("endless", {}))) as play, pytest.raises(RunTimedOut):
        asyncio.run(agent(play, tools=[endless]).run(QUESTION, timeout=0.5))
    assert play.session().stop_reason == "limit.time"


@pytest.mark.parametrize(
    ("by", "expected"), [("task", "cancelled.caller"), ("run", "cancelled.user")]
)
def test_a_run_that_is_cancelled_is_cancelled(by: str, expected: str) -> None:
    """Cancelling a run ends it as cancelled, by whoever did it."""
    entered = asyncio.Event()

    async def endless() -> str:
        """Take for ever."""
        entered.set()
        await asyncio.Event().wait()
        return ""

    async def cancelled(play: Play) -> None:
        async def run_it() -> None:
            async with agent(play, tools=[endless]).iter(QUESTION) as run:
                runs.append(run)
                async for _ in run:
                    pass

        runs: list[Any] = []
        task = asyncio.create_task(run_it())
        await entered.wait()
        if by == "task":
            task.cancel()
        else:
            runs[0].cancel()
        with pytest.raises(asyncio.CancelledError if by == "task" else RunCancelled):
            await task

    with playing("pydantic_ai", asks(("endless", {}))) as play:
        asyncio.run(cancelled(play))
    assert play.session().stop_reason == expected


def test_an_agent_inside_a_tool_is_an_agent_inside_the_tool_call() -> None:
    """An agent that a tool asks runs below the tool call, in the session of the run around it."""
    with playing("pydantic_ai", asks(("ask", {})), says("Inner."), says("Outer.")) as play:
        inner = agent(play, "inner", tools=[])

        async def ask() -> str:
            """Ask the other agent."""
            return str((await inner.run("?")).output)

        asyncio.run(agent(play, tools=[ask]).run(QUESTION))
    session = play.session()
    assert (session.agent_name, session.llm_calls, session.tool_calls) == ("assistant", 3, 1)
    names = [span["name"] for span in play.of("invoke_agent")]
    assert names == ["invoke_agent assistant", "invoke_agent inner"]


def test_an_agent_the_application_traces_is_not_doubled() -> None:
    """Inside a span the application made for the agent, the run adds to that span."""
    with playing("pydantic_ai", says("Hello.")) as play, ours.agent("support"):
        asyncio.run(agent(play, "support").run(QUESTION))
    assert len(play.of("invoke_agent")) == 1
    assert play.session().stop_reason == "completed.unverified"
