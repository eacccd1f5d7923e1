"""OTLP bytes become the SDK's spans again, which encode to the same message."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from test_span_encoder import parsed, spans

from tracekit.otlp.span_decoder import decode
from tracekit.otlp.span_encoder import encode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(batch=st.lists(spans, max_size=4))
def test_spans_survive_the_way_through_bytes(batch: list[ReadableSpan]) -> None:
    """Encoded, decoded and encoded again, by us or by OpenTelemetry, they are the same message."""
    raw = encode(batch)
    again = decode(raw)
    assert flat(parsed(again)) == flat(ExportTraceServiceRequest.FromString(raw))
    theirs = ExportTraceServiceRequest.FromString(encode_spans(again).SerializeToString())
    assert flat(theirs) == flat(parsed(again))
    losses = [Counter(map(lost, spans)) for spans in (batch, again)]
    assert losses[0] == losses[1]


def flat(message: ExportTraceServiceRequest) -> Counter[bytes]:
    """Return the spans with resource and scope; no scope and one without a name are the same."""
    return Counter(
        b"|".join(
            part.SerializeToString(deterministic=True)
            for part in (group.resource, scope.scope, span)
        )
        + f"{group.schema_url}|{scope.schema_url}".encode()
        for group in message.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    )


def lost(span: ReadableSpan) -> tuple[str, int, int, int]:
    return span.name, span.dropped_attributes, span.dropped_events, span.dropped_links
