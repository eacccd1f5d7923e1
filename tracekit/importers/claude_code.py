"""Claude Code transcripts: JSON lines, one per message block, under `~/.claude/projects`.

A model call is written as several lines, one per content block, that share `message.id`; the
last one has the stop reason and the final token counts. Tool results come back as user lines.
Messages of sub-agents carry `isSidechain`, in the same file or in one of their own; they become an
`invoke_agent` span below the session's root. A call that failed for good is a line with
`isApiErrorMessage`; each retry before it is a system line of subtype `api_error`.

Anthropic counts input tokens without the cached ones; the spans carry the sum, as OpenTelemetry
wants it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.claude_code_lines import (
    Block,
    Call,
    Line,
    Result,
    as_object,
    blocks_of,
    cost_of,
    error_type,
    interruption,
    provider_of,
    status_of,
    text_of,
    usage_attributes,
)
from tracekit.importers.recording import (
    Recording,
    json_text,
    nanoseconds,
    output_messages,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tracekit.importers.context import Context

FORMAT: Final = "claude_code"

_IDS: Final = ("uuid", "sessionId", "leafUuid", "messageId")
_SYNTHETIC_MODEL: Final = "<synthetic>"

_TOOL_ERRORS: Final = {"denied": "denied", "error": "tool_error"}
_MILLISECOND: Final = 1000


def matches(document: Any) -> bool:
    """Whether one line of JSON is of a transcript."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("type"), str)
        and any(isinstance(document.get(key), str) for key in _IDS)
    )


def is_message(document: Any) -> bool:
    """Whether a line of a transcript is a message or event of a session."""
    return matches(document) and "sessionId" in document and "timestamp" in document


def sessions(lines: Iterable[Line], context: Context) -> Iterator[bytes]:
    """Yield one OTLP request per session of a transcript.

    Args:
        lines: All lines of the file, in order.
        context: Where they came from.
    """
    by_session: dict[str, list[Line]] = {}
    for line in lines:
        if is_message(line):
            by_session.setdefault(str(line["sessionId"]), []).append(line)
    if not by_session:
        context.skip("", "no messages: a transcript of summaries only")
    for session_id, messages in by_session.items():
        yield _Session(session_id, messages).encode()


