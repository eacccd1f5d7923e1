"""What a scripted agent can do: ask its model, use its tools, wait.

Everything goes through tracekit's own decorators, so that the spans are what a real agent's would
be. What is true of the task is written down on the way.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, detach

from tracekit.instrumentation import names
from tracekit.instrumentation.agents import RootStep, agent
from tracekit.instrumentation.approvals import ApprovalStep
from tracekit.instrumentation.fanouts import FanoutStep
from tracekit.instrumentation.propagation import headers, restored
from tracekit.instrumentation.retries import retry
from tracekit.instrumentation.tools import tool
from tracekit.simulation.asking import BETWEEN_S, Asking
from tracekit.simulation.providers import CallFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from tracekit.instrumentation.fanouts import Policy
    from tracekit.simulation.asking import Cast
    from tracekit.simulation.clock import Clock
    from tracekit.simulation.providers import World
    from tracekit.simulation.truth import Truth

EFFECTS: Final = ("write", "external", "irreversible", "idempotent")
"""Side effects that change something."""

ANSWERS: Final = (
    "Here is what I found: the order left the warehouse on Monday and arrives on Thursday.",
    "The function reads the file twice. Reading it once and keeping the rows takes half the time.",
    "Three sources agree on the figure, one gives a range. The range includes the figure.",
    "You can change the address until the parcel is handed over; the form is under Orders.",
)
"""Last words of an agent that claim nothing."""


class Play(Asking):
    """A task while it is played.

    Attributes:
        run: The root of the task: its agent's run, or the task where one is declared.
        truth: What is true of it; a mode may change it.
        incident: Incident that ended it; empty where none did.
        counted: Whether a failure ended it that the provider's contract counts.
        enter: Goes on in the process of a service.
        numbers: Tells things apart that must differ within the session.
    """

    def __init__(
        self, cast: Cast, truth: Truth, world: World, random: Random, clock: Clock
    ) -> None:
        super().__init__(cast, world, random, clock)
        self.run = RootStep()
        self.truth = truth
        self.incident = ""
        self.counted = False
        self.enter: Callable[[str], None] = world.enter
        self.numbers = count(1)

    def work(self, turns: int | None = None) -> None:
        """Work for some rounds: the model asks for a tool, the tool answers.

        Args:
            turns: How many; by default as many as the agent usually takes.
        """
        plan = self.cast.agent
        for _ in range(self.random.randint(*plan.turns) if turns is None else turns):
            self.ask()
            if plan.tool_errors and self.random.random() < plan.tool_errors:
                name, arguments = self.any_tool(), self.arguments()
                self.use(name, arguments, error="UpstreamError")
                self.ask()
                self.use(name, arguments)
            else:
                self.use()

    def answer(self, text: str | None = None) -> None:
        """Let the model give its last answer.

        Args:
            text: What it says; by default something that claims nothing.
        """
        self.ask("clean", says=self.random.choice(ANSWERS) if text is None else text)

    def use(  # noqa: PLR0913 - what a mode may want of a call
        self,
        name: str | None = None,
        arguments: object = None,
        *,
        result: object = None,
        error: str | None = None,
        denied: bool = False,
        seconds: float | None = None,
    ) -> None:
        """Call a tool.

        Args:
            name: Its name; by default one of the agent's, by their shares.
            arguments: Its arguments; by default such as no other call has.
            result: Its result; by default such as no other call has.
            error: What it raises; none where it is empty.
            denied: Whether a person or the permission layer refuses the call.
            seconds: How long it takes; by default about as long as the tool usually does.
        """
        name = name or self.any_tool()
        plan = self.cast.agent.tools.get(name)
        effect = plan.effect if plan else None
        self.clock.wait(BETWEEN_S)
        with tool(name, side_effect=effect, call_id=f"call-{self._unique()}") as step:
            step.arguments(self.arguments() if arguments is None else arguments)
            usual = (plan.seconds if plan else 0.01) * self.random.uniform(0.6, 1.8)
            self.clock.wait(usual if seconds is None else seconds)
            if denied:
                step.denied()
            elif error:
                step.failed(error)
            else:
                step.result({"found": self._unique()} if result is None else result)
        size = plan.result if plan and not error else 40
        self._input += int(size * self.random.uniform(0.5, 1.6))

    def lose(self, end_ns: int) -> None:
        """Call the model beside another call that wins, and be cancelled when it has.

        Args:
            end_ns: When the other one ended.

        Raises:
            SimulatedError: Always.
        """
        self.bill.calls += 1
        asked = self.cast.asked[0]
        self._tried(asked, "cancelled")
        self.clock.wait(BETWEEN_S)
        with self._open(asked) as call:
            self.clock.ns = end_ns + 1_000_000
            self._pay(call, asked, self.cast.agent.answer[0] // 2, "cancelled_sibling")
            raise self.error("CancelledError", "asyncio.exceptions")

    def cut_and_ask_again(self) -> None:
        """Let a stream break, and let the application ask again."""
        self.ask_twice(self.cut)

    def ask_twice(self, first: Callable[[], None] | None = None) -> None:
        """Call the model, and let the application do so again when that fails for good.

        Args:
            first: What is done first; by default the model is called as usual.
        """
        with retry("ask") as work:
            with suppress(CallFailedError), work.attempt():
                (first or self.ask)()
            self.clock.wait(self.cast.agent.client.wait_s)
            self.bill.calls -= 1  # one logical call
            with work.attempt():
                self.ask()

    def verdict(self, *, passed: bool, name: str = "session_review") -> None:
        """Let an evaluation judge the task."""
        self.run.evaluated(name, passed=passed, score=float(passed))

    def instead(self, **changes: Any) -> None:
        """Change what is true of the task; the fields are those of `Truth`."""
        self.truth = replace(self.truth, **changes)

    @contextmanager
    def helper(self, name: str) -> Iterator[RootStep]:
        """Let another agent work inside; it has the same model and tools, and its own context."""
        before, self._input, self._cached = self._input, self.cast.agent.context, 0
        try:
            with agent(name) as step:
                yield step
        finally:
            self._input, self._cached = before, 0

    @contextmanager
    def elsewhere(self, service: str) -> Iterator[None]:
        """Go on in another process, to which only W3C headers were sent."""
        carrier = headers()
        self.enter(service)
        token = attach(restored(carrier))
        try:
            yield
        finally:
            detach(token)
            self.enter(self.cast.agent.service)

    @contextmanager
    def approval(self, name: str, *, expires_s: float) -> Iterator[ApprovalStep]:
        """Wait for an approval; see `tracekit.approval`, whose ids do not follow from a seed."""
        step = ApprovalStep(f"approval-{self._id()}").begin(name, expires_s=expires_s)
        step.enter()
        try:
            yield step
        finally:
            step.leave()
            step.finish()

    @contextmanager
    def fanout(
        self, name: str, *, policy: Policy = "all", needed: int | None = None
    ) -> Iterator[FanoutStep]:
        """Fan out; see `tracekit.fanout`, whose ids do not follow from a seed.

        Its members run at the same time where each is inside of `branches.next()`; see `beside`.
        """
        step = FanoutStep(policy, needed)
        step.id = f"fanout-{self._id()}"
        known = {names.KIND: "step", names.FANOUT_ID: step.id, names.FANOUT_POLICY: policy}
        step.start(f"fanout {name}", known)
        step.enter()
        try:
            yield step
        finally:
            step.leave()
            step.finish()

    @contextmanager
    def beside(self) -> Iterator[_Branches]:
        """Let several things happen at the same time: each `with branches.next():` is one of them.

        Time goes on when the longest has ended.
        """
        branches = _Branches(self.clock)
        try:
            yield branches
        finally:
            self.clock.ns = max(branches.end_ns, self.clock.ns)

    def any_tool(self, effects: Sequence[str] = ()) -> str:
        """Return the name of one of the agent's tools, drawn by their shares.

        Args:
            effects: Only tools with these side effects, where there are such.
        """
        tools = self.cast.agent.tools
        fitting = {name: t for name, t in tools.items() if not effects or t.effect in effects}
        fitting = fitting or tools
        return self.random.choices([*fitting], [t.share for t in fitting.values()])[0]

    def arguments(self) -> dict[str, int]:
        """Return arguments that no other call of the session has."""
        return {"id": self._unique()}

    def _unique(self) -> int:
        return next(self.numbers)

    def _id(self) -> str:
        return f"{self.random.getrandbits(64):016x}"


class _Branches:
    """Things that happen at the same time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.start_ns = self.end_ns = clock.ns

    @contextmanager
    def next(self) -> Iterator[None]:
        """Go back to when the first of them began."""
        self._clock.ns = self.start_ns
        try:
            yield
        finally:
            self.end_ns = max(self.end_ns, self._clock.ns)
