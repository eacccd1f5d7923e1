"""OTLP bytes as the SDK's finished spans: the way back from `span_encoder`.

    decode(encode(spans))        # equal spans, for an exporter of the SDK

An exporter encodes what this returns to the same messages again. A link's tracestate, which
OpenTelemetry's own encoder leaves out, and fields this version of OTLP does not know are not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from tracekit.otlp.reference import python_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

_IS_REMOTE: Final = 0x200
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


def decode(request: bytes) -> list[ReadableSpan]:
    """Return the spans of an `ExportTraceServiceRequest`, in their order.

    Args:
        request: Bytes of a valid request.
    """
    return list(_spans(ExportTraceServiceRequest.FromString(request)))


def _spans(request: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    for group in request.resource_spans:
        resource = Resource(_attributes(group.resource.attributes) or {}, group.schema_url or None)
        for inner in group.scope_spans:
            scope = None
            if inner.HasField("scope") and inner.scope.ByteSize():
                name, version = inner.scope.name, inner.scope.version or None
                attributes = _attributes(inner.scope.attributes)
                scope = InstrumentationScope(name, version, inner.schema_url or None, attributes)
            for span in inner.spans:
                yield _span(span, resource, scope)


def _span(span: otlp.Span, resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    state = TraceState.from_header([span.trace_state]) if span.trace_state else None
    trace_id = int.from_bytes(span.trace_id, "big")
    parent = None
    if span.parent_span_id:
        parent = _context(trace_id, span.parent_span_id, span.flags)
    return ReadableSpan(
        span.name,
        SpanContext(
            trace_id,
            int.from_bytes(span.span_id, "big"),
            False,
            _SAMPLED,
            state,
        ),
        parent,
        resource,
        _attributes(span.attributes, span.dropped_attributes_count),
        _bounded([_event(event) for event in span.events], span.dropped_events_count),
        _bounded([_link(link) for link in span.links], span.dropped_links_count),
        SpanKind(max(span.kind - 1, 0)),
        status=_status(span.status),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _context(trace_id: int, span_id: bytes, flags: int) -> SpanContext:
    return SpanContext(trace_id, int.from_bytes(span_id, "big"), bool(flags & _IS_REMOTE), _SAMPLED)


def _event(event: otlp.Span.Event) -> Event:
    attributes = _attributes(event.attributes, event.dropped_attributes_count)
    return Event(event.name, attributes, event.time_unix_nano)


def _link(link: otlp.Span.Link) -> Link:
    context = _context(int.from_bytes(link.trace_id, "big"), link.span_id, link.flags)
    return Link(context, _attributes(link.attributes, link.dropped_attributes_count))


def _status(status: otlp.Status) -> Status:
    code = StatusCode(status.code)
    return Status(code, status.message if code is StatusCode.ERROR and status.message else None)


def _attributes(pairs: Iterable[KeyValue], dropped: int = 0) -> Any:
    """Return attributes as the SDK holds them; where some were dropped, with their count."""
    found = {pair.key: _value(python_value(pair.value)) for pair in pairs}
    return _Shortened(found, dropped) if dropped else found or None


class _Shortened(BoundedAttributes):
    """Attributes of which some were dropped; those that are left have been cleaned before."""

    def __init__(self, left: dict[str, Any], dropped: int) -> None:
        super().__init__()
        self._dict = left
        self.dropped = dropped


def _value(value: Any) -> Any:
    """Return a value with its lists as tuples, as the SDK holds them."""
    if isinstance(value, list):
        return tuple(_value(item) for item in value)
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    return value


def _bounded(items: list[Any], dropped: int) -> Sequence[Any]:
    if not dropped:
        return items
    bounded: BoundedList[Any] = BoundedList.from_seq(None, items)
    bounded.dropped = dropped
    return bounded
