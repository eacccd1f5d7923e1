"""Everything rare that says how a task ended: what was declared, handed off, approved, blocked.

`marked` in `tracekit/stops/evidence.sql` is the same for recorded spans.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from tracekit.instrumentation.streaks import Streak
from tracekit.stops.live import is_code, status_meaning

if TYPE_CHECKING:
    from tracekit.instrumentation.facts import FrameFacts

_TASK_CODES: Final = {
    "ok": "completed.declared",
    "infeasible": "completed.declined_infeasible",
    "needs_input": "waiting.human_input",
}
_AT_THE_END: Final = math.inf
"""When the root says something: it ends after everything in it."""


class Frame(NamedTuple):
    """A step around others that failed.

    Attributes:
        end_ns: When it ended.
        error_type: `error.type`.
    """

    end_ns: float
    error_type: str | None


class Marks:
    """The marks of a task, of each kind the last one.

    Attributes:
        failed_frame: The inner frame that failed last.
        output_ns: When the last inner frame ended that captured an output of the run.
        done_ns: When a step that is no frame last said the task is done.
    """

    __slots__ = (
        *("_agent_start_ns", "_approval_ns", "_compacted_ns", "_guardrail_ns", "_handoff_ns"),
        *("_handoffs", "_said", "done_ns", "failed_frame", "output_ns"),
    )

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, str]] = {}
        self._handoffs = Streak()
        self._handoff_ns = self._approval_ns = self._guardrail_ns = self._compacted_ns = -1
        self._agent_start_ns = 0
        self.failed_frame: Frame | None = None
        self.output_ns: int | None = None
        self.done_ns: int | None = None

    def say(self, kind: str, word: str, at_ns: int | None) -> None:
        """Take a word of a kind: code, task, done, verdict, approval or framework.

        Args:
            kind: What it is.
            word: The word as written; one without a meaning says nothing.
            at_ns: When the span that says so ended; None for the root.
        """
        if kind == "code":
            meaning = word if is_code(word) else None
        elif kind == "framework":
            meaning = word
        else:
            meaning = status_meaning("declared" if kind in {"task", "done"} else kind, word)
        at = _AT_THE_END if at_ns is None else at_ns
        if meaning is not None and at >= self._said.get(kind, (0, ""))[0]:
            self._said[kind] = at, meaning

    def said(self, kind: str) -> str | None:
        """Return what was said last of a kind."""
        return self._said.get(kind, (0, None))[1]

    def done(self, word: str, at_ns: int, *, on_frame: bool) -> None:
        """Take a done status."""
        self.say("done", word, at_ns)
        if not on_frame and status_meaning("declared", word) == "ok":
            self.done_ns = max(self.done_ns or 0, at_ns)

    def approval(self, word: str, at_ns: int) -> None:
        """Take the status of an approval."""
        self.say("approval", word, at_ns)
        if status_meaning("approval", word) is not None:
            self._approval_ns = max(self._approval_ns, at_ns)

    def handoff(self, to: str | None, start_ns: int) -> None:
        """Take a handoff."""
        self._handoff_ns = max(self._handoff_ns, start_ns)
        if to is not None:
            self._handoffs.add(to)

    def guardrail(self, at_ns: int) -> None:
        """Take a guardrail that failed."""
        self._guardrail_ns = max(self._guardrail_ns, at_ns)

    def compacted(self, at_ns: int) -> None:
        """Take a compaction."""
        self._compacted_ns = max(self._compacted_ns, at_ns)

    def frame(self, facts: FrameFacts) -> None:
        """Take an inner frame."""
        if facts.agent:
            self._agent_start_ns = max(self._agent_start_ns, facts.start_ns)
        failed = self.failed_frame
        if facts.failed and (failed is None or facts.end_ns >= failed.end_ns):
            self.failed_frame = Frame(facts.end_ns, facts.error_type)
        if facts.output:
            self.output_ns = max(self.output_ns or 0, facts.end_ns)

    def framework(self, llm_end_ns: int | None) -> tuple[str | None, bool]:
        """Return the last terminal state of a framework, and whether no model call ended later."""
        at, raw = self._said.get("framework", (0, None))
        return raw, raw is not None and (llm_end_ns is None or at >= llm_end_ns)

    def evidence(
        self, *, llm_end_ns: int, call_start_ns: int, tool_start_ns: int
    ) -> dict[str, object]:
        """Return the columns of the evidence that rest on marks and on when calls were made.

        Args:
            llm_end_ns: End of the last model call; 0 without.
            call_start_ns: Latest start of a call; 0 without.
            tool_start_ns: Start of the last tool call; 0 without.
        """
        approval, task, done = self.said("approval"), self.said("task"), self.said("done")
        others_ns = max(call_start_ns, self._agent_start_ns)
        return {
            "compacted": self._compacted_ns >= llm_end_ns,
            "handoff_cycle_streak": self._handoffs.cycles,
            "guardrail_failed": self._guardrail_ns >= llm_end_ns,
            "approval_denied": approval == "denied" and tool_start_ns < self._approval_ns,
            "approval_open": approval == "requested" and call_start_ns < self._approval_ns,
            "handoff_open": self._handoff_ns >= others_ns,
            "declared_code": self.said("code") or _TASK_CODES.get(task or ""),
            "declared_failed": "failed" in {task, done},
            "done_class": done,
            "verdict": self.said("verdict"),
        }