class _Session:
    def __init__(self, session_id: str, lines: list[Line]) -> None:
        self._lines = lines
        self._times = [nanoseconds(line["timestamp"]) for line in lines]
        self._recording = Recording(FORMAT, session_id, session_id, {"service.name": "claude-code"})
        self._parents = {str(line.get("uuid")): line.get("parentUuid") for line in lines}
        self._model: str | None = None

    def encode(self) -> bytes:
        self._roots()
        results = self._results()
        for call in self._calls():
            agent = self._agent(call.lines[0])
            self._chat(call, agent)
            for block in call.blocks("tool_use"):
                if block["id"] in results:  # else it was never executed
                    self._tool(block, results[block["id"]], call.end_ns, agent)
        for before, line, at in zip([None, *self._times], self._lines, self._times, strict=False):
            if line["type"] == "system" and line.get("subtype") == "api_error":
                self._failed_attempt(line, (before or at, at))
        return self._recording.encode()

    def _agent(self, line: Line) -> str:
        """Return the key of the agent span a line belongs to: the root, or its side chain."""
        if not line.get("isSidechain"):
            return "root"
        if line.get("agentId"):
            return f"agent {line['agentId']}"
        uuid = str(line.get("uuid"))
        while (parent := self._parents.get(uuid)) in self._parents:
            uuid = str(parent)
        return f"agent {uuid}"

    def _roots(self) -> None:
        """Add the spans of the agents; a file of a sub-agent alone has no root."""
        spans: dict[str, list[tuple[int, Line]]] = {}
        for at, line in zip(self._times, self._lines, strict=True):
            spans.setdefault(self._agent(line), []).append((at, line))
        for key, found in spans.items():
            times = [at for at, _ in found]
            root = key == "root"
            line = found[-1][1]
            name = "claude-code" if root else "claude-code sub-agent"
            attributes = {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": name,
                "gen_ai.agent.id": line.get("agentId"),
                "gen_ai.agent.version": line.get("version"),
                "gen_ai.conversation.compacted": self._compacted() or None if root else None,
                "tracekit.stop.framework_raw": interruption(line) if root else None,
            }
            parent = None if root else "root"
            self._recording.add(
                key, f"invoke_agent {name}", (min(times), max(times)), attributes, parent=parent
            )

    def _compacted(self) -> bool:
        return any(line.get("subtype") == "compact_boundary" for line in self._lines)

    def _calls(self) -> Iterator[Call]:
        """Yield model calls; lines of one message are one call, wherever they stand."""
        calls: dict[str, Call] = {}
        ends: dict[str, int] = {}
        for index, (at, line) in enumerate(zip(self._times, self._lines, strict=True)):
            agent = self._agent(line)
            if line["type"] == "assistant":
                key = str(line["message"].get("id") or line.get("requestId") or index)
                call = calls.setdefault(key, Call([], ends.get(agent, at), at))
                call.lines.append(line)
                call.end_ns = max(call.end_ns, at)
            ends[agent] = at
        yield from calls.values()

    def _results(self) -> dict[str, Result]:
        """Return the tool results by call id."""
        return {
            block["tool_use_id"]: Result(at, line, block)
            for at, line in zip(self._times, self._lines, strict=True)
            if line["type"] == "user"
            for block in blocks_of(line)
            if block.get("type") == "tool_result"
        }

    def _chat(self, call: Call, agent: str) -> None:
        line = call.lines[-1]
        failed = any(item.get("isApiErrorMessage") for item in call.lines)
        model = call.merged("model")
        if model == _SYNTHETIC_MODEL:
            if not failed:
                return  # a line the client made up to keep the conversation well-formed
            model = self._model
        self._model = model or self._model
        finish = None if failed else call.merged("stop_reason")
        text = "\n".join(block.get("text", "") for block in call.blocks("text"))
        calls = [
            {"id": block["id"], "name": block["name"], "arguments": block.get("input")}
            for block in call.blocks("tool_use")
        ]
        message_id = str(call.merged("id") or "")
        self._recording.add(
            f"message {message_id or line.get('uuid')}",
            f"chat {model}" if model else "chat",
            (min(call.start_ns, call.end_ns), call.end_ns),
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider_of(message_id),
                "gen_ai.request.model": model if failed else None,
                "gen_ai.response.model": None if failed else model,
                "gen_ai.response.id": None if failed else message_id,
                "gen_ai.response.finish_reasons": [finish] if finish else None,
                **({} if failed else usage_attributes(call.merged("usage") or {})),
                "gen_ai.output.messages": output_messages(text, calls, finish),
                "tracekit.request.id": line.get("requestId"),
                "tracekit.cost.reported_usd": cost_of(call),
                "http.response.status_code": line.get("apiErrorStatus"),
            },
            parent=agent,
            client=True,
            error=error_type(line.get("error")) if failed else None,
        )

    def _tool(self, block: Block, result: Result, asked_ns: int, agent: str) -> None:
        status = status_of(result)
        self._recording.add(
            f"tool {block['id']}",
            f"execute_tool {block['name']}",
            (min(asked_ns, result.time_ns), result.time_ns),
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": block["name"],
                "gen_ai.tool.call.id": block["id"],
                "gen_ai.tool.type": "extension"
                if block["name"].startswith("mcp__")
                else "function",
                "gen_ai.tool.call.arguments": json_text(block.get("input")),
                "gen_ai.tool.call.result": text_of(result.block.get("content")),
                "tracekit.tool.status": status,
                "tracekit.approval.status": "denied" if status == "denied" else None,
            },
            parent=agent,
            error=_TOOL_ERRORS.get(status),
        )

    def _failed_attempt(self, line: Line, time_ns: tuple[int, int]) -> None:
        """Add a call that failed and was tried again."""
        error = line.get("error")
        wait = line.get("retryInMs")
        self._recording.add(
            f"attempt {line.get('uuid')}",
            f"chat {self._model}" if self._model else "chat",
            time_ns,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "anthropic",
                "gen_ai.request.model": self._model,
                "http.response.status_code": as_object(error).get("status"),
                "tracekit.attempt": line.get("retryAttempt"),
                "tracekit.retry.wait_s": wait / _MILLISECOND if wait is not None else None,
            },
            parent=self._agent(line),
            client=True,
            error=error_type(error),
        )
