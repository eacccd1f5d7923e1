"""The calls of a task, folded into counters, streaks and the last few: constant memory.

What counts as failed, as the last call, as recovered from is said in `tracekit/stops/evidence.sql`;
the names of its tables stand beside what does the same here.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from tracekit.instrumentation.streaks import ToolStreaks
from tracekit.stops.live import error_code, stop_class

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracekit.instrumentation.facts import LlmFacts, ToolFacts

_RECENT: Final = 64
"""Model calls among which the last one is looked for."""
_EXECUTED: Final = 1024
"""Tool calls that are held against what the last model call asked for."""
_EFFECTS: Final = frozenset({"idempotent", "write", "external", "irreversible"})
_TURN_ENDS: Final = frozenset({"clean", "tool_call"})
_FAILURES: Final = {
    "provider.rate_limited": "rate_limited_calls",
    "provider.overloaded": "overloaded_calls",
    "provider.timeout": "timeout_calls",
    "provider.server_error": "server_error_calls",
    "provider.malformed_output": "malformed_calls",
    "provider.rejected_request": "rejected_calls",
    "provider.auth_or_billing": "auth_calls",
    "tool.error_unrecovered": "tool_errors",
    "tool.invalid_call": "invalid_tool_calls",
    "tool.unknown": "unknown_tool_calls",
    "tool.timeout": "tool_timeouts",
}
_CLIENT_ERROR: Final = 400


def class_of(call: LlmFacts) -> str | None:
    """Return the class of a model call's stop value."""
    found = stop_class(call.provider, call.raw)
    # Gemini says STOP when it asks for tools: what the output asks for tells.
    return "tool_call" if found == "clean" and call.pending_calls else found


def has_http_error(call: LlmFacts | ToolFacts) -> bool:
    """Return whether a call was answered with an HTTP error."""
    return call.http_status is not None and call.http_status >= _CLIENT_ERROR


def has_failed(call: LlmFacts) -> bool:
    """Return whether a model call failed; an error beside an answer was caught."""
    return (
        call.failed
        or has_http_error(call)
        or (call.error_type is not None and class_of(call) not in _TURN_ENDS)
    )


def tool_failed(call: ToolFacts) -> bool:
    """Return whether a tool call failed; one that was denied and has no error status did not."""
    return call.failed or (call.error_type is not None and not call.denied)


def tool_code(call: ToolFacts) -> str | None:
    """Return what a failed tool call's error means."""
    return _tool_error(call) if tool_failed(call) else None


def _tool_error(call: ToolFacts) -> str:
    return error_code(call.error_type, call.http_status, "tool") or "tool.error_unrecovered"


