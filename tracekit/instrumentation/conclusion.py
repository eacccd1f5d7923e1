"""The evidence row of a task that closes: the last SELECT of `tracekit/stops/evidence.sql`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from tracekit.instrumentation.marks import Frame
from tracekit.instrumentation.tally import class_of, has_failed, has_http_error, tool_code
from tracekit.instrumentation.tally import tool_failed as has_tool_failed
from tracekit.stops.live import error_code, framework_code

if TYPE_CHECKING:
    from tracekit.instrumentation.facts import LlmFacts, ToolFacts
    from tracekit.instrumentation.marks import Marks
    from tracekit.instrumentation.tally import Tally

_T = TypeVar("_T")

_LOSSY_GATEWAY: Final = "litellm"
_NO_TOOL: Final[dict[str, object]] = {
    "tool_failed": False,
    "tool_denied": False,
    "tool_code": None,
    "tool_end_code": None,
    "answered": False,
}
_NO_LLM: Final[dict[str, object]] = {
    **dict.fromkeys(("llm_raw", "llm_code", "llm_error_code", "llm_state", "llm_claims_success")),
    **dict.fromkeys(("llm_output_tokens", "llm_max_tokens", "llm_pending_calls")),
    **dict.fromkeys(("llm_failed", "llm_http_error", "llm_lossy", "llm_streamed"), False),
    "llm_cut": False,
    "run_output": False,
    "pending": 0,
}


class Root(NamedTuple):
    """How the outermost step ended.

    Attributes:
        failed: It has status error, or an error type and no status.
        error_type: `error.type`.
        ended: It ended.
        ok: It has status ok: what failed inside was dealt with.
        output: It captured an output of the run that is complete.
        end_ns: End, UTC, ns since 1970; None where nothing came after it.
    """

    failed: bool = False
    error_type: str | None = None
    ended: bool = True
    ok: bool = False
    output: bool = False
    end_ns: int | None = None


class _Last(NamedTuple):
    """L, the call that says how it stopped, and T."""

    llm: LlmFacts | None
    said: LlmFacts | None
    tool: ToolFacts | None

    @property
    def code(self) -> str | None:
        return class_of(self.said) if self.said is not None else None

    @property
    def failed(self) -> bool:
        return self.llm is not None and has_failed(self.llm)

    @property
    def is_llm(self) -> bool:
        """A model call ended after the last tool call."""
        return self.llm is not None and self.tool is not None and self.llm.end_ns > self.tool.end_ns


def evidence(tally: Tally, marks: Marks, root: Root) -> dict[str, object]:
    """Return the columns of `evidence.yaml` but for the two ids."""
    last = _Last(*tally.last_calls(), tally.last_tool)
    raw, holds = marks.framework(tally.llm_end_ns)
    return {
        **_root(tally, marks, root, last),
        "framework_raw": raw,
        "framework_code": framework_code(raw) if holds else None,
        **_llm(tally, last, output=_has_output(marks, root, last.llm)),
        **_tool(last),
        **tally.evidence(),
        **marks.evidence(
            llm_end_ns=tally.llm_end_ns or 0,
            call_start_ns=tally.call_start_ns,
            tool_start_ns=last.tool.start_ns if last.tool is not None else 0,
        ),
    }


def _root(tally: Tally, marks: Marks, root: Root, last: _Last) -> dict[str, object]:
    end_ns = math.inf if root.end_ns is None else root.end_ns
    inner = None if root.ok else marks.failed_frame
    frame = Frame(end_ns, root.error_type) if root.failed else None
    if inner is not None and (frame is None or inner.end_ns > frame.end_ns):
        frame = inner
    if frame is not None and frame.end_ns < tally.call_start_ns:
        frame = None
    return {
        "has_root": True,
        "root_ended": root.ended,
        "root_failed": frame is not None,
        "root_code": _root_code(frame.error_type, last) if frame is not None else None,
        "root_typed": frame is not None and frame.error_type is not None,
        "orphans": 0,
    }


def _root_code(error_type: str | None, last: _Last) -> str | None:
    # An error handed up from the last call keeps the meaning it had there.
    if error_type is None:
        return None
    llm, tool = last.llm, last.tool
    code = error_code(error_type, None, "run")
    if llm is not None and last.failed:
        was = error_code(llm.error_type, llm.http_status, "inference")
        if llm.error_type == error_type:
            return was
        # One exception for many errors: BadRequestError, also for a full context window.
        if code is not None and code.startswith("provider."):
            inner = tool is None or tool.end_ns < llm.end_ns
            code = (was or code) if inner else code
    if tool is not None and has_tool_failed(tool) and not last.is_llm:
        return tool_code(tool) if tool.error_type == error_type else code
    return code


def _has_output(marks: Marks, root: Root, llm: LlmFacts | None) -> bool:
    if llm is None:
        return False
    if root.output and (root.end_ns is None or root.end_ns >= llm.end_ns):
        return True
    return marks.output_ns is not None and marks.output_ns >= llm.end_ns


def _llm(tally: Tally, last: _Last, *, output: bool) -> dict[str, object]:
    llm, said = last.llm, last.said
    if llm is None or said is None:
        return _NO_LLM
    failed = last.failed
    pending_calls = _either(llm.pending_calls, said.pending_calls)
    return {
        "llm_raw": said.raw,
        "llm_code": last.code,
        "llm_failed": failed,
        "llm_error_code": error_code(llm.error_type, llm.http_status, "inference")
        if failed
        else None,
        "llm_http_error": has_http_error(llm),
        "llm_lossy": said.raw is not None and (said.gateway or "").lower() == _LOSSY_GATEWAY,
        "llm_streamed": llm.streamed,
        "llm_cut": llm.cut,
        "llm_output_tokens": _either(said.output_tokens, llm.output_tokens),
        "llm_max_tokens": _either(said.max_tokens, llm.max_tokens),
        "llm_state": _either(llm.state, said.state),
        "llm_pending_calls": pending_calls,
        "llm_claims_success": _either(llm.claims_success, said.claims_success),
        "run_output": output,
        "pending": 0 if output else _pending(tally, last.code, llm.start_ns, pending_calls),
    }


def _pending(tally: Tally, code: str | None, start_ns: int, asked: int | None) -> int:
    if code != "tool_call":
        return 0
    # Where earlier requests were not followed by tools either, tools are not traced.
    if asked is None and tally.tool_calls == 0 and tally.tool_stops > 1:
        return 0
    return max((1 if asked is None else asked) - tally.executed_since(start_ns), 0)


def _tool(last: _Last) -> dict[str, object]:
    tool = last.tool
    if tool is None:
        return _NO_TOOL
    code = tool_code(tool)
    return {
        "tool_failed": has_tool_failed(tool),
        "tool_denied": tool.denied,
        "tool_code": code,
        "tool_end_code": None if last.is_llm else code,
        "answered": last.is_llm and not last.failed and last.code != "tool_call",
    }


def _either(first: _T | None, second: _T | None) -> _T | None:
    return second if first is None else first
