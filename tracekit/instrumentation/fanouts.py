"""Fan-outs: steps that run side by side, and how each of them ended.

A runtime that gathers results tells of the first failure only. Here every member has an end of its
own, also the one that was cancelled, and the one nobody waited for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, overload
from uuid import uuid4

from opentelemetry.context import set_value

from tracekit.instrumentation import names
from tracekit.instrumentation.around import MEMBER_KEY
from tracekit.instrumentation.decorate import Instrument, name_of, refuse_bare
from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.steps import Step, cleaned, failed_frame
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

Policy = Literal["all", "k_of_n", "best_effort"]
"""What a fan-out needs: every member, `needed` of them, or whatever comes."""

State = Literal["ok", "error", "cancelled", "timeout", "abandoned"]
"""How a member ended; `abandoned` had not ended when the fan-in did."""

POLICIES: Final[tuple[Policy, ...]] = ("all", "k_of_n", "best_effort")

_CANCELLED: Final = (asyncio.CancelledError, concurrent.futures.CancelledError)


class ChildStep(Step):
    """A member of a fan-out.

    Attributes:
        state: How it ended; None while it runs.
    """

    __slots__ = ("_fanout", "state")

    def __init__(self, fanout: FanoutStep) -> None:
        super().__init__()
        self._fanout = fanout
        self.state: State | None = None

    def begin(self, name: str) -> Self:
        """Start the span, below the fan-out wherever it runs."""
        fanout = self._fanout
        if fanout.span is not None:
            known = {names.KIND: "step", names.FANOUT_ID: fanout.id}
            self.start(name, known, parent=fanout.context)
            fanout.joined(self)
            if self.span is not None:
                ids = _span_id(self.span), _span_id(fanout.span)
                self.context = set_value(MEMBER_KEY, ids, self.context)
        return self

    def ended(self, state: State) -> None:
        """Say how it ended, where no exception tells; for results that hold their errors."""
        self.state = state

    def fail(self, error: BaseException) -> None:
        """End it with an error; to be cancelled is none."""
        state = _state_of(error)
        self.state = self.state or state
        if state == "cancelled":
            self._close(None, error)
        else:
            super().fail(error)

    def abandon(self) -> None:
        """End it because nobody waits for it any more."""
        if not self._ended:
            self.state = "abandoned"
            self._close(None, None)

    def closing(self, error: str | None, result: object) -> None:
        """Write how it ended; whether that matters is for the fan-out to say."""
        del result
        self.state = self.state or ("ok" if error is None else "error")
        self.attributes[names.FANOUT_STATE] = self.state
        self._fanout.left(self, self.state)

    def settle(self, future: asyncio.Future[Any]) -> None:
        """End it as a future ended."""
        if future.cancelled():
            self.fail(asyncio.CancelledError())
        elif (error := future.exception()) is not None:
            self.fail(error)
        else:
            self.finish()


class FanoutStep(Step):
    """Steps that run side by side.

    Attributes:
        id: Id of the fan-out, on each member.
        size: Members that started.
        ended: Members that ended, by state.
    """

    __slots__ = ("_lock", "_needed", "_policy", "_running", "ended", "id", "size")

    def __init__(self, policy: Policy, needed: int | None) -> None:
        super().__init__()
        self.id = uuid4().hex
        self.size = 0
        self.ended: Counter[State] = Counter()
        self._running: set[ChildStep] = set()
        self._lock = Lock()
        self._policy = policy
        self._needed = needed

    def child(self, name: str = "child") -> Child:
        """Trace one member: a context manager and a decorator.

        Args:
            name: Its name, of few distinct values.
        """
        return Child(self, name)

    def wrap(self, function: F, name: str | None = None) -> F:
        """Return a function each call of which is a member: for task groups, executors, threads.

        Args:
            function: A function or coroutine function.
            name: Name of the members; that of the function.
        """
        return Child(self, name)(function)

    def joined(self, child: ChildStep) -> None:
        """Note that a member started."""
        with self._lock:
            self.size += 1
            self._running.add(child)

    def left(self, child: ChildStep, state: State) -> None:
        """Note how a member ended."""
        with self._lock:
            self._running.discard(child)
            self.ended[state] += 1

    @overload
    async def gather(self, one: Awaitable[A], two: Awaitable[B], /) -> tuple[A, B]: ...

    @overload
    async def gather(
        self, one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], /
    ) -> tuple[A, B, C]: ...

    @overload
    async def gather(
        self, *coroutines: Awaitable[T], return_exceptions: Literal[False] = False
    ) -> list[T]: ...

    @overload
    async def gather(
        self, *coroutines: Awaitable[T], return_exceptions: bool
    ) -> list[T | BaseException]: ...

    async def gather(self, *coroutines: Awaitable[Any], return_exceptions: bool = False) -> Any:
        """Do as `asyncio.gather` does; each awaitable is a member.

        Args:
            coroutines: Coroutines, tasks or futures.
            return_exceptions: Return exceptions beside the results.
        """
        started: dict[int, asyncio.Future[Any]] = {}
        for awaitable in coroutines:
            if id(awaitable) not in started:
                started[id(awaitable)] = self._started(awaitable)
        futures = [started[id(awaitable)] for awaitable in coroutines]
        return await asyncio.gather(*futures, return_exceptions=return_exceptions)

    def _started(self, awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
        child = Child(self, _name_of(awaitable)).open()
        child.enter()
        try:
            future = asyncio.ensure_future(awaitable)
        except BaseException as error:
            child.leave()
            child.fail(error)
            raise
        child.leave()
        if child.span is not None:
            future.add_done_callback(child.settle)
        return future

    def closing(self, error: str | None, result: object) -> None:
        """Count how the members ended; those that have not are abandoned."""
        del result
        with self._lock:
            running = list(self._running)
        for child in running:
            child.abandon()
        size, ok = self.size, self.ended["ok"]
        needed = {"all": size, "best_effort": 0}.get(self._policy, 0)
        needed = needed if self._needed is None else self._needed
        known: dict[str, AttributeValue] = {
            names.FANOUT_SIZE: size,
            names.FANOUT_NEEDED: needed,
            names.FANOUT_MET: ok >= needed,
        }
        known.update({names.FANOUT_COUNT + state: n for state, n in self.ended.items()})
        self.attributes.update(known)
        if error is not None and self.scope.unit is not None:
            self.scope.unit.frame(failed_frame(self, error))


class Child(Instrument[ChildStep]):
    """See `FanoutStep.child`."""

    def __init__(self, fanout: FanoutStep, name: str | None) -> None:
        super().__init__()
        self._fanout = fanout
        self._name = name

    def bind(self, function: Any) -> Self:
        """Take the name from the function, where it has none."""
        if self._name:
            return self
        other = self.copy()
        other._name = name_of(function)  # noqa: SLF001 - of the same class
        return other

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> ChildStep:
        """Start a member."""
        del args, kwargs
        step = ChildStep(self._fanout)
        try:
            return step.begin(self._name or "child")
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("fanout")
            return step


class Fanout(Instrument[FanoutStep]):
    """See `fanout`."""

    def __init__(self, name: str | None, policy: Policy, needed: int | None) -> None:
        super().__init__()
        self._name = name
        self._policy: Policy = policy
        self._needed = needed

    def bind(self, function: Any) -> Self:
        """Take the name from the function, where it has none."""
        if self._name:
            return self
        other = self.copy()
        other._name = name_of(function)  # noqa: SLF001 - of the same class
        return other

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> FanoutStep:
        """Start the fan-out."""
        del args, kwargs
        step = FanoutStep(self._policy, self._needed)
        known = {
            names.KIND: "step",
            names.FANOUT_ID: step.id,
            names.FANOUT_POLICY: self._policy,
            names.FANOUT_NEEDED: self._needed,
        }
        try:
            step.start(f"fanout {self._name}" if self._name else "fanout", cleaned(known))
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("fanout")
        return step


def fanout(name: str | None = None, *, policy: Policy = "all", needed: int | None = None) -> Fanout:
    """Trace steps that run side by side, and how each of them ended: a context manager.

        with tracekit.fanout("search", policy="k_of_n", needed=2) as searches:
            found = await searches.gather(search(a), search(b), search(c))

    Members are also made with `searches.wrap(search)` for task groups and executors, and with
    `searches.child("a")`.

    Args:
        name: Its name, of few distinct values.
        policy: What it needs to be of use: `all`, `k_of_n` or `best_effort`.
        needed: How many members it needs; required for `k_of_n`.

    Raises:
        ValueError: The policy is unknown, or needs a number.
        UsageError: It stands above a function without parentheses.
    """
    refuse_bare(name, "fanout", 'with tracekit.fanout("search") as members: ...')
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r}: expected one of {', '.join(POLICIES)}")
    if policy == "k_of_n" and needed is None:
        raise ValueError("policy 'k_of_n' takes needed=<how many members must succeed>")
    return Fanout(as_text(name), policy, needed)


def _span_id(span: Span) -> int:
    return span.get_span_context().span_id


def _state_of(error: BaseException) -> State:
    if isinstance(error, _CANCELLED):
        return "cancelled"
    if isinstance(error, GeneratorExit):
        return "abandoned"
    # Clients have timeouts of their own that are no TimeoutError: ReadTimeout, APITimeoutError.
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "timeout"
    return "error"


def _name_of(awaitable: Awaitable[Any] | Coroutine[Any, Any, Any]) -> str:
    work = awaitable.get_coro() if isinstance(awaitable, asyncio.Task) else awaitable
    name = getattr(work, "__name__", None)
    return name if isinstance(name, str) else "child"
