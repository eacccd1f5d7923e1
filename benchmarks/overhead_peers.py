# mypy: ignore-errors
# ruff: noqa: PLC0415
"""What a decorated call costs with another library, beside an SDK span timed in turns with it.

Runs in `.venv-peers`, one library per process: `python overhead_peers.py traceloop`. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from percall import Case, compare

if TYPE_CHECKING:
    from collections.abc import Callable

Decorated = list[tuple[str, Any]]


def bare(x: int) -> int:
    """Return the argument."""
    return x


async def bare_async(x: int) -> int:
    """Return the argument."""
    return x


def traceloop(exporter: InMemorySpanExporter) -> Decorated:
    """Traceloop's SDK, content on as it is by default, and off."""
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import task

    processor = SimpleSpanProcessor(exporter)
    Traceloop.init(
        app_name="bench", processor=processor, instruments=set(), telemetry_enabled=False
    )
    return [
        ("traceloop @task", task(name="bare")(bare)),
        ("traceloop @task, async", task(name="bare")(bare_async)),
    ]


def logfire(exporter: InMemorySpanExporter) -> Decorated:
    """Logfire, which writes nothing of the arguments by request."""
    import logfire as library

    library.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        additional_span_processors=[SimpleSpanProcessor(exporter)],
    )
    plain = library.instrument("bare", extract_args=False)
    return [
        ("logfire @instrument", library.instrument("bare")(bare)),
        ("logfire @instrument, no arguments", plain(bare)),
        ("logfire @instrument, no arguments, async", plain(bare_async)),
    ]


def langfuse(exporter: InMemorySpanExporter) -> Decorated:
    """Langfuse, whose batch processor exports to memory."""
    from langfuse import Langfuse, observe

    Langfuse(
        public_key="pk-lf-bench",
        secret_key="sk-lf-bench",  # noqa: S106 - there is no server
        base_url="http://127.0.0.1:9",
        tracer_provider=TracerProvider(),
        span_exporter=exporter,
    )
    quiet = observe(capture_input=False, capture_output=False)
    return [
        ("langfuse @observe", observe()(bare)),
        ("langfuse @observe, no content", quiet(bare)),
        ("langfuse @observe, no content, async", quiet(bare_async)),
    ]


def openinference(exporter: InMemorySpanExporter) -> Decorated:
    """OpenInference's tracer."""
    from openinference.instrumentation import OITracer, TraceConfig

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = OITracer(provider.get_tracer("bench"), config=TraceConfig())
    return [
        ("openinference @chain", tracer.chain(bare)),
        ("openinference @chain, async", tracer.chain(bare_async)),
        ("openinference @tool", tracer.tool(bare)),
    ]


LIBRARIES: dict[str, Callable[[InMemorySpanExporter], Decorated]] = {
    "traceloop": traceloop,
    "logfire": logfire,
    "langfuse": langfuse,
    "openinference": openinference,
}


def check(decorated: Decorated, exporter: InMemorySpanExporter) -> None:
    """Refuse to measure a library that writes nothing."""
    for name, call in decorated:
        result = call(1)
        assert (asyncio.run(result) if "async" in name else result) == 1, name
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    assert flush is None or flush()
    if LIBRARIES[sys.argv[1]] is not langfuse:  # exports by and by
        assert len(exporter.get_finished_spans()) == len(decorated)


def main(library: str) -> None:
    """Time one library and print what was found as one line of JSON."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"):
        os.environ[name] = "none"
    exporter, theirs = InMemorySpanExporter(), InMemorySpanExporter()
    decorated = LIBRARIES[library](theirs)
    ours = TracerProvider()
    ours.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = ours.get_tracer("bench")

    def spanned(x: int) -> int:
        with tracer.start_as_current_span("bare"):
            return bare(x)

    async def spanned_async(x: int) -> int:
        with tracer.start_as_current_span("bare"):
            return await bare_async(x)

    def clear() -> None:
        exporter.clear()
        theirs.clear()

    check(decorated, theirs)
    cases = [
        Case("SDK span", spanned, after=clear),
        Case("SDK span, async", spanned_async, after=clear, runs_async=True),
        *(Case(n, call, after=clear, runs_async="async" in n) for n, call in decorated),
    ]
    print(json.dumps([cost.plain() for cost in compare(cases)]))


if __name__ == "__main__":
    main(sys.argv[1])
