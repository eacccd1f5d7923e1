# mypy: ignore-errors
# ruff: noqa: PLC0415, ANN001, ANN002, ANN003, ANN201, ANN202
"""How each library traces an agent that calls a provider's client itself, as its manual shows.

Runs in `.venv-peers`. A library is imported by its own function: in one process only one is there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class Kit:
    """Decorators of an agent and of its tools."""

    agent: Callable[[Callable], Callable]
    tool: Callable[[Callable], Callable]


def exporter():
    """Return an exporter to where the environment says."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def provider() -> TracerProvider:
    """Return the application's provider, which is everybody's."""
    # The variables that name the service do not reach a provider made by hand with a resource.
    made = TracerProvider(resource=Resource({"service.name": "peers"}))
    made.add_span_processor(SimpleSpanProcessor(exporter()))
    trace.set_tracer_provider(made)
    return made


def around(span: Callable[[str], AbstractContextManager]) -> Callable[[Callable], Callable]:
    """Return a decorator that runs a function in a span."""

    def decorator(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with span(function.__name__):
                return function(*args, **kwargs)

        return wrapper

    return decorator


def by_hand() -> Kit:
    """Spans of the application's own, which say nothing but their name."""
    plain = around(trace.get_tracer("peers").start_as_current_span)
    return Kit(plain, plain)


def tracekit(_: str) -> Kit:
    """Ours."""
    import tracekit as ours

    provider()
    ours.configure()
    ours.instrument()
    return Kit(ours.agent, ours.tool)


def itself(_: str) -> Kit:
    """Nothing but the client, where it traces itself."""
    provider()
    return by_hand()


def openllmetry(client: str) -> Kit:
    """OpenLLMetry's instrumentations of the clients, without its SDK."""
    provider()
    if client == "openai":
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor as Instrumentor
    else:
        from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor as Instrumentor
    Instrumentor().instrument()
    return by_hand()


def traceloop(_: str) -> Kit:
    """OpenLLMetry with its SDK and decorators."""
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import agent, tool
    from traceloop.sdk.instruments import Instruments

    Traceloop.init(
        app_name="peers",
        exporter=exporter(),
        disable_batch=True,
        telemetry_enabled=False,
        instruments={Instruments.OPENAI, Instruments.ANTHROPIC},
    )
    return Kit(lambda f: agent(name=f.__name__)(f), lambda f: tool(name=f.__name__)(f))


def openinference(client: str) -> Kit:
    """OpenInference's instrumentations and its tracer's decorators."""
    from openinference.instrumentation import OITracer, TraceConfig

    made = provider()
    if client == "openai":
        from openinference.instrumentation.openai import OpenAIInstrumentor as Instrumentor
    else:
        from openinference.instrumentation.anthropic import AnthropicInstrumentor as Instrumentor
    Instrumentor().instrument(tracer_provider=made)
    tracer = OITracer(made.get_tracer("peers"), config=TraceConfig())
    return Kit(tracer.agent, tracer.tool)


def otel(client: str) -> Kit:
    """OpenTelemetry's own instrumentations, and its helper for agents and tools."""
    from opentelemetry.util.genai.handler import get_telemetry_handler

    provider()
    if client == "openai":
        from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as Instrumentor
    else:
        from opentelemetry.instrumentation.genai.anthropic import (
            AnthropicInstrumentor as Instrumentor,
        )
    Instrumentor().instrument()
    handler = get_telemetry_handler()
    return Kit(
        around(lambda name: handler.invoke_local_agent(agent_name=name)), around(handler.tool)
    )


def logfire(client: str) -> Kit:
    """Logfire's instrumentations; it has no kinds of spans, so agents and tools are plain ones."""
    import logfire as library

    library.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        service_name="peers",  # it exports to where the environment says by itself
    )
    if client == "openai":
        library.instrument_openai()
    else:
        library.instrument_anthropic()
    plain = around(library.span)
    return Kit(plain, plain)


def langfuse(_: str) -> Kit:
    """Langfuse's decorators, and its own OpenAI client."""
    from langfuse import Langfuse, observe

    Langfuse(
        public_key="pk-lf-peers",
        secret_key="sk-lf-peers",  # noqa: S106 - there is no server
        base_url="http://127.0.0.1:9",
        tracer_provider=provider(),
        tracing_enabled=True,
        # Its exporter is not needed: the application's provider has one.
        span_exporter=_Nowhere(),
    )
    return Kit(
        lambda f: observe(name=f.__name__, as_type="agent")(f),
        lambda f: observe(name=f.__name__, as_type="tool")(f),
    )


class _Nowhere:
    def export(self, _spans):
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        del timeout_millis
        return True


KITS = {
    "itself": itself,
    "langfuse": langfuse,
    "logfire": logfire,
    "openinference": openinference,
    "openllmetry": openllmetry,
    "otel": otel,
    "tracekit": tracekit,
    "traceloop": traceloop,
}
