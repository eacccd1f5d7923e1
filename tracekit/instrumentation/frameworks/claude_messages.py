"""What the messages of Claude's agent loop tell: model calls and tool calls.

The loop runs in another process; its messages are all there is to see of it. A model call ends when
its message arrives and began when what it answers was sent; a tool runs from the message that asks
for it to the one with its result.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, detach

from tracekit.instrumentation import names
from tracekit.instrumentation.calls import LlmCall
from tracekit.instrumentation.runtime import STATE, count
from tracekit.instrumentation.steps import event
from tracekit.instrumentation.tools import ToolStep

if TYPE_CHECKING:
    from opentelemetry.context import Context

OPEN_LIMIT: Final = 10_000
"""Most tool calls of a run that wait for their end."""

_MADE_UP: Final = "<synthetic>"
"""Model of messages the loop wrote itself, most of them about errors."""

_NO_ERROR: Final = ("", None)


class _Call(LlmCall):
    """A model call, which ended when its last message came."""

    __slots__ = ("came_ns", "message")

    came_ns: int
    message: Any

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

    Attributes:
        last_error: Error of the last model call, or None.
    """

    def __init__(self, context: Context) -> None:
        """Begin.

        Args:
            context: That of the run.
        """
        self.context = context
        self.last_error: str | None = None
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
        elif kind == "SystemMessage" and message.subtype == "compact_boundary":
            event("compaction", {"gen_ai.conversation.compacted": True}, parent=self.context)

    def end(self, result: Any) -> None:
        """End what is open.

        Args:
            result: The result message; None where the messages broke off.
        """
        for thread in list(self._calls):
            self._finish_call(thread, getattr(result, "api_error_status", None))
        for denial in getattr(result, "permission_denials", None) or ():
            refused = self._failed.get(str(_field(denial, "tool_use_id")))
            if refused is not None:
                refused.denied()
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
            self._finish_call(thread)
        if thread not in self._calls:
            start_ns = min(self._sent_ns.get(thread, self._first_ns), now_ns)
            self._calls[thread] = (self._begin_call(message, thread, start_ns), [], key)
        call, blocks, _ = self._calls[thread]
        call.came_ns, call.message = now_ns, message
        blocks += message.content
        _describe(call, message)
        for block in message.content:
            if type(block).__name__ == "ToolUseBlock":
                self._begin_tool(block, thread)

    def _begin_call(self, message: Any, thread: str | None, start_ns: int) -> _Call:
        model = None if message.model == _MADE_UP else message.model
        token = attach(self._context_of(thread))
        try:
            call = _Call("anthropic", model, "chat")
            call.begin(start_ns=start_ns)
        finally:
            detach(token)
        return call

    def _finish_call(self, thread: str | None, http_status: int | None = None) -> None:
        call, blocks, _ = self._calls.pop(thread)
        self._sent_ns[thread] = call.came_ns
        message = call.message
        self.last_error = error = None if message.error in _NO_ERROR else str(message.error)
        if error is None:
            call.output(_output(blocks))
            call.finish()
        else:
            call.response(http_status=http_status)
            call.fail_with(error)

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
            self._finish_call(thread)
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


def _describe(call: LlmCall, message: Any) -> None:
    used = message.usage
    if isinstance(used, dict) and isinstance(used.get("input_tokens"), int):
        read = used.get("cache_read_input_tokens") or 0
        written = used.get("cache_creation_input_tokens") or 0
        call.usage(
            input_tokens=used["input_tokens"] + read + written,
            output_tokens=used.get("output_tokens"),
            cache_read_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=(used.get("cache_creation") or {}).get(
                "ephemeral_1h_input_tokens"
            ),
        )
        call.response(service_tier=used.get("service_tier"))
    if message.model != _MADE_UP:
        call.response(response_id=message.message_id, model=message.model)
    if message.stop_reason:
        call.stop(message.stop_reason)


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
