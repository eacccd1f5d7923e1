"""What a decorated call costs with tracekit, beside a span of the OpenTelemetry SDK alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from percall import Case

from tracekit.instrumentation.agents import agent, task
from tracekit.instrumentation.derive import Deriver
from tracekit.instrumentation.llm import current_call, llm
from tracekit.instrumentation.runtime import (
    Runtime,
    Settings,
    activate,
    counts,
    deactivate,
)
from tracekit.instrumentation.tools import tool

if TYPE_CHECKING:
    from collections.abc import Callable

BARE = "bare function"
DISABLED = "@tool, not configured"
UNTRACED = (BARE, DISABLED)
SPAN = "SDK span"
SPAN_ASYNC = "SDK span, async"
TAGGED = "SDK span with the same tags"

MODEL = "gpt-4o-mini"
TAGS: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": MODEL,
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 80,
    "gen_ai.response.finish_reasons": ("stop",),
}


def bare(x: int) -> int:
    """Return the argument."""
    return x


async def bare_async(x: int) -> int:
    """Return the argument."""
    return x


def answer(x: int) -> int:
    """Return the argument, after saying what a model said."""
    call = current_call()
    call.usage(input_tokens=1200, output_tokens=80)
    call.stop("stop")
    return x


async def answer_async(x: int) -> int:
    """Return the argument, after saying what a model said."""
    return answer(x)


class Bench:
    """A provider with an exporter in memory, and the cases that write to it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tracekit")

    def cases(self, deriver: Any) -> list[Case]:
        """Return everything to compare.

        Args:
            deriver: Computes stops and costs.
        """
        plain = Runtime(self.tracer, Settings())
        deriving = replace(plain, deriver=deriver)
        found = [
            Case(BARE, bare, deactivate),
            Case(DISABLED, tool(bare), deactivate),
            Case(SPAN, self._spanned, deactivate, self.exporter.clear),
            Case(TAGGED, self._tagged, deactivate, self.exporter.clear),
            Case(SPAN_ASYNC, self._spanned_async, deactivate, self.exporter.clear, runs_async=True),
            *self._decorated("", plain),
            *self._decorated(", stop and cost derived", deriving),
        ]
        for case in found:
            self._check(case)
        return found

    def _check(self, case: Case) -> None:
        """Refuse to measure what writes nothing, or fails."""
        case.before()
        result = case.call(1)
        assert (asyncio.run(result) if case.runs_async else result) == 1, case.name
        written = len(self.exporter.get_finished_spans())
        assert written == (case.name not in UNTRACED), f"{case.name}: {written} spans"
        assert not counts(), f"{case.name}: {counts()}"
        case.after()

    def _decorated(self, suffix: str, runtime: Runtime) -> list[Case]:
        model = llm(MODEL, provider="openai")

        def case(name: str, call: Callable[[Any], Any], *, runs_async: bool = False) -> Case:
            return Case(
                name + suffix, call, lambda: activate(runtime), self.exporter.clear, runs_async
            )

        return [
            case("@tool", tool(bare)),
            case("@tool, async", tool(bare_async), runs_async=True),
            case("@llm with stop and tokens", model(answer)),
            case("@llm with stop and tokens, async", model(answer_async), runs_async=True),
            case("@agent", agent(bare)),
            case("@task", task(bare)),
        ]

    def _spanned(self, x: int) -> int:
        with self.tracer.start_as_current_span("bare"):
            return bare(x)

    async def _spanned_async(self, x: int) -> int:
        with self.tracer.start_as_current_span("bare"):
            return await bare_async(x)

    def _tagged(self, x: int) -> int:
        with self.tracer.start_as_current_span("bare") as span:
            span.set_attributes(TAGS)
            return bare(x)


def deriver() -> Deriver:
    """Return what `configure` makes."""
    return Deriver()
