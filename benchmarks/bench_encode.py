"""Finished spans to OTLP bytes, against OpenTelemetry's own encoder."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import measure
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tracekit.otlp.span_encoder import encode

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

BATCH = 512
"""Spans of a batch: the default of the SDK's processor."""
ROUNDS = 31

THEIRS = "encode_spans, to bytes"
OURS = "span_encoder"


def batch() -> tuple[ReadableSpan, ...]:
    """Return a batch of model calls and tool calls; ids, tokens and times differ in each."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("tracekit", "0.1")
    for number in range(BATCH // 2):
        shared: dict[str, AttributeValue] = {"tracekit.session.id": f"session-{number // 8}"}
        call: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.request.max_tokens": 4096,
            "gen_ai.response.model": "gpt-4o-2024-08-06",
            "gen_ai.response.id": f"chatcmpl-{number:032}",
            "gen_ai.response.finish_reasons": ("tool_calls",),
            "gen_ai.response.time_to_first_chunk": 0.1 + number / 1e4,
            "gen_ai.usage.input_tokens": 1200 + 37 * number,
            "gen_ai.usage.output_tokens": 80 + number,
            "server.address": "api.openai.com",
            "tracekit.stream.complete": True,
            "tracekit.stop.class": "tool_call",
            "tracekit.cost.usd": 0.0123 + number / 1e5,
            "tracekit.cost.source": "computed",
        }
        tool: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": f"tool_{number % 7}",
            "gen_ai.tool.call.id": f"call_{number:024}",
            "tracekit.tool.arguments_hash": number * 0x9E3779B97F4A7C15 % (1 << 62),
            "tracekit.side_effect": "read",
        }
        with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT) as span:
            span.set_attributes(shared | call)
            with tracer.start_as_current_span(f"execute_tool tool_{number % 7}") as step:
                step.set_attributes(shared | tool)
    return kept.get_finished_spans()


def run() -> list[measure.Result]:
    """Encode the same batch both ways, in turns."""
    spans = batch()
    message = encode_spans(spans)
    assert type(message).FromString(encode(spans)) == message
    seconds = measure.interleave(
        {
            THEIRS: lambda: encode_spans(spans).SerializeToString(),
            OURS: lambda: encode(spans),
        },
        ROUNDS,
    )

    def line(name: str, ratio: str = "", aim: str = "") -> measure.Result:
        median = statistics.median(seconds[name])
        return measure.Result(name, median, f"{median / BATCH * 1e6:.1f} us/span", ratio, aim)

    ratio = measure.ratio_of(seconds[THEIRS], seconds[OURS])
    return [line(THEIRS), line(OURS, f"{ratio:.2f}x {THEIRS}", "4x")]


if __name__ == "__main__":
    measure.show(run())
