"""How steps hang together: handoffs, plans, compensations, checkpoints and resumed runs."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from opentelemetry.context import Context, get_current, set_value
from opentelemetry.trace import SpanContext, get_current_span

from tracekit.instrumentation import names
from tracekit.instrumentation.around import COMPENSATES_KEY, Compensated, Place
from tracekit.instrumentation.decorate import Instrument, is_bare, refuse_bare
from tracekit.instrumentation.runtime import STATE, failed
from tracekit.instrumentation.scope import into, scope_of
from tracekit.instrumentation.steps import Step, cleaned, event, failed_frame
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")

_SPAN_ID: Final = 16
"""Hex digits of a span id."""


class Handoff(Instrument[Place]):
    """See `handoff`: it is written when it is made; what happens inside belongs below it."""

    def __init__(self, context: Context | None) -> None:
        super().__init__()
        self._context = context

    def bind(self, function: object) -> Self:
        """Return itself: a handoff takes nothing from a function."""
        del function
        return self

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> Place:
        """Go on below the handoff."""
        del args, kwargs
        return Place(self._context)


def handoff(to: str, from_: str | None = None) -> Handoff:
    """Note that another agent takes over: called alone, or with what that agent does inside.

        tracekit.handoff("billing")

        with tracekit.handoff("billing"):
            billing_agent(question)

    Args:
        to: The agent that takes over.
        from_: The agent that hands over; the current one.

    Raises:
        UsageError: It stands above a function without parentheses.
    """
    refuse_bare(to, "handoff", '@tracekit.handoff("billing")')
    step = Step()
    try:
        to, from_ = as_text(to) or "", as_text(from_) or scope_of(get_current()).agent_name
        known = {names.KIND: "handoff", names.HANDOFF_FROM: from_, names.HANDOFF_TO: to}
        step.start(f"handoff {to}", cleaned(known))
        if step.span is None:
            return Handoff(None)
        if step.scope.unit is not None:
            step.scope.unit.handoff(from_, to, step.start_ns or None)
        context = step.context
        step.finish()
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("handoff")
        return Handoff(None)
    return Handoff(context)


class PlanStep(Step):
    """The making of a plan."""

    __slots__ = ()

    def closing(self, error: str | None, result: object) -> None:
        """Tell the task of a failure."""
        del result
        if error is not None and self.scope.unit is not None:
            self.scope.unit.frame(failed_frame(self, error))


class Plan(Instrument[PlanStep]):
    """See `plan`."""

    def __init__(self, plan_id: str | None, version: int | None) -> None:
        super().__init__()
        known = {names.KIND: "plan", names.PLAN_ID: plan_id, names.PLAN_VERSION: version}
        self._attributes = cleaned(known)

    def bind(self, function: object) -> Self:
        """Return itself: a plan is its agent's."""
        del function
        return self

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> PlanStep:
        """Start planning."""
        del args, kwargs
        step = PlanStep()
        try:
            agent = scope_of(get_current()).agent_name
            step.start(f"plan {agent}" if agent else "plan", self._attributes)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("plan")
        return step


@overload
def plan(function: F, /) -> F: ...


@overload
def plan(plan_id: str | None = None, *, version: int | None = None) -> Plan: ...


def plan(plan_id: F | str | None = None, *, version: int | None = None) -> F | Plan:
    """Trace the making, or remaking, of a plan: a decorator and a context manager.

        with tracekit.plan("trip", version=2):
            steps = ask_for_plan()

    Args:
        plan_id: The plan's id, the same for all its versions.
        version: From 1; every replanning is a version.
    """
    if is_bare(plan_id, "plan"):
        return Plan(None, None)(plan_id)
    return Plan(as_text(plan_id), version)


class Compensation(Instrument[Place]):
    """See `compensates`."""

    def __init__(self, undone: Step | str) -> None:
        super().__init__()
        self._undone = undone

    def bind(self, function: object) -> Self:
        """Return itself: the tool inside has a name of its own."""
        del function
        return self

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> Place:
        """Mark the tool calls inside."""
        del args, kwargs
        if STATE.runtime is None:
            return Place(None)
        try:
            undone = _compensated(self._undone)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("compensates")
            return Place(None)
        return Place(None if undone is None else set_value(COMPENSATES_KEY, undone))


def compensates(step: Step | str) -> Compensation:
    """Say that the tool called inside takes back an effect: a context manager and a decorator.

        with tracekit.tool("charge", side_effect="write") as charge: ...
        with tracekit.compensates(charge):
            refund()

    Args:
        step: What is taken back: a step, the id of its span in hex, or the name of a tool.

    Raises:
        UsageError: It stands above a function without parentheses.
    """
    refuse_bare(step, "compensates", '@tracekit.compensates("charge")')
    return Compensation(step)


def _compensated(undone: Step | str) -> Compensated | None:
    if not isinstance(undone, str):
        return None if undone.span is None else Compensated.of(undone.span)
    if len(undone) != _SPAN_ID or not set(undone) <= set(string.hexdigits):
        return Compensated(undone, None)
    here = get_current_span().get_span_context()
    link = SpanContext(here.trace_id, int(undone, 16), is_remote=False) if here.is_valid else None
    return Compensated(undone.lower(), link)


def checkpoint(checkpoint_id: str, *, step_index: int | None = None) -> None:
    """Note that the run was saved here.

        tracekit.checkpoint(saved.id, step_index=12)

    Args:
        checkpoint_id: Id of what was saved.
        step_index: Number of the step in its run.

    Raises:
        UsageError: It stands above a function: it is called where the run is saved.
    """
    refuse_bare(checkpoint_id, "checkpoint", "tracekit.checkpoint(saved.id) in the function")
    known = {
        names.KIND: "event",
        names.CHECKPOINT_ID: as_text(checkpoint_id),
        names.STEP_INDEX: step_index,
    }
    try:
        event("checkpoint", cleaned(known))
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("checkpoint")


class Resume(Instrument[Place]):
    """See `resume`."""

    def __init__(self, of: str, step_index: int | None, *, replayed: bool) -> None:
        super().__init__()
        self._stamp = {names.RESUME_OF: of, names.REPLAYED: True if replayed else None}
        self._step_index = step_index

    def bind(self, function: object) -> Self:
        """Return itself: a resumption takes nothing from a function."""
        del function
        return self

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> Place:
        """Write that the run goes on, and mark what happens inside."""
        del args, kwargs
        runtime = STATE.runtime
        if runtime is None:
            return Place(None)
        try:
            stamp = cleaned(self._stamp)
            context = get_current()
            scope = scope_of(context).with_stamp(stamp)
            marks = {names.KIND: "event", names.STEP_INDEX: self._step_index}
            event("resume", cleaned({**stamp, **marks}))
            return Place(into(context, scope, propagate=runtime.settings.propagate))
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("resume")
            return Place(None)


def resume(of: str, *, step_index: int | None = None, replayed: bool = False) -> Resume:
    """Say that everything inside goes on with an earlier run: a context manager and a decorator.

        with tracekit.resume(saved.id, step_index=12):
            run_from(saved)

    Args:
        of: Id of the run, or of the checkpoint, that is resumed.
        step_index: Number of the step it goes on with.
        replayed: Results inside are taken from the checkpoint, not computed again.

    Raises:
        UsageError: It stands above a function without parentheses.
    """
    refuse_bare(of, "resume", "@tracekit.resume(saved.id)")
    return Resume(as_text(of) or "", step_index, replayed=replayed)
