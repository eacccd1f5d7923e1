"""However a stream ends, the host sees what it would have seen, and the span says what happened."""

from __future__ import annotations

import asyncio
import gc
import gzip
import threading
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import client_calls as calls
import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.instrumentation import calls as llm_calls
from tracekit.instrumentation.clients import wrap
from tracekit.instrumentation.clients.apis import Api, find
from tracekit.instrumentation.clients.bodies import body_for
from tracekit.instrumentation.clients.reading import Reading
from tracekit.testing import Clock, capture
from tracekit.testing.provider import (
    Reply,
    Request,
    ScriptedProvider,
    error_reply,
    json_reply,
    sse_reply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tracekit.testing import Captured

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": calls.ASK, "stream": True}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    calls.close_all()


@pytest.fixture
def seen() -> Iterator[Captured]:
    """Return the spans of a test, with real times: the models put them in order."""
    with capture(clock=Clock.real(), derive=False) as captured:
        yield captured


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as running:
        yield running


def chat(provider: ScriptedProvider) -> Iterator[Any]:
    """Return a streamed chat completion."""
    return iter(wrap(calls.openai_client(provider)).chat.completions.create(**CHAT))


def respond(provider: ScriptedProvider) -> Iterator[Any]:
    """Return a streamed response."""
    client = wrap(calls.openai_client(provider))
    return iter(client.responses.create(model="gpt-5", input="Why?", stream=True))


def talk(provider: ScriptedProvider) -> Iterator[Any]:
    """Return a streamed message."""
    client = wrap(calls.anthropic_client(provider))
    asked: Any = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": calls.ASK}
    return iter(client.messages.create(**asked, stream=True))


def generate(provider: ScriptedProvider) -> Iterator[Any]:
    """Return a streamed Gemini answer."""
    client = wrap(calls.google_client(provider))
    asked: Any = {"model": "gemini-2.5-flash", "contents": "Why?"}
    # The client closes when it is collected: it must live as long as its stream.
    yield from client.models.generate_content_stream(**asked)


CHAT_REPLY = sse_reply(calls.chat_chunks("Be", "cause."), done="[DONE]")

STREAMS: dict[str, tuple[Reply, Callable[[ScriptedProvider], Iterator[Any]]]] = {
    "chat": (CHAT_REPLY, chat),
    "responses": (sse_reply(calls.response_events("Be", "cause."), names="type"), respond),
    "messages": (sse_reply(calls.message_events("Be", "cause."), names="type"), talk),
    "gemini": (
        sse_reply([calls.content(None, "Be"), calls.content(None, "ca"), calls.content()]),
        generate,
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_connection_that_breaks(seen: Captured, provider: ScriptedProvider, name: str) -> None:
    """A connection that breaks between any two chunks is a cut stream; the host gets the error."""
    reply, ask = STREAMS[name]
    cuts = range(1, len(reply.chunks))
    for chunks in cuts:
        provider.add(reply.cut_after(chunks))
        received, error = calls.read_all(ask(provider))
        assert error is not None
        assert len(received) <= chunks
    for span in seen.spans:
        attributes = calls.attributes(span)
        assert attributes["tracekit.stream.complete"] is False
        assert str(attributes["error.type"]).endswith("RemoteProtocolError")
    assert calls.stop_codes(seen.spans) == ["truncated.stream_cut"] * len(cuts)


@pytest.mark.parametrize("name", STREAMS)
def test_connection_that_breaks_before_anything(
    seen: Captured, provider: ScriptedProvider, name: str
) -> None:
    """A stream that breaks before its first event is the server's error, not a cut answer."""
    reply, ask = STREAMS[name]
    provider.add(reply.cut_after(0))
    _, error = calls.read_all(ask(provider))
    assert error is not None
    assert calls.stop_codes(seen.spans) == ["provider.server_error"]


@pytest.mark.parametrize("name", STREAMS)
def test_stream_that_ends_too_early(seen: Captured, provider: ScriptedProvider, name: str) -> None:
    """A stream that ends in good order, but without a stop value, is a cut one."""
    reply, ask = STREAMS[name]
    provider.add(Reply(reply.chunks[:2], headers=reply.headers, is_stream=True))
    calls.read_all(ask(provider))
    (span,) = seen.spans
    assert calls.attributes(span)["tracekit.stream.complete"] is False
    assert calls.stop_codes(seen.spans) == ["truncated.stream_cut"]


def test_host_that_leaves(seen: Captured, provider: ScriptedProvider) -> None:
    """A stream its reader closes was cancelled by the caller: no fault of the provider's."""
    provider.add(CHAT_REPLY)
    client = wrap(calls.openai_client(provider))
    with client.chat.completions.create(**CHAT) as stream:
        next(iter(stream))
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["error.type"] == "cancelled"
    assert "tracekit.stream.complete" not in attributes
    assert calls.stop_codes(seen.spans) == ["cancelled.caller"]


def test_host_that_leaves_after_the_stop_value(seen: Captured, provider: ScriptedProvider) -> None:
    """Whoever has read the stop value has read the answer, whatever he leaves unread."""
    ready = threading.Event()
    provider.add(
        Reply(CHAT_REPLY.chunks, 200, CHAT_REPLY.headers, is_stream=True, waits={4: ready})
    )
    client = wrap(calls.openai_client(provider))
    with client.chat.completions.create(**CHAT) as stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
    ready.set()
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["tracekit.stream.complete"] is True
    assert "error.type" not in attributes


def test_stream_nobody_closes(seen: Captured, provider: ScriptedProvider) -> None:
    """A stream that is dropped unread ends its span when it is collected."""
    provider.add(CHAT_REPLY, CHAT_REPLY)
    client = wrap(calls.openai_client(provider))
    stream = client.chat.completions.create(**CHAT)
    next(iter(stream))
    assert seen.spans == []
    del stream
    gc.collect()
    assert calls.attributes(seen.one("chat gpt-4o"))["error.type"] == "cancelled"


def test_async_host_that_leaves(seen: Captured, provider: ScriptedProvider) -> None:
    """An async stream that is closed half-read was cancelled too."""
    provider.add(CHAT_REPLY)

    async def leave() -> None:
        async with (
            wrap(calls.async_openai_client(provider)) as client,
            await client.chat.completions.create(**CHAT) as stream,
        ):
            await anext(aiter(stream))

    calls.waited(leave)
    assert calls.attributes(seen.one("chat gpt-4o"))["error.type"] == "cancelled"
    assert calls.stop_codes(seen.spans) == ["cancelled.caller"]


@pytest.mark.parametrize("at", [0, 2])
def test_cancelled_task(seen: Captured, provider: ScriptedProvider, at: int) -> None:
    """Cancelling a task, before the answer or within its stream, goes through and is recorded."""
    never = threading.Event()
    chunks = CHAT_REPLY.chunks
    provider.add(Reply(chunks, 200, CHAT_REPLY.headers, is_stream=True, waits={at: never}))

    async def read(started: asyncio.Event) -> None:
        async with wrap(calls.async_openai_client(provider)) as client:
            stream = await client.chat.completions.create(**CHAT)
            started.set()
            async for _ in stream:
                pass

    async def cancel() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(read(started))
        await started.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    calls.waited(cancel)
    never.set()
    (span,) = seen.spans
    assert str(calls.attributes(span)["error.type"]).endswith("CancelledError")
    assert calls.stop_codes(seen.spans) == ["cancelled.caller"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
def test_compressed_streams_are_read(
    seen: Captured, provider: ScriptedProvider, encoding: str
) -> None:
    """Streams with a content encoding are read like others."""
    plain = b"".join(CHAT_REPLY.chunks)
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = {
        "gzip": gzip.compress(plain),
        "deflate": zlib.compress(plain),
        "raw deflate": raw.compress(plain) + raw.flush(),
    }[encoding]
    headers = {**CHAT_REPLY.headers, "content-encoding": encoding.rpartition(" ")[2]}
    pieces = tuple(packed[n : n + 40] for n in range(0, len(packed), 40))
    provider.add(Reply(pieces, headers=headers, is_stream=True))
    texts = [c.choices[0].delta.content for c in chat(provider) if c.choices]
    assert texts == ["", "Be", "cause.", None]
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert seen.lost == {}


def test_unknown_encodings_are_counted(seen: Captured) -> None:
    """A stream in an encoding nobody here can undo is counted, and nothing is said about it."""
    reading = Reading(api("/v1/chat/completions"))
    body = body_for(reading, "text/event-stream", "br")
    body.feed(b"\x00\x01")
    body.end()
    assert seen.lost == {"tracekit.drop.unread_stream": 1}
    assert not reading.is_stream


def test_output_that_is_too_large(seen: Captured, provider: ScriptedProvider) -> None:
    """A very long output is passed on, but not inspected: that is counted."""
    texts = ["x" * 100_000] * 3
    provider.add(sse_reply(calls.chat_chunks(*texts), done="[DONE]"))
    received = [c.choices[0].delta.content or "" for c in chat(provider) if c.choices]
    assert "".join(received) == "".join(texts)
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert "tracekit.output.state" not in attributes
    assert attributes["gen_ai.usage.output_tokens"] == 100
    assert seen.lost == {"tracekit.drop.content_too_large": 1}


def api(path: str) -> Api:
    """Return the OpenAI API at a path."""
    found = find("openai", path)
    assert found is not None
    return found


def read_in_pieces(data: bytes, cuts: list[int]) -> dict[str, Any]:
    """Return the attributes read from a stream that arrives in pieces."""
    reading = Reading(api("/v1/chat/completions"))
    body = body_for(reading, "text/event-stream", "")
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        body.feed(data[start:end])
    body.end()
    call = llm_calls.LlmCall(None, None, "chat")
    reading.tell(call, is_whole=False)
    return {**call.attributes, "events": reading.events, "over": reading.is_over}


@given(
    cuts=st.lists(st.integers(0, 5000), max_size=30),
    ending=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    comment=st.booleans(),
)
def test_events_cut_anywhere(*, cuts: list[int], ending: bytes, comment: bool) -> None:
    """However a stream is cut into chunks, and whatever ends its lines, the same is read."""
    data = b"".join(CHAT_REPLY.chunks)
    expected = read_in_pieces(data, [])
    assert expected["over"]
    assert expected["gen_ai.response.finish_reasons"] == ("stop",)
    written = (b": keep alive\n\n" if comment else b"") + data
    assert read_in_pieces(written.replace(b"\n", ending), cuts) == expected


@pytest.mark.parametrize("status", [429, 500, 529])
@pytest.mark.parametrize("is_async", [False, True])
def test_retries_are_attempts(
    seen: Captured, provider: ScriptedProvider, status: int, *, is_async: bool
) -> None:
    """What the SDK tries again is an attempt of its own, with status, error and wait."""
    error = {"error": {"message": "no", "type": "server_error", "code": None}}
    refused = error_reply(status, error, {"retry-after-ms": "1", "x-request-id": "req_1"})
    provider.add(refused, refused, json_reply(calls.chat()))
    asked = CHAT | {"stream": False}
    if is_async:

        async def ask() -> None:
            async with wrap(calls.async_openai_client(provider, max_retries=2)) as client:
                await client.chat.completions.create(**asked)

        calls.waited(ask)
    else:
        wrap(calls.openai_client(provider, max_retries=2)).chat.completions.create(**asked)
    con = calls.analysed(seen.spans)
    found = con.execute(
        "SELECT attempt, is_final, http_status, error_type, retry_wait_s > 0, stop_raw, request_id "
        "FROM attempts ORDER BY attempt"
    ).fetchall()
    assert found == [
        (1, False, status, "server_error", None, None, "req_1"),
        (2, False, status, "server_error", True, None, "req_1"),
        (3, True, 200, None, True, "stop", None),
    ]
    assert con.execute("SELECT count(DISTINCT call_id) FROM attempts").fetchall() == [(1,)]
    assert con.execute("SELECT stop_reason FROM tasks").fetchall() == [("completed.unverified",)]


def test_retries_that_are_exhausted(seen: Captured, provider: ScriptedProvider) -> None:
    """When the last try fails as well, the call fails with what the provider said."""
    error = {"error": {"message": "no", "type": "tokens", "code": "rate_limit_exceeded"}}
    provider.add(*[error_reply(429, error, {"retry-after-ms": "1"})] * 3)
    client = wrap(calls.openai_client(provider, max_retries=2))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**CHAT)
    found = [calls.attributes(span)["error.type"] for span in seen.spans]
    # The SDK leaves the bodies of tries unread that it repeats, and so do we.
    assert found == ["429", "429", "rate_limit_exceeded", "rate_limit_exceeded"]
    assert calls.stop_codes(seen.spans) == ["provider.rate_limited"]


def test_connection_that_fails(seen: Captured, provider: ScriptedProvider) -> None:
    """Where nobody answers, every try has the error of the HTTP client."""
    url = provider.url
    provider.__exit__(None, None, None)
    client = wrap(calls.kept(openai.OpenAI(base_url=url, api_key="none", max_retries=0)))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**CHAT)
    assert calls.attributes(seen.one("chat gpt-4o"))["error.type"] == "httpx2.ConnectError"
    assert calls.stop_codes(seen.spans) == ["provider.server_error"]


def test_times_count_from_the_request_that_was_answered() -> None:
    """Time to first chunk is that of the last try, and the wait lies between two tries."""
    clock = Clock()
    replies = iter([error_reply(500, headers={"retry-after-ms": "1"}), CHAT_REPLY])

    def answer(_: Request) -> Reply:
        clock.advance(2)
        return next(replies)

    with capture(clock=clock) as seen, ScriptedProvider(answer=answer) as provider:
        list(chat(provider))
    first, second, call = seen.spans
    assert first.end_time == second.start_time
    assert calls.attributes(call)["gen_ai.response.time_to_first_chunk"] == 2.0
    assert calls.attributes(second)["tracekit.retry.wait_s"] == 0.0
    assert (call.end_time or 0) - (call.start_time or 0) == 4_000_000_000


def test_httpx_clients(seen: Captured, provider: ScriptedProvider) -> None:
    """A client of httpx, httpx2's older brother, is seen as well."""
    provider.add(json_reply(calls.chat()), CHAT_REPLY)
    with httpx.Client() as http_client:
        client = wrap(calls.openai_client(provider, http_client=http_client))
        client.chat.completions.create(**(CHAT | {"stream": False}))
        list(client.chat.completions.create(**CHAT))
    for span in seen.spans:
        assert calls.attributes(span)["gen_ai.response.finish_reasons"] == ("stop",)
    assert len(seen.spans) == 2


def test_error_within_a_stream(seen: Captured, provider: ScriptedProvider) -> None:
    """An error a gateway writes into a stream ends the call with its code."""
    chunks = calls.chat_chunks("Be", finish="error")[:3]
    chunks[-1]["error"] = {"code": 502, "message": "no"}
    provider.add(sse_reply(chunks))
    received, error = calls.read_all(chat(provider))
    assert len(received) == 2
    assert isinstance(error, openai.APIError)
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["error.type"] == "502"
    assert attributes["tracekit.stream.complete"] is False
    assert calls.stop_codes(seen.spans) == ["provider.server_error"]


def test_task_cancelled_before_the_answer(seen: Captured) -> None:
    """Cancelling a task that waits for its answer goes through and is recorded."""
    asked, never = threading.Event(), threading.Event()

    def answer(_: Request) -> Reply:
        asked.set()
        never.wait()
        return CHAT_REPLY

    async def cancel(provider: ScriptedProvider) -> None:
        async with wrap(calls.async_openai_client(provider)) as client:
            task = asyncio.ensure_future(client.chat.completions.create(**CHAT))
            await asyncio.to_thread(asked.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with ScriptedProvider(answer=answer) as provider:
        calls.waited(lambda: cancel(provider))
        never.set()
    span = seen.one("chat gpt-4o")
    assert calls.attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"
    assert calls.stop_codes(seen.spans) == ["cancelled.caller"]