class Tally:
    """What the calls of a task come to.

    Attributes:
        last_tool: The tool call that ended last.
        tool_calls: Tool calls.
        llm_calls: Model calls.
        call_start_ns: When the latest call of either kind started; 0 without calls.
        llm_end_ns: When the last model call ended; None without.
        done_ns: When the task was last said to be done.
        tool_stops: Model calls that stopped to call tools.
    """

    __slots__ = (
        *("_after_done", "_after_effect", "_effect_ns", "_effects", "_effects_done"),
        *("_effect_end_ns", "_executed", "_failures", "_recent", "_streaks"),
        *("call_start_ns", "done_ns", "last_tool", "llm_calls", "llm_end_ns", "tool_calls"),
        "tool_stops",
    )

    def __init__(self) -> None:
        self.last_tool: ToolFacts | None = None
        self.tool_calls = self.llm_calls = self.call_start_ns = 0
        self.llm_end_ns: int | None = None
        self.done_ns: int | None = None
        self._recent: deque[LlmFacts] = deque(maxlen=_RECENT)
        self._executed: deque[int] = deque(maxlen=_EXECUTED)
        self._streaks = ToolStreaks()
        self._failures: Counter[str] = Counter()
        self._effects = self._effects_done = self.tool_stops = 0
        self._effect_ns: int | None = None
        self._effect_end_ns = 0
        self._after_effect = self._after_done = 0

    def done(self, at_ns: int) -> None:
        """Note that the task was said to be done; before the calls that came after it."""
        if self.done_ns is None or at_ns > self.done_ns:
            self.done_ns, self._after_done = at_ns, 0

    def executed(self, start_ns: int) -> None:
        """Note that something a model call may have asked for was executed."""
        self._executed.append(start_ns)

    def add_tools(self, calls: list[ToolFacts]) -> None:
        """Add tool calls; before the model calls of the same time."""
        # In the order of `backwards` in evidence.sql, read from its end.
        calls.sort(key=_backwards)
        for call in reversed(calls):
            self._streaks.add(call.name, call.arguments_hash, call.result_hash)
            self._executed.append(call.start_ns)
            self._count_effect(call)
            if tool_failed(call) or has_http_error(call):
                self._failures[_tool_error(call)] += 1
        last = self.last_tool
        ending = [*calls, last] if last is not None else calls
        if ending:
            self.last_tool = min(ending, key=_tool_order)
        self.tool_calls += len(calls)
        starts = (call.start_ns for call in calls)
        self.call_start_ns = max(self.call_start_ns, max(starts, default=0))

    def _count_effect(self, call: ToolFacts) -> None:
        if call.side_effect not in _EFFECTS:
            return
        self._effects += 1
        self._effect_end_ns = max(self._effect_end_ns, call.end_ns)
        if not call.denied and not tool_failed(call):
            self._effects_done += 1
            if self._effect_ns is None or call.end_ns > self._effect_ns:
                self._effect_ns, self._after_effect = call.end_ns, 0

    def add_calls(self, calls: list[LlmFacts]) -> None:
        """Add model calls, in the order in which they ended."""
        for call in _without_losers(calls, self._recent):
            self._recent.append(call)
            self.llm_calls += 1
            self.call_start_ns = max(self.call_start_ns, call.start_ns)
            self.llm_end_ns = max(self.llm_end_ns or 0, call.end_ns)
            self._after_effect += self._effect_ns is not None and call.start_ns >= self._effect_ns
            self._after_done += self.done_ns is not None and call.start_ns >= self.done_ns
            found = class_of(call)
            self.tool_stops += found == "tool_call"
            if (
                call.failed
                or call.error_type is not None
                or has_http_error(call)
                or (found is not None and found.startswith("provider."))
            ):
                code = error_code(call.error_type, call.http_status, "inference") or found
                self._failures[code or ""] += 1

    def last_calls(self) -> tuple[LlmFacts | None, LlmFacts | None]:
        """Return the last model call, and the one that says how it stopped: L and `said`."""
        if not self._recent:
            return None, None
        last = min(self._recent, key=_llm_order)
        if last.raw is not None:
            return last, last
        inside = (
            call
            for call in self._recent
            if call.start_ns >= last.start_ns or call.end_ns == last.end_ns
        )
        return last, min(inside, key=_said_order)

    def executed_since(self, start_ns: int) -> int:
        """Return how many tools were executed that a call which started then may want."""
        return sum(executed >= start_ns for executed in self._executed)

    def evidence(self) -> dict[str, object]:
        """Return the columns of the evidence that are counts and streaks."""
        return {
            "llm_calls": self.llm_calls,
            "llm_tool_stops": self.tool_stops,
            "tool_calls": self.tool_calls,
            **self._streaks.evidence(),
            "effect_calls": self._effects,
            "effects_done": self._effects_done,
            "effect_failed_last": self._effect_end_ns > (self._effect_ns or 0),
            "calls_after_effect": self._after_effect,
            "calls_after_done": self._after_done,
            **{column: self._failures[code] for code, column in _FAILURES.items()},
        }


def _backwards(call: ToolFacts) -> tuple[object, ...]:
    arguments, result = call.arguments_hash, call.result_hash
    word = f"{call.name or ''} {arguments}"
    none, nothing = arguments is None, result is None
    return (-call.start_ns, -call.end_ns, none, "" if none else word, nothing, result or 0)


def _tool_order(call: ToolFacts) -> tuple[object, ...]:
    error = call.error_type
    failed = tool_failed(call)
    return (-call.end_ns, -call.start_ns, not failed, not call.denied, error is None, error or "")


def _llm_order(call: LlmFacts) -> tuple[object, ...]:
    raw, error = call.raw, call.error_type
    return (-call.end_ns, -call.start_ns, raw is None, raw or "", error is None, error or "")


def _said_order(call: LlmFacts) -> tuple[object, ...]:
    return (call.raw is None, -call.end_ns, -call.start_ns, call.raw or "")


def _without_losers(calls: list[LlmFacts], before: Iterable[LlmFacts]) -> list[LlmFacts]:
    """Return the calls without those cancelled because one beside them had answered."""
    lost = [call for call in calls if call.parent_id is not None and _was_cancelled(call)]
    if not lost:
        return calls
    answered = [call for call in (*before, *calls) if not _is_failure(call)]
    losers = {
        id(call)
        for call in lost
        for other in answered
        if other.parent_id == call.parent_id
        and other.start_ns < call.end_ns
        and other.end_ns > call.start_ns
    }
    return [call for call in calls if id(call) not in losers]


def _was_cancelled(call: LlmFacts) -> bool:
    if not _is_failure(call):
        return False
    code = error_code(call.error_type, call.http_status, "inference")
    return code is not None and code.startswith("cancelled.")


def _is_failure(call: LlmFacts) -> bool:
    """Return whether a call failed as an attempt: `failures` in tracekit/models/20_retries.sql."""
    code = class_of(call) or ""
    return (
        has_failed(call)
        or call.cut
        or code.startswith("provider.")
        or code == "truncated.stream_cut"
    )
