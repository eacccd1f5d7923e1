"""The evidence about one task, gathered while it runs.

The columns of `tracekit/stops/evidence.yaml` with the meanings `evidence.sql` gives them, from the
facts of the steps instead of their spans. A step costs an append; what it means is worked out when
the task closes, or when many have gathered, so that memory stays bounded however long a task runs.
"""

from __future__ import annotations

import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from tracekit.instrumentation.conclusion import Root, evidence
from tracekit.instrumentation.facts import FrameFacts, LlmFacts, ToolFacts
from tracekit.instrumentation.marks import Marks
from tracekit.instrumentation.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracekit.costs.live import Price

__all__ = ["FrameFacts", "LlmFacts", "ToolFacts", "Unit"]

LIMIT: Final = 1024
"""Calls that are kept as they are; more are folded."""
_KEPT: Final = 256
"""Latest calls that stay when others are folded: calls that run side by side end out of order."""


class _Priced(NamedTuple):
    facts: LlmFacts
    cost: Price | None


class Unit:
    """What happened in one task; made by the outermost task or agent step.

    Steps may report from any number of threads.

    Attributes:
        cost_usd: Sum of the known costs of the calls folded so far; complete after `close`.
        cost_missing: Why the cost of a call is unknown: the first reason; None where all are known.
        priced: Calls whose cost is known.
    """

    __slots__ = ("_lock", "_marks", "_steps", "_tally", "cost_missing", "cost_usd", "priced")

    def __init__(self) -> None:
        # Appending needs no lock, and taking from the left never loses what is appended meanwhile.
        self._steps: deque[ToolFacts | _Priced] = deque()
        self._lock = Lock()
        self._tally = Tally()
        self._marks = Marks()
        self.cost_usd = 0.0
        self.cost_missing: str | None = None
        self.priced = 0

    def llm(self, facts: LlmFacts, cost: Price | None = None) -> None:
        """Add a model call that ended, an attempt or the wrapper around attempts.

        Args:
            facts: The call.
            cost: What it cost; None where it is not billed beside another: of a wrapper and its
                attempts one side has the cost.
        """
        if not facts.end_ns:
            now = time.time_ns()
            facts = facts._replace(start_ns=now, end_ns=now)
        self._steps.append(_Priced(facts, cost))
        if len(self._steps) > LIMIT:
            self._fold(_KEPT)

    def tool(self, facts: ToolFacts) -> None:
        """Add a tool call that ended."""
        if not facts.end_ns:
            now = time.time_ns()
            facts = facts._replace(start_ns=now, end_ns=now)
        self._steps.append(facts)
        if len(self._steps) > LIMIT:
            self._fold(_KEPT)

    @property
    def kept(self) -> int:
        """Calls that are kept as they are, at most `LIMIT`."""
        return len(self._steps)

    def frame(self, facts: FrameFacts) -> None:
        """Add an inner agent, workflow, task or plain step that ended."""
        if not facts.end_ns:
            now = time.time_ns()
            facts = facts._replace(start_ns=now, end_ns=now)
        with self._lock:
            self._marks.frame(facts)

    def handoff(self, from_: str | None, to: str | None, start_ns: int | None = None) -> None:
        """Add a handoff from one agent to another, at a time, UTC, ns since 1970; now."""
        del from_
        start = time.time_ns() if start_ns is None else start_ns
        with self._lock:
            self._marks.handoff(to, start)
            self._tally.executed(start)

    def approval(self, status: str, at_ns: int | None = None) -> None:
        """Add an approval as it stands: requested, approved, denied, ..."""
        with self._lock:
            self._marks.approval(status, time.time_ns() if at_ns is None else at_ns)

    def guardrail(self, failed: bool, at_ns: int | None = None) -> None:
        """Add a guardrail that ended."""
        if failed:
            with self._lock:
                self._marks.guardrail(time.time_ns() if at_ns is None else at_ns)

    def compacted(self, at_ns: int | None = None) -> None:
        """Note that the conversation was compacted."""
        with self._lock:
            self._marks.compacted(time.time_ns() if at_ns is None else at_ns)

    def done(self, status: str, at_ns: int | None = None, *, on_frame: bool = False) -> None:
        """Add a typed done event.

        Args:
            status: Done status as written.
            at_ns: When the step that says so ended; now.
            on_frame: A frame says so: an agent or the task itself, which ends with it anyway.
        """
        with self._lock:
            self._marks.done(status, time.time_ns() if at_ns is None else at_ns, on_frame=on_frame)

    def status(self, status: str, at_ns: int | None = None) -> None:
        """Add a typed task status; said by the root unless there is a time."""
        with self._lock:
            self._marks.say("task", status, at_ns)

    def declare(self, code: str, at_ns: int | None = None) -> None:
        """Add a stop code the application passed; said by the root unless there is a time."""
        with self._lock:
            self._marks.say("code", code, at_ns)

    def framework(self, raw: str, at_ns: int | None = None) -> None:
        """Add a framework's terminal state; said by the root unless there is a time."""
        with self._lock:
            self._marks.say("framework", raw, at_ns)

    def verdict(self, label: str, at_ns: int | None = None) -> None:
        """Add an evaluation's verdict on the task; said by the root unless there is a time."""
        with self._lock:
            self._marks.say("verdict", label, at_ns)

    def close(  # noqa: PLR0913 - each is told by name
        self,
        *,
        error_type: str | None = None,
        ended: bool = True,
        failed: bool | None = None,
        ok: bool = False,
        output: bool = False,
        end_ns: int | None = None,
    ) -> dict[str, object]:
        """Return the evidence: the columns of `evidence.yaml` but for the two ids.

        Args:
            error_type: `error.type` of the outermost step.
            ended: It ended.
            failed: It has status error; by default where it has an error type.
            ok: It has status ok.
            output: It captured an output of the run that is complete.
            end_ns: When it ended, UTC, ns since 1970; after everything else by default.
        """
        failing = error_type is not None and not ok if failed is None else failed
        root = Root(failing, error_type, ended, ok, output, end_ns)
        self._fold(0)
        with self._lock:
            return evidence(self._tally, self._marks, root)

    def _fold(self, kept: int) -> None:
        with self._lock:
            steps = self._steps
            batch = [steps.popleft() for _ in range(len(steps) - kept)]
            if self._marks.done_ns is not None:
                self._tally.done(self._marks.done_ns)
            self._tally.add_tools([step for step in batch if isinstance(step, ToolFacts)])
            calls = [step for step in batch if isinstance(step, _Priced)]
            self._tally.add_calls([call.facts for call in calls])
            self._add_costs(calls)

    def _add_costs(self, calls: Iterable[_Priced]) -> None:
        for call in calls:
            cost = call.cost
            if cost is None:
                continue
            if cost.usd is not None:
                self.cost_usd += cost.usd
                self.priced += 1
            elif self.cost_missing is None:
                self.cost_missing = cost.missing_reason
