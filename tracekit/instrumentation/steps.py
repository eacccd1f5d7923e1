"""The base of every step: one span, open while the code it tells of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context, attach, get_current, set_value
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from tracekit.instrumentation import names
from tracekit.instrumentation.around import detach
from tracekit.instrumentation.facts import FrameFacts
from tracekit.instrumentation.runtime import STATE, Runtime, failed, latched, worked
from tracekit.instrumentation.scope import SCOPE_KEY, Scope, into, scope_of
from tracekit.instrumentation.writing import write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    from opentelemetry.util.types import AttributeValue

ERROR_STATUS: Final = Status(StatusCode.ERROR)

_NOWHERE: Final = Context()
"""Context of a step that has no span; never current."""


class Step:
    """One span. Safe to use when tracekit is off or has failed: then nothing happens.

    Attributes:
        span: The span, or None where there is none.
        scope: Where the step happens.
        context: The context in which the step is current.
        end_ns: When it ended, UTC, ns since 1970; 0 while it is open.
    """

    __slots__ = (
        "_ended",
        "_runtime",
        "_token",
        "attributes",
        "context",
        "end_ns",
        "scope",
        "span",
    )

    _runtime: Runtime

    def __init__(self) -> None:
        self.span: Span | None = None
        self.context = _NOWHERE
        self.attributes: dict[str, AttributeValue] = {}
        self._ended = False
        self.end_ns = 0
        self._token: Token[Context] | None = None

    def start(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        start_ns: int | None = None,
        parent: Context | None = None,
    ) -> None:
        """Start the span.

        Args:
            name: Span name.
            attributes: What is known at the start, beside what the scope says.
            kind: Span kind.
            start_ns: When it started, UTC, ns since 1970; now.
            parent: Context it happens in; the current one.
        """
        runtime = STATE.runtime
        if runtime is None or (STATE.failures and latched(self._site)):
            return
        try:
            context = get_current() if parent is None else parent
            self.scope = scope = scope_of(context)
            if start_ns is None and runtime.clock is not None:
                start_ns = runtime.clock()
            self.span = span = runtime.tracer.start_span(
                name,
                context,
                kind,
                {**scope.stamp, **attributes} if scope.stamp else attributes,
                start_time=start_ns,
                record_exception=False,
                set_status_on_exception=False,
            )
            self.context = set_span_in_context(span, context)
            self._runtime = runtime
        except Exception:  # noqa: BLE001 - the host goes on without us
            self.span = None
            failed(self._site)

    def enter_scope(self, scope: Scope) -> None:
        """Put what happens inside into another scope."""
        propagate = self._runtime.settings.propagate and scope.task_id != self.scope.task_id
        if propagate:
            self.context = into(self.context, scope, propagate=True)
        else:
            self.context = set_value(SCOPE_KEY, scope, self.context)

    def enter(self) -> None:
        """Make the step current."""
        if self.span is not None:
            self._token = attach(self.context)

    def leave(self) -> None:
        """Make what was current before current again."""
        if self._token is not None:
            detach(self._token)
            self._token = None

    def set(self, name: str, value: AttributeValue) -> None:
        """Set an attribute of the span."""
        self.attributes[name] = value

    def finish(self, result: object = None) -> None:
        """End the step well."""
        self._close(None, result)

    def fail(self, error: BaseException) -> None:
        """End the step with an error; its message is not written, as it may hold content."""
        self._close(error_type(error), error)

    @property
    def _site(self) -> str:
        return type(self).__name__

    @property
    def start_ns(self) -> int:
        """When it started, UTC, ns since 1970; 0 where the tracer does not say."""
        return getattr(self.span, "start_time", None) or 0

    def end(self) -> None:
        """Write what is left to write, and end the span."""
        span = self.span
        if span is not None:
            if self.attributes:
                write(span, self.attributes)
            span.end(self.end_ns)

    def closing(self, error: str | None, result: object) -> None:
        """Add what only the end tells; for the kinds of steps to override.

        Args:
            error: Type of the error the step ended with, or None.
            result: What it returned, or the exception it ended with.
        """

    def mark_failed(self, error: str) -> None:
        """Give the span an error type and an error status."""
        self.attributes[names.ERROR_TYPE] = error
        if self.span is not None:
            self.span.set_status(ERROR_STATUS)

    def _close(self, error: str | None, result: object) -> None:
        span = self.span
        if span is None or self._ended:
            return
        self._ended = True
        self.end_ns = self._runtime.now_ns()
        try:
            if error is not None:
                self.mark_failed(error)
            self.closing(error, result)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(self._site)
        else:
            worked(self._site)
        try:
            self.end()
        except Exception:  # noqa: BLE001 - an exporter of the host's may raise
            failed("span.end")
        # The context holds the scope, and that this step: without the circle it is freed at once.
        self.context = _NOWHERE


def error_type(error: BaseException) -> str:
    """Return `error.type`: the class of an exception, with its module unless it is built in."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def failed_frame(step: Step, error: str) -> FrameFacts:
    """Return what a step around others that failed tells its task."""
    return FrameFacts(failed=True, error_type=error, start_ns=step.start_ns, end_ns=step.end_ns)


def event(
    name: str, attributes: Mapping[str, AttributeValue], *, parent: Context | None = None
) -> None:
    """Write a span that takes no time: something happened here."""
    step = Step()
    step.start(name, attributes, parent=parent)
    step.finish()


def cleaned(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    """Return the attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}
