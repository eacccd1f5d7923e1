"""A run of a framework's agent, whoever made the span for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from opentelemetry.context import Context, attach, create_key, get_current, set_value
from opentelemetry.trace import get_current_span

from tracekit.instrumentation import names
from tracekit.instrumentation.agents import AgentStep
from tracekit.instrumentation.around import detach
from tracekit.instrumentation.frameworks.adopted import AdoptedStep, attributes_of, is_own
from tracekit.instrumentation.runtime import STATE, Runtime, failed, latched, worked
from tracekit.instrumentation.scope import into, scope_of
from tracekit.instrumentation.steps import event
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
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
    ) -> Self:
        """Start the run; never raises.

        Args:
            name: The agent's name.
            unnamed: The name of agents that were given none.
            session: The conversation as the framework knows it; it becomes the session where none
                is open.
        """
        runtime = STATE.runtime
        if runtime is None or latched(self.framework):
            return self
        try:
            self.name = name
            given = None if name == unnamed else name
            self.context = get_current()
            if not self._is_part(given):
                self._start(runtime, given, session)
            self.context = set_value(RUN_KEY, self, self.context)
        except Exception:  # noqa: BLE001 - the host goes on without us
            self.context = None
            failed(self.framework)
        else:
            worked(self.framework)
        return self

    def _is_part(self, given: str | None) -> bool:
        """Return whether this is a part of a run around it: same agent, no tool in between."""
        around = current_run()
        if around is None or around.framework != self.framework:
            return False
        if around.step is not None and around.step.span is not get_current_span():
            return False
        return given is None or given == around.name

    def _start(self, runtime: Runtime, given: str | None, session: str | None) -> None:
        if self._join(given):
            return
        token = attach(_in_session(runtime, session))
        try:
            step = self._adopted(runtime, given) or self._begun()
        finally:
            detach(token)
        if step.span is not None:
            self.step, self._owned, self.context = step, True, step.context

    def _join(self, given: str | None) -> bool:
        """Go on with the step the application opened right around this run, if it did."""
        root, around = scope_of(get_current()).root, current_run()
        is_around = isinstance(root, AgentStep) and root.span is get_current_span()
        is_taken = around is not None and around.step is root
        is_other = given is not None and given != scope_of(get_current()).agent_name
        if not isinstance(root, AgentStep) or not is_around or is_taken or is_other:
            return False
        self.step = root
        return True

    def _adopted(self, runtime: Runtime, given: str | None) -> AgentStep | None:
        """Go on with the span another instrumentation opened right around this run, if it did."""
        span = get_current_span()
        there = attributes_of(span)
        is_agent = any(there.get(key) in words for key, words in _AGENT_SPANS.items())
        if not span.is_recording() or is_own(span) or not is_agent:
            return None
        called = next((there[key] for key in _AGENT_NAMES if key in there), None)
        if given is not None and called is not None and given != called:
            return None
        name = given or (called if isinstance(called, str) else None)
        return AdoptedStep().adopt(runtime, span, name)

    def _begun(self) -> AgentStep:
        known: dict[str, AttributeValue] = {names.OPERATION: "invoke_agent"}
        if self.name:
            known[names.AGENT_NAME] = self.name
        return AgentStep().begin(self.name, known)

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


def _in_session(runtime: Runtime, session: str | None) -> Context:
    """Return the current context, in a session where nothing is open that has none."""
    context = get_current()
    scope = scope_of(context)
    if not session or scope.session_id is not None or scope.unit is not None:
        return context
    opened = scope.with_session(as_text(session) or session, {})
    return into(context, opened, propagate=runtime.settings.propagate)


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
