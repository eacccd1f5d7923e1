"""What the messages of Claude's agent loop tell: model calls and tool calls.

The loop runs in another process; its messages are all there is to see of it. A model call ends when
its message arrives and began when what it answers was sent; a tool runs from the message that asks
for it to the one with its result.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach

from tracekit.instrumentation import names
from tracekit.instrumentation.around import detach
from tracekit.instrumentation.calls import LlmCall
from tracekit.instrumentation.frameworks.claude_usage import (
    Used,
    is_model,
    of_message,
    of_model,
    total,
)
from tracekit.instrumentation.runtime import STATE, count
from tracekit.instrumentation.steps import event
from tracekit.instrumentation.tools import ToolStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

OPEN_LIMIT: Final = 10_000
"""Most tool calls of a run that wait for their end."""

_MADE_UP: Final = "<synthetic>"
"""Model of messages the loop wrote itself, most of them about errors."""


class _Call(LlmCall):
    """A model call, which ended when its last message came."""

    __slots__ = ("called", "came_ns", "error", "is_exact", "is_main", "used")

    called: str
    came_ns: int
    error: str | None
    is_exact: bool
    is_main: bool
    used: Used

    def stop_unless_known(self, raw: str) -> None:
        """Note the stop value, where the messages did not tell it."""
        if names.FINISH_REASONS not in self.attributes:
            self.stop(raw)

    def closing(self, error: str | None, result: object) -> None:
        """Put the end where it was."""
        self.end_ns = self.came_ns
        super().closing(error, result)


class _Tool(ToolStep):
    """A tool call, which may be known to have ended only later."""

    __slots__ = ("came_ns",)

    came_ns: int

    def closing(self, error: str | None, result: object) -> None:
        """Put the end where it was."""
        self.end_ns = self.came_ns
        super().closing(error, result)


class Turn:
    """The messages of one run, from prompt to result.

    Its model calls are kept until the result has told what they used.

    Attributes:
        context: That of the run.
    """

    def __init__(self, context: Context, before: Mapping[str, Any]) -> None:
        """Begin.

        Args:
            context: That of the run.
            before: Usage by model as the result of the run before told it.
        """
        self.context = context
        self._before = before
        self._ended: list[_Call] = []
        self._calls: dict[str | None, tuple[_Call, list[Any], str]] = {}
        self._sent_ns: dict[str | None, int] = {}
        self._tools: dict[str, _Tool] = {}
        self._failed: dict[str, _Tool] = {}
        self._first_ns = _now()

    def take(self, message: Any) -> None:
        """Take a message."""
        kind = type(message).__name__
        if kind == "AssistantMessage":
            self._answer(message)
        elif kind == "UserMessage":
            self._results(message)
        elif kind == "StreamEvent":
            self._event(message)
        elif kind == "SystemMessage" and message.subtype == "compact_boundary":
            event("compaction", {"gen_ai.conversation.compacted": True}, parent=self.context)

    def end(self, result: Any) -> None:
        """End what is open.

        Args:
            result: The result message; None where the messages broke off.
        """
        for thread in list(self._calls):
            self._end_call(thread)
        if result is not None:
            self._settle(result)
        for call in self._ended:
            _finish(call, getattr(result, "api_error_status", None))
        self._ended.clear()
        for denial in getattr(result, "permission_denials", None) or ():
            refused = self._failed.pop(str(_field(denial, "tool_use_id")), None)
            if refused is not None:
                refused.denied()
                refused.finish()
        for step in self._failed.values():
            step.failed("tool_error")
            step.finish()
        for step in self._tools.values():
            step.came_ns = _now()
            step.set(names.TOOL_STATUS, "pending")
            step.finish()
        self._failed.clear()
        self._tools.clear()

    def _answer(self, message: Any) -> None:
        """Add a message of the model; those with one id are parts of one."""
        thread, now_ns = message.parent_tool_use_id, _now()
        key = message.message_id or str(id(message))
        if thread in self._calls and self._calls[thread][2] != key:
            self._end_call(thread)
        if thread not in self._calls:
            start_ns = min(self._sent_ns.get(thread, self._first_ns), now_ns)
            model = None if message.model == _MADE_UP else message.model
            self._calls[thread] = (self._begin_call(model, thread, start_ns), [], key)
        call, blocks, _ = self._calls[thread]
        call.came_ns, call.called, call.is_main = now_ns, message.model, thread is None
        blocks += message.content
        _describe(call, message)
        for block in message.content:
            if type(block).__name__ == "ToolUseBlock":
                self._begin_tool(block, thread)

    def _event(self, message: Any) -> None:
        """Take what a partial message tells of the end of the answer it is part of."""
        found = self._calls.get(message.parent_tool_use_id)
        if found is None or message.event.get("type") != "message_delta":
            return
        call, delta = found[0], message.event.get("delta") or {}
        output = (message.event.get("usage") or {}).get("output_tokens")
        if isinstance(output, int):
            call.used, call.is_exact = call.used._replace(output=output), True
        if delta.get("stop_reason"):
            call.stop(delta["stop_reason"])

    def _begin_call(self, model: str | None, thread: str | None, start_ns: int) -> _Call:
        token = attach(self._context_of(thread))
        try:
            call = _Call("anthropic", model, "chat")
            call.begin(start_ns=start_ns)
        finally:
            detach(token)
        call.used, call.is_exact = Used(), False
        return call

    def _end_call(self, thread: str | None) -> None:
        call, blocks, _ = self._calls.pop(thread)
        self._sent_ns[thread] = call.came_ns
        if call.error is None:
            call.output(_output(blocks))
        self._ended.append(call)
        if len(self._ended) > OPEN_LIMIT:
            _finish(self._ended.pop(0), None)

    def _settle(self, result: Any) -> None:
        """Give the calls what the result knows better."""
        last = next((call for call in reversed(self._ended) if call.is_main), None)
        if last is not None and last.error is None and result.stop_reason:
            last.stop_unless_known(result.stop_reason)
        for name, entry in (result.model_usage or {}).items():
            calls = [call for call in self._ended if is_model(name, entry, call.called)]
            now = of_model(entry).minus(of_model(self._before.get(name)))
            self._give(now, calls, name)
        if not result.model_usage:
            self._give(of_message(result.usage) or Used(), self._ended, None)

    def _give(self, told: Used, calls: list[_Call], model: str | None) -> None:
        """Give what the calls lack to the last one; input they lack is that of calls unseen."""
        rest = told.minus(total(call.used for call in calls))
        open_ended = [call for call in calls if not call.is_exact]
        if open_ended:
            last = open_ended[-1]
            last.used = last.used.plus(Used(output=rest.output))
            rest = rest._replace(output=0)
        if any(rest) and model is not None:
            call = self._begin_call(model, None, self._first_ns)
            call.came_ns = self._first_ns  # nobody knows when; it is not the last one
            rest.tell(call)
            call.finish()

    def _begin_tool(self, block: Any, thread: str | None) -> None:
        if len(self._tools) + len(self._failed) >= OPEN_LIMIT:
            count("open_spans")
            return
        known = {
            names.OPERATION: "execute_tool",
            names.TOOL_NAME: block.name,
            names.TOOL_CALL_ID: block.id,
        }
        step = _Tool(known)
        step.start(f"execute_tool {block.name}", known, parent=self._context_of(thread))
        step.arguments(block.input)
        self._tools[block.id] = step

    def _results(self, message: Any) -> None:
        """Add results of tools; the ones that failed may turn out to have been denied."""
        thread, now_ns = message.parent_tool_use_id, _now()
        blocks = message.content if isinstance(message.content, list) else []
        results = [block for block in blocks if type(block).__name__ == "ToolResultBlock"]
        if results and thread in self._calls:
            self._end_call(thread)
        self._sent_ns[thread] = now_ns
        for block in results:
            step = self._tools.pop(block.tool_use_id, None)
            if step is None:
                continue
            step.came_ns = now_ns
            step.result(block.content)
            if block.is_error:
                self._failed[block.tool_use_id] = step
            else:
                step.finish()

    def _context_of(self, thread: str | None) -> Context:
        """Return where a message belongs: below the tool call that runs a sub-agent, or the run."""
        step = self._tools.get(thread) if thread is not None else None
        return self.context if step is None or step.span is None else step.context


def _describe(call: _Call, message: Any) -> None:
    call.error = str(message.error) if message.error else None
    used = of_message(message.usage)
    if used is not None:
        call.used = used
        call.response(service_tier=message.usage.get("service_tier"))
    if message.model != _MADE_UP:
        call.response(response_id=message.message_id, model=message.model)
    if message.stop_reason and call.error is None:
        call.stop(message.stop_reason)
        call.is_exact = used is not None


def _finish(call: _Call, http_status: int | None) -> None:
    if any(call.used):
        call.used.tell(call)
    if call.error is None:
        call.finish()
    else:
        call.response(http_status=http_status)
        call.fail_with(call.error)


def _output(blocks: list[Any]) -> list[dict[str, Any]]:
    """Return the blocks as the API writes them, for the inspection of how they end."""
    found: list[dict[str, Any]] = []
    for block in blocks:
        if hasattr(block, "text"):
            found.append({"type": "text", "text": block.text})
        elif type(block).__name__ == "ToolUseBlock":
            known = {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
            found.append(known)
    return [{"role": "assistant", "content": found}]


def _field(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, dict) else getattr(entry, name, None)


def _now() -> int:
    runtime = STATE.runtime
    clock = runtime.clock if runtime is not None else None
    return (clock or time_ns)()
