"""What a call of a provider's client costs wrapped by tracekit, beside the same call unwrapped.

The provider is the scripted one of `tests/peers`, in a process of its own, so that what it takes to
answer is the same for both.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import openai
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from percall import Case, Cost, compare

from tracekit.instrumentation.clients import wrap
from tracekit.instrumentation.runtime import Runtime, Settings, activate, deactivate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 15
CALLS = 20
PEERS = Path(__file__).resolve().parent.parent / "tests" / "peers"
ASKED: Any = [{"role": "user", "content": "hello"}]


@contextmanager
def provider() -> Iterator[str]:
    """Run the scripted provider, and yield where it listens."""
    command = [sys.executable, str(PEERS / "provider.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def calls(url: str, prepared: Callable[[Any], Any]) -> dict[str, Callable[[int], object]]:
    """Return the calls to compare.

    Args:
        url: The provider.
        prepared: Wraps a client, or leaves it.
    """
    chat = prepared(openai.OpenAI(base_url=f"{url}/v1", api_key="none")).chat.completions.create
    message = prepared(anthropic.Anthropic(base_url=url, api_key="none")).messages.create
    on_openai = {"model": "gpt-4o-mini", "messages": ASKED}
    on_anthropic = {"model": "claude-sonnet-4-5", "messages": ASKED, "max_tokens": 99}
    return {
        "openai": lambda _: chat(**on_openai),
        "openai, streaming": lambda _: list(chat(**on_openai, stream=True)),
        "anthropic": lambda _: message(**on_anthropic),
        "anthropic, streaming": lambda _: list(message(**on_anthropic, stream=True)),
    }


def run(deriver: Any) -> list[tuple[Cost, Cost]]:
    """Return what each call costs unwrapped and wrapped.

    Args:
        deriver: Computes stops and costs.
    """
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    runtime = Runtime(tracers.get_tracer("tracekit"), Settings(), deriver=deriver)
    with provider() as url:
        plain, wrapped = calls(url, lambda client: client), calls(url, wrap)
        cases = []
        for name in plain:
            cases.append(Case(name, plain[name], deactivate))
            cases.append(
                Case(f"{name}, wrapped", wrapped[name], lambda: activate(runtime), exporter.clear)
            )
        costs = compare(cases, ROUNDS, CALLS)
    return list(zip(costs[::2], costs[1::2], strict=True))
