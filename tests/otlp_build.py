"""Build OTLP requests for tests: `request([span("chat", {"gen_ai.request.model": "gpt-4o"})])`.

Times are seconds after `EPOCH_NS`; span ids come from a counter, so all spans of a run differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

EPOCH_NS: Final = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z, the zero of every time in a test."""

_ids = itertools.count(1)

Attributes = Mapping[str, Any]
Events = Iterable[tuple[str, Attributes]]


def any_value(value: Any) -> AnyValue:
    """Return a Python value as an OTLP value; None becomes the empty value."""
    result = AnyValue()
    match value:
        case None:
            pass
        case bool():
            result.bool_value = value
        case int():
            result.int_value = value
        case float():
            result.double_value = value
        case str():
            result.string_value = value
        case bytes():
            result.bytes_value = value
        case Mapping():
            result.kvlist_value.SetInParent()
            result.kvlist_value.values.extend(key_values(value))
        case _:
            result.array_value.SetInParent()
            result.array_value.values.extend(any_value(item) for item in value)
    return result


def key_values(attributes: Attributes) -> list[KeyValue]:
    """Return attributes as OTLP key-value messages, in order."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def nanos(seconds: float) -> int:
    """Return seconds after the epoch of the tests as nanoseconds since 1970."""
    return EPOCH_NS + round(seconds * 1e9)


def span(  # noqa: PLR0913  every argument is one field of the span
    name: str = "span",
    attributes: Attributes | None = None,
    events: Events = (),
    *,
    parent: Span | bytes | None = None,
    start: float = 0,
    end: float | None = 1,
    trace: int = 1,
    span_id: int | None = None,
    kind: str = "internal",
    status: str = "unset",
    links: Iterable[Span] = (),
    trace_state: str = "",
) -> Span:
    """Return one span.

    Args:
        name: Span name.
        attributes: Span attributes; values are plain Python values.
        events: Pairs of event name and attributes; they happen at the span's start.
        parent: Parent span, whose trace is taken over, or a raw parent span id.
        start: Start in seconds after the tests' epoch.
        end: End in seconds after the tests' epoch; None for a span that never ended.
        trace: Trace id as a number, unless the parent is a span.
        span_id: Span id as a number; the next free one by default.
        kind: Span kind as a lower-case word.
        status: Status as a lower-case word.
        links: Spans linked to.
        trace_state: W3C tracestate.
    """
    parent_id = parent.span_id if isinstance(parent, Span) else parent or b""
    return Span(
        trace_id=parent.trace_id if isinstance(parent, Span) else trace.to_bytes(16, "big"),
        span_id=(next(_ids) if span_id is None else span_id).to_bytes(8, "big"),
        parent_span_id=parent_id,
        trace_state=trace_state,
        name=name,
        kind=Span.SpanKind.Value(f"SPAN_KIND_{kind.upper()}"),
        start_time_unix_nano=nanos(start),
        end_time_unix_nano=0 if end is None else nanos(end),
        attributes=key_values(attributes or {}),
        events=[
            Span.Event(name=event, attributes=key_values(values), time_unix_nano=nanos(start))
            for event, values in events
        ],
        links=[Span.Link(trace_id=link.trace_id, span_id=link.span_id) for link in links],
        status=Status(code=Status.StatusCode.Value(f"STATUS_CODE_{status.upper()}")),
    )


def request(
    spans: Sequence[Span],
    resource: Attributes | None = None,
    scope: str = "",
    scope_attributes: Attributes | None = None,
) -> bytes:
    """Return an `ExportTraceServiceRequest` with one resource and one scope, as bytes."""
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.extend(key_values(resource or {}))
    scope_spans = group.scope_spans.add()
    scope_spans.scope.name = scope
    scope_spans.scope.attributes.extend(key_values(scope_attributes or {}))
    scope_spans.spans.extend(spans)
    return message.SerializeToString()
