"""A run of a framework's agent, whoever made the span for it."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from opentelemetry.context import Context, attach, create_key, detach, get_current, set_value
from opentelemetry.trace import Span, get_current_span

from tracekit.instrumentation import names
from tracekit.instrumentation.agents import AgentStep
from tracekit.instrumentation.evidence import Unit
from tracekit.instrumentation.processor import OWN
from tracekit.instrumentation.runtime import STATE, Runtime, failed, latched
from tracekit.instrumentation.scope import into, scope_of
from tracekit.instrumentation.steps import Step, event
from tracekit.instrumentation.tools import ToolStep, tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    from opentelemetry.util.types import AttributeValue

RUN_KEY: Final = create_key("tracekit-framework-run")

_AGENT_SPANS: Final = {
    names.OPERATION: ("invoke_agent",),
    "openinference.span.kind": ("AGENT",),
    "traceloop.span.kind": ("agent", "workflow"),
}
"""How other instrumentations mark the span of an agent's run."""
_AGENT_NAMES: Final = (names.AGENT_NAME, "agent.name", "traceloop.entity.name")


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
            there = _attributes(span)
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


class Run:
    """A run of an agent: the step that an integration drives.

    It has a span of its own, or adds to the one the application or another instrumentation made for
    this run; a run inside another one of the same agent is part of that.

    Attributes:
        framework: Whose run it is.
        step: The agent's step; None for a part of another run, and where tracekit is off.
        name: The agent's name.
        context: The context in which the run is current, or None.
    """

    framework: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """Where the framework's own exceptions come from."""

    def __init__(self) -> None:
        self.step: AgentStep | None = None
        self.name: str | None = None
        self._owned = False
        self._ended = False
        self.context: Context | None = None
        self._token: Token[Context] | None = None

    def begin(
        self,
        name: str | None,
        *,
        unnamed: str | None = None,
        session: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> Self:
        """Start the run; never raises.

        Args:
            name: The agent's name.
            unnamed: The name of agents that were given none.
            session: The conversation as the framework knows it; it becomes the session where none
                is open.
            attributes: What else is known at the start.
        """
        runtime = STATE.runtime
        if runtime is None or latched(self.framework):
            return self
        try:
            self.name = name
            given = None if name == unnamed else name
            if not (self._is_part(given) or self._adopt(runtime, given)):
                self._start(runtime, session, attributes or {})
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(self.framework)
        else:
            context = get_current() if self.step is None or not self.context else self.context
            self.context = set_value(RUN_KEY, self, context)
        return self

    def _is_part(self, given: str | None) -> bool:
        """Return whether this is a part of a run around it: same agent, no tool in between."""
        around = current_run()
        if around is None or around.framework != self.framework:
            return False
        if around.step is not None and around.step.span is not get_current_span():
            return False
        return given is None or given == around.name

    def _adopt(self, runtime: Runtime, given: str | None) -> bool:
        """Go on with the span of an agent that was made around this very run."""
        span = get_current_span()
        if not span.is_recording():
            return False
        scope = scope_of(get_current())
        root = scope.root
        if isinstance(root, AgentStep) and root.span is span:
            around = current_run()
            is_taken = around is not None and around.step is root
            if is_taken or (given is not None and given != scope.agent_name):
                return False
            self.step, self.context = root, get_current()
            return True
        there = _attributes(span)
        if _is_own(span) or not any(there.get(k) in v for k, v in _AGENT_SPANS.items()):
            return False
        called = next((there[key] for key in _AGENT_NAMES if key in there), None)
        if given is not None and called is not None and given != called:
            return False
        name = given or (called if isinstance(called, str) else None)
        self.step = step = AdoptedStep().adopt(runtime, span, name)
        self.context, self._owned = step.context, True
        return True

    def _start(
        self, runtime: Runtime, session: str | None, attributes: Mapping[str, AttributeValue]
    ) -> None:
        context = get_current()
        scope = scope_of(context)
        if session and scope.session_id is None and scope.unit is None:
            opened = scope.with_session(session, {})
            context = into(context, opened, propagate=runtime.settings.propagate)
        known: dict[str, AttributeValue] = {names.OPERATION: "invoke_agent"}
        if self.name:
            known[names.AGENT_NAME] = self.name
        token = attach(context)
        try:
            step = AgentStep().begin(self.name, {**known, **attributes})
        finally:
            detach(token)
        if step.span is not None:
            self.step, self._owned, self.context = step, True, step.context

    def enter(self) -> None:
        """Make the run current."""
        if self.context is not None:
            self._token = attach(self.context)

    def leave(self) -> None:
        """Make what was current before current again."""
        token, self._token = self._token, None
        if token is not None:
            detach(token)

    def finish(self, result: object = None) -> None:
        """End the run with what it returned; never raises."""
        self._end(None, result)

    def fail(self, error: BaseException) -> None:
        """End the run with what it raised; never raises."""
        self._end(error, None)

    def state(self, result: Any) -> str | None:  # noqa: ARG002 - frameworks differ in their results
        """Return the framework's word for how a run ended that returned something."""
        return None

    def error_state(self, error: BaseException) -> str | None:
        """Return the framework's word for how a run ended that raised something."""
        kind = type(error)
        is_own = kind.__module__.partition(".")[0] in self.packages
        return kind.__qualname__ if is_own else None

    def fail_as(self, error: str, state: str | None) -> None:
        """End the run with an error that is known by its type only; never raises.

        Args:
            error: Error type.
            state: The framework's word for it.
        """
        self._end(error, None, state)

    def _end(
        self, error: BaseException | str | None, result: object, state: str | None = None
    ) -> None:
        step = self.step
        if step is None or self._ended:
            return
        self._ended = True
        try:
            if error is None:
                state = self.state(result)
            elif isinstance(error, BaseException):
                state = self.error_state(error)
            if state is not None:
                step.framework_state(state)
            if self._owned:
                _close(step, error)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(self.framework)

    def approval(self, status: str, approval_id: str | None) -> None:
        """Write how a request for approval stands: requested, approved or denied."""
        if self.step is None or self.step.span is None:
            return
        known = {names.KIND: "approval", names.APPROVAL_STATUS: status}
        if approval_id:
            known[names.APPROVAL_ID] = approval_id
        event("approval", known, parent=self.step.context)
        unit = scope_of(self.step.context).unit
        if unit is not None:
            unit.approval(status)


def _close(step: AgentStep, error: BaseException | str | None) -> None:
    if error is None:
        step.finish()
    elif isinstance(error, str):
        step._close(error, None)  # noqa: SLF001 - of an error there is no exception of
    else:
        step.fail(error)


def current_run() -> Run | None:
    """Return the innermost run of a framework we are in, or None."""
    run = get_current().get(RUN_KEY)
    return run if isinstance(run, Run) else None


def tool_call(name: str, call_id: str | None, arguments: object) -> ToolStep:
    """Return the step of a tool call, which has a span of its own unless there is one already.

    Args:
        name: The tool's name.
        call_id: Id by which the model asked for the call.
        arguments: Its arguments.
    """
    runtime, span = STATE.runtime, get_current_span()
    there = _attributes(span)
    is_there = there.get(names.OPERATION) == "execute_tool" and there.get(names.TOOL_NAME) == name
    if runtime is None or not is_there or not span.is_recording() or _is_own(span):
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


def _attributes(span: Span) -> Mapping[str, Any]:
    return getattr(span, "attributes", None) or {}


def _is_own(span: Span) -> bool:
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name == OWN
