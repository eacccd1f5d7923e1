"""Driving the real SDKs against a scripted provider, and what the models make of the spans."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import duckdb
import openai

from tracekit.models import run
from tracekit.otlp.reference import scan_reference
from tracekit.otlp.span_encoder import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit.testing.provider import ScriptedProvider

with warnings.catch_warnings():
    # A string of theirs has an unknown escape, which is told when it is compiled.
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from google import genai
    from google.genai import types as google_types

__all__ = ["google_types"]

C = TypeVar("C")

RECORDED_NS = 1_790_000_000_000_000_000

ASK = [{"role": "user", "content": "Why?"}]


_open: list[Any] = []


def kept(client: C) -> C:
    """Return a client, to be closed by `close_all`: what the collector finds open it warns of."""
    _open.append(client)
    return client


def close_all() -> None:
    """Close the sync clients of a test."""
    while _open:
        _open.pop().close()


def openai_client(provider: ScriptedProvider, **options: Any) -> openai.OpenAI:
    """Return a client of the scripted provider."""
    return kept(openai.OpenAI(base_url=f"{provider.url}/v1", api_key="none", **options))


def async_openai_client(provider: ScriptedProvider, **options: Any) -> openai.AsyncOpenAI:
    """Return an async client of the scripted provider."""
    return openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="none", **options)


def anthropic_client(provider: ScriptedProvider, **options: Any) -> anthropic.Anthropic:
    """Return a client of the scripted provider, without the SDK's own spans."""
    options = {"open_telemetry": False} | options
    return kept(anthropic.Anthropic(base_url=provider.url, api_key="none", **options))


def async_anthropic_client(provider: ScriptedProvider, **options: Any) -> anthropic.AsyncAnthropic:
    """Return an async client of the scripted provider, without the SDK's own spans."""
    return anthropic.AsyncAnthropic(
        base_url=provider.url, api_key="none", open_telemetry=False, **options
    )


def google_client(provider: ScriptedProvider, retries: int = 0) -> genai.Client:
    """Return a client of the scripted provider, with its async face at `.aio`."""
    retry = google_types.HttpRetryOptions(
        attempts=retries + 1, initial_delay=0.001, max_delay=0.002, jitter=0.0
    )
    options = google_types.HttpOptions(base_url=provider.url, retry_options=retry)
    return kept(genai.Client(api_key="none", vertexai=False, http_options=options))


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def analysed(spans: list[ReadableSpan]) -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables the models make of exported spans."""
    con = duckdb.connect()
    run(con, scan_reference(encode(spans)), recorded_ns=RECORDED_NS)
    return con


def stop_codes(spans: list[ReadableSpan]) -> list[str]:
    """Return the stop code of each task, in the order they began."""
    found = analysed(spans).execute("SELECT stop_reason FROM tasks ORDER BY start_ns").fetchall()
    return [code for (code,) in found]


def stops_by_raw(spans: list[ReadableSpan]) -> dict[str, str]:
    """Return the raw stop value -> stop code of each task."""
    found = analysed(spans).execute("SELECT stop_raw, stop_reason FROM tasks").fetchall()
    return {raw: code for raw, code in found}  # noqa: C416 - rows are tuples of any length


def chat(content: str | None = "Because.", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """Return a chat completion."""
    said = {"role": "assistant", "content": content, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_767_225_600,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "total_tokens": 1100,
            "prompt_tokens_details": {"cached_tokens": 400},
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
    }


def chat_chunks(*texts: str, finish: str | None = "stop") -> list[dict[str, Any]]:
    """Return the chunks of a streamed chat completion, with its usage at the end."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
    chunks = [_chunk(choices=[_choice(delta)]) for delta in deltas]
    if finish is not None:
        chunks.append(_chunk(choices=[_choice({}, finish)]))
    return [*chunks, _chunk(choices=[], usage=chat()["usage"])]


def _chunk(**fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_767_225_600,
        "model": "gpt-4o-2024-08-06",
        **fields,
    }


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def response(status: str = "completed", **fields: Any) -> dict[str, Any]:
    """Return a response of the Responses API."""
    text = {"type": "output_text", "text": "Because.", "annotations": []}
    said = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_767_225_600,
        "model": "gpt-5-2025-08-07",
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": [{**said, "content": [text]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "default",
        "usage": {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 400},
            "output_tokens": 100,
            "output_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 1100,
        },
        **fields,
    }


def response_events(*texts: str, last: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the events of a streamed response."""
    final = last or response()
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    started = response("in_progress", output=[], usage=None)
    events: list[dict[str, Any]] = [{"type": "response.created", "response": started}]
    events += [{"type": "response.output_text.delta", "delta": text, **at} for text in texts]
    events.append({"type": f"response.{final['status']}", "response": final})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def message(stop: str | None = "end_turn", **fields: Any) -> dict[str, Any]:
    """Return an Anthropic message."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-6-20260101",
        "content": [{"type": "text", "text": "Because."}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 500,
            "cache_read_input_tokens": 400,
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
            "output_tokens": 100,
            "service_tier": "standard",
        },
        **fields,
    }


def message_events(*texts: str, stop: str | None = "end_turn") -> list[dict[str, Any]]:
    """Return the events of a streamed message."""
    started = message(None, content=[])
    started["usage"] = started["usage"] | {"output_tokens": 1}
    delta = {"stop_reason": stop, "stop_sequence": None}
    return [
        {"type": "message_start", "message": started},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            }
            for text in texts
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 100}},
        {"type": "message_stop"},
    ]


def content(finish: str | None = "STOP", text: str = "Because.", **fields: Any) -> dict[str, Any]:
    """Return a Gemini response, or one chunk of its stream."""
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "responseId": "g-1",
        "modelVersion": "gemini-2.5-flash",
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 400,
            "candidatesTokenCount": 70,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 1100,
        },
        **fields,
    }


def waited(call: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function to its end."""

    async def main() -> Any:
        return await call()

    return asyncio.run(main())


async def collected(items: AsyncIterator[Any]) -> list[Any]:
    """Return all items of an async iterator."""
    return [item async for item in items]


def read_all(items: Iterator[Any]) -> tuple[list[Any], BaseException | None]:
    """Return what an iterator gave, and what it raised."""
    seen: list[Any] = []
    try:
        seen.extend(items)
    except Exception as error:  # noqa: BLE001 - whatever the SDK makes of it
        return seen, error
    return seen, None
