"""Claude Agent SDK: how its runs end, and what they did.

The SDK's loop is a program of its own, which is not run here but in the last test: a transport
speaks its side of the protocol, with messages as that program sends them. Everything from there on
is the real SDK.
"""

from __future__ import annotations

import asyncio
import gc
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import claude_agent_sdk
import pytest
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Transport, query
from framework_build import Play, playing

import tracekit.instrumentation.agents as ours
from tracekit.testing.provider import Reply, Request, ScriptedProvider, sse_reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODEL = "claude-sonnet-4-5"
INIT = {"type": "system", "subtype": "init", "session_id": "claude-7", "tools": []}
USED = {"input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 0}


class Loop(Transport):
    """Claude's loop: answers every prompt with the next messages of a script."""

    def __init__(self, *scripts: list[dict[str, Any]]) -> None:
        self._scripts = list(scripts)
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def connect(self) -> None:
        """Do nothing: it is here."""

    async def write(self, data: str) -> None:
        """Answer a request of the SDK or a prompt."""
        asked = json.loads(data)
        if asked["type"] == "control_request":
            done = {"subtype": "success", "request_id": asked["request_id"], "response": {}}
            self._messages.put_nowait({"type": "control_response", "response": done})
        elif asked["type"] == "user":
            for message in self._scripts.pop(0):
                self._messages.put_nowait(message)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what was said."""
        while (message := await self._messages.get()) is not None:
            yield message

    async def close(self) -> None:
        """End."""
        self._messages.put_nowait(None)

    def is_ready(self) -> bool:
        """Return True."""
        return True

    async def end_input(self) -> None:
        """End after what was said."""
        self._messages.put_nowait(None)


def answers(
    *blocks: dict[str, Any], number: int = 1, stop: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return a message of the model; parts of one answer have one number.

    As the loop sends them, with the usage at the beginning of the answer.
    """
    message = {
        "id": f"msg_{number}",
        "model": more.pop("model", MODEL),
        "content": list(blocks),
        "stop_reason": stop,
        "usage": USED | {"output_tokens": 1},
    }
    return {"type": "assistant", "message": message, "parent_tool_use_id": None, **more}


def text(what: str) -> dict[str, Any]:
    """Return a block of text."""
    return {"type": "text", "text": what}


def use(name: str, call_id: str, **given: Any) -> dict[str, Any]:
    """Return a block that asks for a tool."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def gives(call_id: str, what: str, *, is_error: bool = False) -> dict[str, Any]:
    """Return the result of a tool."""
    block = {"type": "tool_result", "tool_use_id": call_id, "content": what, "is_error": is_error}
    return {
        "type": "user",
        "message": {"role": "user", "content": [block]},
        "parent_tool_use_id": None,
    }


def ends(subtype: str = "success", **more: Any) -> dict[str, Any]:
    """Return the last message of a run."""
    known = {"duration_ms": 5, "duration_api_ms": 4, "num_turns": 2, "session_id": "claude-7"}
    is_error = subtype != "success"
    return {"type": "result", "subtype": subtype, "is_error": is_error, **known, **more}


WORK = [
    INIT,
    answers(text("Let me look."), number=1),
    answers(use("Read", "t1", path="a"), number=1),
    gives("t1", "contents"),
    answers(text("Done."), number=2),
]
"""Two model calls, the first in two parts, and a tool call."""


async def asked(*script: dict[str, Any]) -> list[Any]:
    """Ask once, and return what the application sees."""
    return [message async for message in query(prompt="Hello", transport=Loop(list(script)))]


def played(*script: dict[str, Any]) -> Play:
    """Return what was seen of one run."""
    with playing("claude_agent_sdk") as play:
        asyncio.run(asked(*script))
    return play


def test_a_run_is_one_agent_with_its_model_and_tool_calls() -> None:
    """A run is one agent's span over its calls; parts of one answer are one model call."""
    play = played(*WORK, done(2, total_cost_usd=0.01))
    session = play.session()
    assert (session.session_id, session.stop_reason) == ("claude-7", "completed.unverified")
    assert (session.stop_raw, session.stop_framework_raw) == ("end_turn", "success")
    assert (session.model, session.llm_calls, session.tool_calls) == (MODEL, 2, 1)
    # The messages tell of one output token each; the rest is the result's word.
    assert (session.input_tokens, session.output_tokens) == (200, 40)
    # Not the total the result reports beside the calls it is made of.
    assert session.cost_usd == pytest.approx(20 * 3e-6 + 180 * 0.3e-6 + 40 * 15e-6)
    assert play.root()["tracekit.cost.reported_usd"] == 0.01


def done(calls: int, **more: Any) -> dict[str, Any]:
    """Return the result of a run that ended well after so many calls of the process."""
    sums = {"inputTokens": 10, "outputTokens": 20, "cacheReadInputTokens": 90}
    by_model = {MODEL: {word: calls * count for word, count in sums.items()}}
    return ends(terminal_reason="completed", stop_reason="end_turn", modelUsage=by_model, **more)


def test_partial_messages_tell_the_usage_of_each_call() -> None:
    """Where the application asked for partial messages, each call has its own counts and stop."""
    parts = [
        {
            "type": "stream_event",
            "uuid": "u",
            "session_id": "claude-7",
            "parent_tool_use_id": None,
            "event": {
                "type": "message_delta",
                "usage": {"output_tokens": output},
                "delta": {"stop_reason": stop},
            },
        }
        for output, stop in ((30, "tool_use"), (10, "end_turn"))
    ]
    play = played(*WORK[:3], parts[0], *WORK[3:], parts[1], done(2))
    assert [
        (span["gen_ai.usage.output_tokens"], span["gen_ai.response.finish_reasons"])
        for span in play.of("chat")
    ] == [(30, ("tool_use",)), (10, ("end_turn",))]
    assert play.session().output_tokens == 40


def test_calls_without_a_message_are_counted() -> None:
    """What the loop used for itself, with another model, is in the session's sums."""
    result = done(2)
    small = {"inputTokens": 7, "outputTokens": 3, "cacheReadInputTokens": 0}
    result["modelUsage"]["claude-haiku-4-5"] = small
    session = played(*WORK, result).session()
    assert (session.input_tokens, session.output_tokens) == (207, 43)
    assert (session.stop_reason, session.stop_raw) == ("completed.unverified", "end_turn")


ERROR = "error_during_execution"
ENDS = [
    ("limit.steps", "error_max_turns", ends("error_max_turns", terminal_reason="max_turns")),
    ("limit.cost", "error_max_budget_usd", ends("error_max_budget_usd")),
    ("limit.retries", None, ends("error_max_structured_output_retries")),
    ("truncated.context_window", "prompt_too_long", ends(terminal_reason="prompt_too_long")),
    ("policy.guardrail", "stop_hook_prevented", ends(terminal_reason="stop_hook_prevented")),
    ("cancelled.user", "aborted_tools", ends(ERROR, terminal_reason="aborted_tools")),
    ("waiting.continuation", "tool_deferred", ends(terminal_reason="tool_deferred")),
    ("runtime.exception", ERROR, ends(ERROR)),
]


@pytest.mark.parametrize(("code", "word", "result"), ENDS, ids=[code for code, _, _ in ENDS])
def test_the_result_says_how_a_run_ended(
    code: str, word: str | None, result: dict[str, Any]
) -> None:
    """The more special of the result's two words is the framework's state, and gives the code."""
    session = played(*WORK, result).session()
    assert session.stop_reason == code
    expected = result.get("terminal_reason") or result["subtype"]
    assert session.stop_framework_raw == expected
    assert word in (None, expected, result["subtype"])


@pytest.mark.parametrize("reason", ["api_error", None])
@pytest.mark.parametrize(
    ("status", "code"), [(429, "provider.rate_limited"), (400, "provider.rejected_request")]
)
def test_a_result_that_succeeded_with_an_error_of_the_api_has_failed(
    reason: str | None, status: int, code: str
) -> None:
    """`success` with `is_error` is a failed call of the model, by its HTTP status."""
    made_up = {"model": "<synthetic>", "error": "unknown", "stop": "stop_sequence"}
    failed = answers(text("API Error"), number=3, **made_up)
    more: dict[str, Any] = {"terminal_reason": reason, "stop_reason": "stop_sequence"}
    play = played(*WORK[:4], failed, ends(is_error=True, api_error_status=status, **more))
    session = play.session()
    assert (session.stop_reason, session.stop_framework_raw) == (code, None)
    assert (play.root()["error.type"], session.stop_raw) == (str(status), None)


def test_a_tool_that_was_denied_last_is_why_it_stopped() -> None:
    """Calls the result lists as denied were refused, not failed by themselves."""
    denial = {"tool_name": "Bash", "tool_use_id": "t2", "tool_input": {}}
    play = played(
        INIT,
        answers(use("Read", "t1", path="a"), number=1, stop="tool_use"),
        gives("t1", "no such file", is_error=True),
        answers(use("Bash", "t2", command="rm"), number=2, stop="tool_use"),
        gives("t2", "not allowed", is_error=True),
        ends(permission_denials=[denial]),
    )
    assert play.session().stop_reason == "policy.permission_denied"
    known = [
        (span.get("tracekit.tool.status"), span.get("error.type"))
        for span in play.of("execute_tool")
    ]
    assert known == [(None, "tool_error"), ("denied", None)]


def test_a_subagent_is_below_the_tool_call_that_runs_it() -> None:
    """Messages of a sub-agent belong below the call of the tool that started it."""
    inner = answers(text("Inner."), number=2, stop="end_turn") | {"parent_tool_use_id": "t1"}
    play = played(
        INIT,
        answers(use("Task", "t1", prompt="?"), number=1, stop="tool_use"),
        inner,
        gives("t1", "Inner."),
        answers(text("Outer."), number=3, stop="end_turn"),
        ends(),
    )
    tool = next(span for span in play.spans if span.name == "execute_tool Task")
    below = [s.name for s in play.spans if s.parent and s.parent.span_id == tool.context.span_id]
    assert below == [f"chat {MODEL}"]
    assert play.session().llm_calls == 3


def test_every_prompt_of_a_client_is_a_run() -> None:
    """A client's prompts are runs of one session, each from its prompt to its result."""

    async def talk() -> None:
        first = [*WORK, done(2, total_cost_usd=0.02)]
        second = [answers(text("Yes."), number=9), done(3, total_cost_usd=0.03)]
        client = ClaudeSDKClient(transport=Loop(first, second))
        async with client:
            for _ in range(2):
                await client.query("Hello")
                async for _ in client.receive_response():
                    pass

    with playing("claude_agent_sdk") as play:
        asyncio.run(talk())
    # The sums of a result count since the process started; what is written is each run's own.
    costs = [span["tracekit.cost.reported_usd"] for span in play.of("invoke_agent")]
    assert costs == [pytest.approx(0.02), pytest.approx(0.01)]
    (session,) = play.sessions()
    assert (session.session_id, session.llm_calls) == ("claude-7", 3)
    assert (session.input_tokens, session.output_tokens) == (300, 60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", ["query", "client"])
def test_a_run_nobody_reads_to_its_end_is_left_by_the_caller(way: str) -> None:
    """Whoever stops reading a run, or leaves its client, has cancelled it."""

    async def leave() -> None:
        if way == "query":
            stream = query(prompt="Hello", transport=Loop(WORK))
            await anext(aiter(stream))
            await stream.aclose()  # type: ignore[attr-defined]
            return
        async with ClaudeSDKClient(transport=Loop(WORK)) as client:
            await client.query("Hello")
            await anext(aiter(client.receive_messages()))

    with playing("claude_agent_sdk") as play:
        asyncio.run(leave())
        gc.collect()  # the SDK leaves a stream of its own to the collector, which warns of it
    assert play.session().stop_reason == "cancelled.caller"


def test_a_resumed_conversation_is_the_session() -> None:
    """The conversation that is resumed is the session from the start."""

    async def resume() -> None:
        options = ClaudeAgentOptions(resume="claude-3")
        async for _ in query(prompt="Hello", options=options, transport=Loop([ends()])):
            pass

    with playing("claude_agent_sdk") as play:
        asyncio.run(resume())
    assert play.session().session_id == "claude-3"


def test_what_the_application_sees_is_what_the_loop_said() -> None:
    """Messages arrive one by one, as they are without tracekit."""
    script = [*WORK, ends()]
    without = asyncio.run(asked(*script))
    with playing("claude_agent_sdk"):
        seen = asyncio.run(asked(*script))
    assert seen == without


def test_an_agent_the_application_traces_is_not_doubled() -> None:
    """Inside a span the application made for the agent, the run adds to that span."""
    with playing("claude_agent_sdk") as play, ours.agent("support"):
        asyncio.run(asked(*WORK, ends("error_max_turns")))
    assert len(play.of("invoke_agent")) == 1
    session = play.session()
    assert (session.agent_name, session.stop_reason) == ("support", "limit.steps")


PROGRAM = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


def streams(note: Path, request: Request) -> Reply:
    """Answer the loop as the API does: read a note first, and say hello then."""
    asked = request.json()
    block: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": json.dumps({"file_path": str(note)})}
    if any("tool_result" in str(message) for message in asked["messages"]):
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": "Hello"}
    began: dict[str, Any] = {"id": f"msg_{block['type']}", "type": "message", "content": []}
    began |= {"role": "assistant"}
    began |= {"model": asked["model"], "stop_reason": None, "usage": {**USED, "output_tokens": 1}}
    stop = "end_turn" if block["type"] == "text" else "tool_use"
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": began},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 20}},
        {"type": "message_stop"},
    ]
    return sse_reply(events, names="type")


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM.exists(), reason="the SDK came without its program")
def test_the_real_loop_against_a_local_api_says_the_same(tmp_path: Path) -> None:
    """The program itself, asked through the SDK, leaves a session that adds up."""
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1"}
    home = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path)}

    async def ask(url: str) -> None:
        known = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none", **quiet, **home}
        options = ClaudeAgentOptions(cwd=tmp_path, model=MODEL, max_turns=3, env=known)
        async for _ in query(prompt="Hello", options=options):
            pass

    note = tmp_path / "note.txt"
    note.write_text("Say hello.", encoding="utf-8")
    api = ScriptedProvider(answer=partial(streams, note))
    with playing("claude_agent_sdk") as play, api:
        asyncio.run(ask(api.url))
    session = play.session()
    assert (session.stop_reason, session.stop_raw) == ("completed.unverified", "end_turn")
    assert (session.llm_calls, session.tool_calls) == (2, 1)
    assert (session.input_tokens, session.output_tokens) == (200, 40)
    assert session.cost_usd == pytest.approx(play.root()["tracekit.cost.reported_usd"])
