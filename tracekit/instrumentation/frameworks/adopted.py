"""Steps that go on with the spans another instrumentation made, and the ends of tool calls."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.context import get_current
from opentelemetry.trace import Span, get_current_span

from tracekit.instrumentation import names
from tracekit.instrumentation.agents import AgentStep
from tracekit.instrumentation.evidence import Unit
from tracekit.instrumentation.processor import OWN
from tracekit.instrumentation.runtime import STATE, Runtime, failed
from tracekit.instrumentation.scope import scope_of
from tracekit.instrumentation.steps import Step
from tracekit.instrumentation.tools import ToolStep, tool

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Adopted(Step):
    """A step whose span another instrumentation made, and will end."""

    __slots__ = ()

    def take(self, runtime: Runtime, span: Span) -> None:
        """Go on with the span that is current."""
        self._runtime, self.span = runtime, span
        self.context = get_current()
        self.scope = scope_of(self.context)
        self.attributes.update(self.scope.stamp)

    def mark_failed(self, error: str) -> None:
        """Give the span an error type; its status is its maker's."""
        self.attributes[names.ERROR_TYPE] = error

    def end(self, end_ns: int | None = None) -> None:
        """Write what the span lacks, and leave it open."""
        del end_ns
        span = self.span
        if span is not None and span.is_recording():
            there = attributes_of(span)
            span.set_attributes({k: v for k, v in self.attributes.items() if k not in there})


class AdoptedTool(_Adopted, ToolStep):
    """A tool call that has a span already."""

    __slots__ = ()


class AdoptedStep(_Adopted, AgentStep):
    """A run that has a span already."""

    __slots__ = ()

    def adopt(self, runtime: Runtime, span: Span, name: str | None) -> Self:
        """Go on with a span that is not ours."""
        self.take(runtime, span)
        scope = self.scope
        unit, root = scope.unit, scope.root
        if unit is None:
            self._unit = unit = Unit()
            root = self
        self.enter_scope(scope.with_agent(name, unit, root))
        return self


def tool_call(name: str, call_id: str | None, arguments: object) -> ToolStep:
    """Return the step of a tool call, which has a span of its own unless there is one already.

    Args:
        name: The tool's name.
        call_id: Id by which the model asked for the call.
        arguments: Its arguments.
    """
    runtime, span = STATE.runtime, get_current_span()
    there = attributes_of(span)
    is_there = there.get(names.OPERATION) == "execute_tool" and there.get(names.TOOL_NAME) == name
    if runtime is None or not is_there or not span.is_recording() or is_own(span):
        return tool(name, call_id=call_id, arguments=arguments).open()
    step = AdoptedTool({names.TOOL_NAME: name, names.TOOL_CALL_ID: call_id})
    try:
        step.take(runtime, span)
        step.arguments(arguments)
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("tool.adopt")
    return step


def fail_tool(
    step: ToolStep, error: BaseException, pauses: tuple[type[BaseException], ...] = ()
) -> None:
    """End a tool call with what it raised.

    Args:
        step: The tool call.
        error: A call that is cancelled has not failed: why, the run around it tells.
        pauses: Exceptions by which a tool waits for somebody.
    """
    if isinstance(error, pauses):
        step.set(names.TOOL_STATUS, "pending")
    elif isinstance(error, CancelledError):
        step.set(names.TOOL_STATUS, "cancelled")
    else:
        step.fail(error)
        return
    step.finish()


def attributes_of(span: Span) -> Mapping[str, Any]:
    """Return what a span says so far."""
    return getattr(span, "attributes", None) or {}


def is_own(span: Span) -> bool:
    """Return whether tracekit made a span."""
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name == OWN
