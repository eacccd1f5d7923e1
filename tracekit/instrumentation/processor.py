"""What happens to a span when it starts: it is told which session and task it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from tracekit.instrumentation import names
from tracekit.instrumentation.runtime import failed, latched, worked
from tracekit.instrumentation.scope import scope_of

if TYPE_CHECKING:
    from tracekit.instrumentation.export import BoundedProcessor

OWN: Final = "tracekit"
"""Instrumentation scope of the spans made here, which say themselves where they belong."""


class ContextProcessor(SpanProcessor):
    """Says on spans of other instrumentations which session and task they belong to."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add what the span does not say itself; never raises."""
        scope = span.instrumentation_scope
        if scope is not None and scope.name == OWN:
            return
        context = get_current() if parent_context is None else parent_context
        if not context or latched("stamp"):
            return
        try:
            _stamp(span, context)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("stamp")
        else:
            worked("stamp")


def _stamp(span: Span, context: Context) -> None:
    stamp = scope_of(context).stamp
    if not stamp:
        return
    own = span.attributes or {}
    missing = {
        name: value
        for name, value in stamp.items()
        if name not in own and name != names.AGENT_NAME  # the agent of others has its own name
    }
    if missing:
        span.set_attributes(missing)


class Pipeline(SpanProcessor):
    """The one processor a provider gets; what it does can be exchanged, as the SDK removes none.

    Attributes:
        stamp: Marks spans with session and task, or None.
        export: Exports them, or None where the application does.
    """

    def __init__(self) -> None:
        self.stamp: ContextProcessor | None = None
        self.export: BoundedProcessor | None = None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """See `SpanProcessor`."""
        if self.stamp is not None:
            self.stamp.on_start(span, parent_context)
        if self.export is not None:
            self.export.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """See `SpanProcessor`."""
        if self.export is not None:
            self.export.on_end(span)

    def shutdown(self) -> None:
        """See `SpanProcessor`."""
        if self.export is not None:
            self.export.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanProcessor`."""
        return self.export is None or self.export.force_flush(timeout_millis)
