"""Recorded answers of real providers, replayed to the real SDKs: spans say what the wire said."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anthropic
import client_calls as calls
import openai
import pytest
from cassettes import Exchange, events, exchanges, last_values, read

from tracekit.instrumentation.clients import wrap
from tracekit.instrumentation.clients.apis import find
from tracekit.instrumentation.clients.bodies import body_for
from tracekit.instrumentation.clients.reading import Reading
from tracekit.testing import capture
from tracekit.testing.provider import Reply, ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

APIS = {
    "chat completions": openai,
    "completions": openai,
    "responses": openai,
    "embeddings": openai,
    "messages": anthropic,
}
"""APIs of the recordings -> the SDK that speaks them; of embeddings those that are OpenAI's."""

INPUT = {
    "chat completions": ["usage.prompt_tokens", "x_groq.usage.prompt_tokens"],
    "completions": ["usage.prompt_tokens"],
    "embeddings": ["usage.prompt_tokens"],
    "responses": ["response.usage.input_tokens", "usage.input_tokens"],
    "messages": ["message.usage.input_tokens", "usage.input_tokens"],
}
OUTPUT = {
    "chat completions": ["usage.completion_tokens", "x_groq.usage.completion_tokens"],
    "completions": ["usage.completion_tokens"],
    "embeddings": [],
    "responses": ["response.usage.output_tokens", "usage.output_tokens"],
    "messages": ["message.usage.output_tokens", "usage.output_tokens"],
}
CACHES = ("cache_read_input_tokens", "cache_creation_input_tokens")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    calls.close_all()


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> list[tuple[Exchange, str]]:
    """Return the exchanges the SDKs could have had, each with its API."""
    archive = shared_data / "openllmetry-cassettes" / "originals.tar.gz"
    named = ((exchange, read(exchange).api) for exchange in exchanges(archive))
    return [
        (exchange, api)
        for exchange, api in named
        if api in APIS and not exchange.path.startswith(("/api/", "/v2/"))
    ]


def replayed(exchange: Exchange, api: str, provider: ScriptedProvider, clients: Any) -> None:
    """Have an SDK make the request of an exchange, and read all of the answer."""
    headers = {"content-type": exchange.content_type}
    is_streamed = exchange.content_type.startswith("text/event-stream")
    provider.add(Reply((exchange.body,), exchange.status, headers, is_stream=is_streamed))
    sdk = APIS[api]
    path = exchange.path.removeprefix("/v1") if sdk is openai else exchange.path
    asked: dict[str, Any] = {"cast_to": object, "body": {"model": "m", "stream": is_streamed}}
    if is_streamed:
        list(clients[sdk].post(path, **asked, stream=True, stream_cls=sdk.Stream[object]))
    else:
        clients[sdk].post(path, **asked)


def expected(exchange: Exchange, api: str) -> dict[str, Any]:
    """Return what the bytes of an exchange say, read by other means than ours."""
    finding = read(exchange)
    found = list(events(exchange))
    tokens_in = last_values(iter(found), INPUT[api]).get(())
    if api == "messages" and tokens_in is not None:
        for name in CACHES:
            paths = [f"message.usage.{name}", f"usage.{name}"]
            tokens_in += last_values(iter(found), paths).get((), 0)
    return {
        "gen_ai.response.finish_reasons": finding.stops or None,
        "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.output_tokens": last_values(iter(found), OUTPUT[api]).get(()),
        "error.type": next(iter(finding.error), None) or (
            str(exchange.status) if exchange.status >= 400 else None
        ),
    }  # fmt: skip


def test_replayed_recordings(recorded: list[tuple[Exchange, str]]) -> None:
    """Stop values, usage and errors of every recorded answer are on the span of its call."""
    seen: Counter[str] = Counter()
    with capture(derive=False) as captured, ScriptedProvider() as provider:
        clients = {
            openai: wrap(calls.openai_client(provider, max_retries=0)),
            anthropic: wrap(calls.anthropic_client(provider, max_retries=0)),
        }
        for exchange, api in recorded:
            captured.clear()
            if exchange.status >= 400:
                with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
                    replayed(exchange, api, provider, clients)
            else:
                replayed(exchange, api, provider, clients)
            wanted = expected(exchange, api)
            assert said(captured.spans, wanted) == wanted, exchange.path
            seen[api] += 1
        assert captured.lost == {}
    assert seen.keys() == APIS.keys()
    assert seen.total() > 500


def test_recorded_event_frames(shared_data: Path) -> None:
    """Streams in AWS event frames, as Bedrock sends Claude's, are read however they are cut."""
    archive = shared_data / "openllmetry-cassettes" / "originals.tar.gz"
    frames = "application/vnd.amazon.eventstream"
    found = [
        exchange
        for exchange in exchanges(archive)
        if exchange.content_type.startswith(frames) and "anthropic" in exchange.path
        and "/invoke" in exchange.path
    ]  # fmt: skip
    assert found
    for exchange in found:
        api = find("anthropic", exchange.path)
        assert api is not None
        for size in (1, 100, len(exchange.body)):
            reading = Reading(api)
            body = body_for(reading, frames, "")
            for start in range(0, len(exchange.body), size):
                body.feed(exchange.body[start : start + size])
            body.end()
            assert reading.stops() == read(exchange).stops
            assert reading.usage()["output_tokens"] > 0
            assert reading.is_over


def said(spans: list[ReadableSpan], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return what the only span says about what is wanted."""
    (span,) = spans
    return {name: calls.attributes(span).get(name) for name in wanted}
