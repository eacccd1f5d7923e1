"""Claude Code transcripts: one call per message, results joined, failures and sub-agents seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from importing import Seen, operations, source_of, spans
from test_otlp_files import write

if TYPE_CHECKING:
    from pathlib import Path

SESSION = "dac472d2-1379-4e28-be38-cf9abf4ac4f0"
USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 2849,
    "cache_read_input_tokens": 9493,
    "output_tokens": 527,
    "service_tier": "standard",
    "cache_creation": {"ephemeral_1h_input_tokens": 2000, "ephemeral_5m_input_tokens": 849},
}


def line(second: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"uuid-{second}-{kind}",
        "parentUuid": None,
        "sessionId": SESSION,
        "timestamp": f"2026-05-04T01:50:{second:02}.250Z",
        "version": "2.1.126",
        "cwd": "/somewhere/secret",
        "isSidechain": False,
        **fields,
    }


def assistant(
    second: int, *blocks: dict[str, Any], message: str = "msg_1", **fields: Any
) -> dict[str, Any]:
    stop = fields.pop("stop", None)
    usage = fields.pop("usage", USAGE)
    body = {
        "id": message,
        "model": "claude-opus-4-6",
        "role": "assistant",
        "content": list(blocks),
        "stop_reason": stop,
        "usage": usage,
    }
    return line(second, "assistant", requestId="req_1", message=body, **fields)


def user(second: int, *blocks: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    content: Any = list(blocks)
    if len(blocks) == 1 and isinstance(blocks[0], str):
        content = blocks[0]
    return line(second, "user", message={"role": "user", "content": content}, **fields)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_use(call: str = "toolu_1", name: str = "Bash") -> dict[str, Any]:
    return {"type": "tool_use", "id": call, "name": name, "input": {"command": "ls"}}


def tool_result(call: str = "toolu_1", content: Any = "ok", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": content, **fields}


def imported(folder: Path, *transcript: dict[str, Any]) -> list[Seen]:
    data = b"".join(orjson.dumps(item) + b"\n" for item in transcript)
    return spans(write(folder, data, "session.jsonl"))


SUMMARY = {"type": "summary", "summary": "A talk", "leafUuid": "x"}


def test_the_lines_of_one_message_are_one_call(tmp_path: Path) -> None:
    """Blocks of a streamed message come as lines; stop reason and usage are the last line's."""
    partial = USAGE | {"output_tokens": 1}
    found = imported(
        tmp_path,
        SUMMARY,
        user(1, "hello"),
        assistant(3, text("Looking."), usage=partial),
        assistant(4, tool_use(), stop="tool_use"),
        user(6, tool_result()),
        assistant(9, text("Done."), message="msg_2", stop="end_turn"),
    )
    root, first, tool, second = found
    assert [span.name for span in found] == [
        "invoke_agent claude-code",
        "chat claude-opus-4-6",
        "execute_tool Bash",
        "chat claude-opus-4-6",
    ]
    assert {span.parent for span in (first, tool, second)} == {root.span_id}
    seconds = [(span.start_ns // 10**9 % 60, span.end_ns // 10**9 % 60) for span in found]
    assert seconds == [(1, 9), (1, 4), (4, 6), (6, 9)]
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_use"]
    parts = orjson.loads(first.attributes["gen_ai.output.messages"])[0]["parts"]
    assert [part["type"] for part in parts] == ["text", "tool_call"]


def test_cached_tokens_are_part_of_the_input(tmp_path: Path) -> None:
    """Anthropic counts them beside the input; the conventions count them in it."""
    (chat,) = operations(imported(tmp_path, assistant(1, text("x"))), "chat")
    expected = {
        "gen_ai.usage.input_tokens": 3 + 2849 + 9493,
        "gen_ai.usage.output_tokens": 527,
        "gen_ai.usage.cache_read.input_tokens": 9493,
        "gen_ai.usage.cache_write.input_tokens": 2849,
        "tracekit.usage.cache_write_1h_tokens": 2000,
        "tracekit.service_tier.served": "standard",
        "tracekit.request.id": "req_1",
        "gen_ai.response.id": "msg_1",
        "gen_ai.provider.name": "anthropic",
    }
    found = {key: value for key, value in chat.attributes.items() if key in expected}
    assert found == expected


def test_nothing_of_the_machine_is_taken_over(tmp_path: Path) -> None:
    """Working folders and branches stay where they are."""
    found = imported(tmp_path, user(1, "hi"), assistant(2, text("x"), gitBranch="secret"))
    assert not any("secret" in str(span.attributes) for span in found)


@pytest.mark.parametrize(
    ("result", "extra", "status", "failed"),
    [
        (tool_result(), {}, "success", False),
        (tool_result(content="boom", is_error=True), {}, "error", True),
        (tool_result(is_error=True), {"toolUseResult": "User rejected tool use"}, "denied", True),
        (
            tool_result(
                content=[text("The user doesn't want to proceed with this tool use. The")],
                is_error=True,
            ),
            {},
            "denied",
            True,
        ),
    ],
)
def test_results_tell_errors_from_refusals(
    result: dict[str, Any], extra: dict[str, Any], status: str, failed: bool, tmp_path: Path
) -> None:
    """A call the user rejected did not fail by itself."""
    found = imported(tmp_path, assistant(1, tool_use()), user(2, result, **extra))
    (tool,) = operations(found, "execute_tool")
    assert (tool.attributes["tracekit.tool.status"], tool.failed) == (status, failed)


def test_a_call_without_result_was_not_executed(tmp_path: Path) -> None:
    """The transcript ends with the request: there is no execution to show."""
    assert operations(imported(tmp_path, assistant(1, tool_use())), "execute_tool") == []


def test_failed_attempts_and_the_failure_after_them_are_calls(tmp_path: Path) -> None:
    """Retries are attempts with their wait; giving up is a failed call without usage."""
    overloaded = {"status": 529, "error": {"error": {"type": "overloaded_error"}}}
    failure = assistant(9, text("API Error: 529 Overloaded"), message="x1", usage={})
    failure["message"]["model"] = "<synthetic>"
    found = imported(
        tmp_path,
        assistant(1, text("x")),
        user(2, "again"),
        line(4, "system", subtype="api_error", error=overloaded, retryInMs=1500, retryAttempt=1),
        failure | {"isApiErrorMessage": True, "error": "overloaded", "apiErrorStatus": 529},
    )
    given_up, attempt = (span for span in found if span.failed)
    assert attempt.attributes["error.type"] == "overloaded_error"
    assert attempt.attributes["http.response.status_code"] == 529
    assert attempt.attributes["tracekit.attempt"] == 1
    assert attempt.attributes["tracekit.retry.wait_s"] == 1.5
    assert given_up.attributes["error.type"] == "overloaded"
    assert given_up.attributes["gen_ai.request.model"] == "claude-opus-4-6"
    assert "gen_ai.usage.input_tokens" not in given_up.attributes


def test_an_answer_the_client_made_up_is_no_call(tmp_path: Path) -> None:
    """Synthetic messages keep a conversation well-formed; no model was asked."""
    made_up = assistant(1, text("No response requested."))
    made_up["message"]["model"] = "<synthetic>"
    assert operations(imported(tmp_path, made_up), "chat") == []


def test_sub_agents_have_a_span_of_their_own(tmp_path: Path) -> None:
    """Side chains hang below the root, by agent id or by the message they start from."""
    start = user(2, "look", isSidechain=True, uuid="s1")
    inner = assistant(3, text("a"), message="m2", isSidechain=True, uuid="s2", parentUuid="s1")
    other = assistant(4, text("b"), message="m3", isSidechain=True, agentId="abc")
    found = imported(tmp_path, assistant(1, text("x")), start, inner, other)
    root, *agents = operations(found, "invoke_agent")
    assert [span.parent for span in agents] == [root.span_id] * 2
    assert agents[1].attributes["gen_ai.agent.id"] == "abc"
    chats = operations(found, "chat")
    assert [chat.parent for chat in chats] == [root.span_id, *(span.span_id for span in agents)]


def test_a_sub_agent_in_its_own_file_belongs_to_the_session(tmp_path: Path) -> None:
    """Its spans are in the trace of the main transcript, below that root."""
    (root, _) = imported(tmp_path, assistant(1, text("x")))
    agent, chat = imported(tmp_path, assistant(2, text("y"), isSidechain=True, agentId="abc"))
    assert (agent.trace_id, agent.parent) == (root.trace_id, root.span_id)
    assert chat.parent == agent.span_id


def test_interruption_and_compaction_are_noted_on_the_root(tmp_path: Path) -> None:
    """What ended the session, and that its context was compacted, are kept as written."""
    root, *_ = imported(
        tmp_path,
        assistant(1, text("x")),
        line(2, "system", subtype="compact_boundary"),
        user(3, text("[Request interrupted by user]")),
    )
    assert root.attributes["tracekit.stop.framework_raw"] == "[Request interrupted by user]"
    assert root.attributes["gen_ai.conversation.compacted"] is True


@pytest.mark.parametrize(
    ("message", "provider"),
    [("msg_01A", "anthropic"), ("msg_bdrk_1", "aws.bedrock"), ("msg_vrtx_1", "gcp.vertex_ai")],
)
def test_the_message_id_tells_which_cloud_answered(
    message: str, provider: str, tmp_path: Path
) -> None:
    """Bedrock and Vertex mark their ids."""
    found = imported(tmp_path, assistant(1, text("x"), message=message))
    assert operations(found, "chat")[0].attributes["gen_ai.provider.name"] == provider


def test_a_transcript_of_summaries_only_is_skipped(tmp_path: Path) -> None:
    """There is nothing to import, and that is said."""
    path = write(tmp_path, orjson.dumps(SUMMARY) + b"\n" + orjson.dumps(SUMMARY) + b"\n")
    source = source_of(path)
    assert list(source.chunks()) == []
    assert source.format == "claude_code"
    assert source.skipped == [(str(path), "no messages: a transcript of summaries only")]
