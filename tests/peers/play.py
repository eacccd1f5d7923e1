# mypy: ignore-errors
# ruff: noqa: PLC0415
"""Run the agent under one instrumentation and write what it exported.

Runs in `.venv-peers`: `python play.py "openinference openai" out.pb`; with `+tracekit` after the
name, tracekit instruments it too.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import agents_framework as frameworks
import agents_plain
from kits import KITS
from provider import Provider

FRAMEWORKS = {
    "langgraph": (frameworks.langgraph, ""),
    "openai-agents-chat": (frameworks.openai_agents, "chat"),
    "openai-agents-responses": (frameworks.openai_agents, "responses"),
    "pydantic-ai-anthropic": (frameworks.pydantic_ai, "anthropic"),
    "pydantic-ai-openai": (frameworks.pydantic_ai, "openai"),
}
INSTRUMENTS = {
    "itself": frameworks.by_itself,
    "langsmith": frameworks.by_langsmith,
    "openinference": frameworks.by_openinference,
    "openllmetry": frameworks.by_openllmetry,
    "otel": frameworks.by_otel,
}


def play(url: str, instrumentation: str, agent: str, stack: ExitStack | None) -> str:
    """Run an agent and return its answer."""
    if agent in FRAMEWORKS:
        return play_framework(url, instrumentation, agent, stack)
    kit = KITS[instrumentation](agent)
    enrich(stack)
    if agent == "anthropic":
        return agents_plain.anthropic(url, kit)
    module = "langfuse.openai" if instrumentation == "langfuse" else "openai"
    return agents_plain.openai(url, kit, module)


def play_framework(url: str, instrumentation: str, agent: str, stack: ExitStack | None) -> str:
    """Run an agent of a framework and return its answer."""
    run, client = FRAMEWORKS[agent]
    if instrumentation == "tracekit":
        kit = KITS[instrumentation](agent)

        @kit.agent
        def assistant(question: str) -> str:
            return run(url, client, question, kit.tool(agents_plain.weather))

        return assistant(agents_plain.QUESTION)
    INSTRUMENTS[instrumentation]()
    enrich(stack)
    return run(url, client, agents_plain.QUESTION, agents_plain.weather)


def enrich(stack: ExitStack | None) -> None:
    """Let tracekit instrument the same calls, in one session: frameworks make several traces."""
    if stack is not None:
        import tracekit

        tracekit.configure()
        tracekit.instrument()
        stack.enter_context(tracekit.session(" ".join(sys.argv[1:2])))


def flush() -> None:
    """Wait until everything is exported."""
    from opentelemetry import trace

    if os.environ.get("LANGSMITH_TRACING"):
        from langsmith.run_trees import get_cached_client

        get_cached_client().flush()
    trace.get_tracer_provider().force_flush()


def main(name: str, out: str) -> None:
    """Run one and write its traces, one OTLP request after the other."""
    enriched = name.endswith("+tracekit")
    instrumentation, agent = name.removesuffix("+tracekit").split()
    with Provider() as provider:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = provider.url
        os.environ["OTEL_SERVICE_NAME"] = "peers"
        # Anthropic's client traces itself wherever there is a provider.
        os.environ["ANTHROPIC_OPEN_TELEMETRY"] = str(
            agent == "anthropic" and instrumentation == "itself"
        ).lower()
        os.environ["OPENAI_API_KEY"] = "none"
        with ExitStack() as stack:
            answer = play(provider.url, instrumentation, agent, stack if enriched else None)
        flush()
        assert "4 degrees" in answer
        assert provider.refused
        assert provider.traces
        # Protobuf messages one after the other are one message with the spans of all.
        Path(out).write_bytes(b"".join(provider.traces))


if __name__ == "__main__":
    main(*sys.argv[1:])
