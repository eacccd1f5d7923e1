"""What a policy takes out of kept spans, against the protobuf library doing the same."""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING

import measure
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from samplers.policy_limits import Scrub, Step, Truncate
from samplers.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Callable

SPANS = 1000
ROUNDS = 15
INPUT, OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
THEIRS = "redact two keys, protobuf library"

STEPS: dict[str, tuple[Step, ...]] = {
    "redact two keys": (Step(redact=(INPUT, OUTPUT)),),
    "truncate every text": (Step(truncate=Truncate(attributes=("*",), bytes=100)),),
    "scrub every text": (Step(scrub=Scrub()),),
    "skeleton": (Step(skeleton=True),),
    "redact a key nobody has": (Step(redact=("user.email",)),),
}


def request() -> bytes:
    """Return model calls with 2 kB of content each, one with every attribute a dialect writes."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for number in range(SPANS):
        span = scope.spans.add(
            trace_id=(number // 20 + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            name="chat gpt-4.1",
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=number,
            end_time_unix_nano=number + 1,
        )
        texts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4.1",
            "gen_ai.response.model": "gpt-4.1-2025-04-14",
            "gen_ai.response.id": f"chatcmpl-{number:032}",
            "tracekit.session.id": f"session-{number // 20}",
            INPUT: '[{"role": "user", "content": "' + "word " * 300 + '"}]',
            OUTPUT: '[{"role": "assistant", "content": "' + "text " * 100 + '"}]',
        }
        for key, text in texts.items():
            span.attributes.add(key=key).value.string_value = text
        for key in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "tracekit.attempt"):
            span.attributes.add(key=key).value.int_value = number
    return message.SerializeToString()


def by_library(data: bytes) -> bytes:
    """Redact two keys by decoding and encoding the whole request."""
    message = ExportTraceServiceRequest.FromString(data)
    for group in message.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                for pair in span.attributes:
                    if pair.key in {INPUT, OUTPUT}:
                        pair.value.string_value = "[redacted]"
    return message.SerializeToString()


def run() -> list[measure.Result]:
    """Strip the same request in every way, in turns."""
    data = request()
    rivals: dict[str, Callable[[], object]] = {THEIRS: lambda: by_library(data)}
    for name, steps in STEPS.items():
        rivals[name] = partial(Strip(steps), data)
    assert by_library(data) == Strip(STEPS["redact two keys"])(data)
    seconds = measure.interleave(rivals, ROUNDS)

    def line(name: str) -> measure.Result:
        median = statistics.median(seconds[name])
        ratio = measure.ratio_of(seconds[THEIRS], seconds[name])
        against = "" if name == THEIRS else f"{ratio:.2f}x {THEIRS}"
        return measure.Result(name, median, f"{SPANS / median / 1e3:,.0f} k spans/s", against)

    return [line(name) for name in rivals]


if __name__ == "__main__":
    measure.show(run())
