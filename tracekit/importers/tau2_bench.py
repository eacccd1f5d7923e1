"""tau2-bench sessions: one JSON document per session, with usage, cost and time per message.

The model is named only by the run's folder. Calls went through LiteLLM, which rewrites finish
reasons. The user is played by a second model, with tokens, costs and tools of its own: none of its
messages becomes a span. The greeting that opens a session is a constant, not a model call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.recording import (
    SECOND_NS,
    Recording,
    Results,
    json_text,
    nanoseconds,
    output_messages,
    verdict,
)
from tracekit.importers.runs import agent_of, model_of, provider_of

if TYPE_CHECKING:
    from tracekit.importers.context import Context

FORMAT: Final = "tau2_bench"

_FIELDS: Final = frozenset({"task_id", "run_info", "messages"})
_FAILURES: Final = frozenset({"agent_error", "user_error", "too_many_errors"})
"""Terminations in which the harness gave up on an exception."""

Message = Mapping[str, Any]


def matches(document: Any) -> bool:
    """Whether a JSON document is one tau2-bench session."""
    return (
        isinstance(document, dict)
        and document.keys() >= _FIELDS
        and isinstance(document["run_info"], dict)
        and "simulation_id" in document["run_info"]
    )


def sessions(document: Any, context: Context) -> Iterator[bytes]:
    """Yield the session as one OTLP request."""
    yield _Session(document, context).encode()


class _Session:
    def __init__(self, document: Mapping[str, Any], context: Context) -> None:
        info = document["run_info"]
        identity = str(info["simulation_id"])
        self._info = info
        self._reward = (document.get("reward_info") or {}).get("reward")
        self._messages: list[Message] = document["messages"] or []
        self._run = context.folder or "tau2-bench"
        self._model = model_of(self._run)
        self._recording = Recording(
            FORMAT, identity, f"tau2-bench:{identity}", {"service.name": "tau2-bench"}
        )

    def encode(self) -> bytes:
        times = [nanoseconds(message["timestamp"]) for message in self._messages]
        self._root(times)
        results = Results(
            (message["id"], (at, message))
            for at, message in zip(times, self._messages, strict=True)
            if message["role"] == "tool" and message.get("requestor") != "user"
        )
        before = times[0] if times else 0
        for index, (at, message) in enumerate(zip(times, self._messages, strict=True)):
            if message["role"] == "assistant" and message.get("usage"):
                self._chat(index, message, (before, at))
                for call in message.get("tool_calls") or ():
                    if result := results.take(call["id"]):
                        self._tool(index, call, at, *result)
            before = at
        return self._recording.encode()

    def _root(self, times: list[int]) -> None:
        saved = nanoseconds(self._info["timestamp"])
        start = times[0] if times else saved
        seconds = self._info.get("duration_sec") or 0.0
        end = max(start + round(seconds * SECOND_NS), *times, start)
        ending = self._info.get("termination_reason")
        reward = self._reward
        events = []
        if reward is not None:
            events.append(verdict("reward", float(reward), passed=reward >= 1, time_ns=end))
        self._recording.add(
            "root",
            f"invoke_agent {agent_of(self._run)}",
            (start, end),
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": agent_of(self._run),
                "gen_ai.workflow.name": self._run,
                "tracekit.stop.framework_raw": ending,
            },
            parent=None,
            error=ending if ending in _FAILURES else None,
            events=events,
        )

    def _chat(self, index: int, message: Message, time_ns: tuple[int, int]) -> None:
        usage = message["usage"]
        finish = (message.get("raw_data") or {}).get("finish_reason")
        calls = [
            {"id": call["id"], "name": call["name"], "arguments": call["arguments"]}
            for call in message.get("tool_calls") or ()
        ]
        self._recording.add(
            f"message {index}",
            f"chat {self._model}" if self._model else "chat",
            time_ns,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider_of(self._model),
                "gen_ai.request.model": self._model,
                "gen_ai.response.finish_reasons": None if finish is None else [finish],
                "gen_ai.usage.input_tokens": usage.get("prompt_tokens"),
                "gen_ai.usage.output_tokens": usage.get("completion_tokens"),
                "gen_ai.usage.cache_read.input_tokens": usage.get("cache_read_tokens"),
                "gen_ai.usage.reasoning.output_tokens": usage.get("reasoning_tokens"),
                "gen_ai.output.messages": output_messages(message.get("content"), calls, finish),
                "tracekit.cost.reported_usd": message.get("cost"),
                "tracekit.gateway": "litellm",
            },
            client=True,
        )

    def _tool(
        self, index: int, call: Mapping[str, Any], asked_ns: int, done_ns: int, result: Message
    ) -> None:
        failed = bool(result.get("error"))
        self._recording.add(
            f"tool {index} {call['id']}",
            f"execute_tool {call['name']}",
            (asked_ns, done_ns),
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": call["name"],
                "gen_ai.tool.call.id": call["id"],
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.arguments": json_text(call["arguments"]),
                "gen_ai.tool.call.result": result.get("content"),
                "tracekit.tool.status": "error" if failed else "success",
            },
            error="tool_error" if failed else None,
        )
