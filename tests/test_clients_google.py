"""Calls of the real google-genai SDK become spans; what the host gets stays what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import client_calls as calls
import pytest
from client_calls import google_types as types

from tracekit.instrumentation.clients import wrap
from tracekit.testing import Clock, capture
from tracekit.testing.provider import ScriptedProvider, error_reply, json_reply, sse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.testing import Captured

ASK: dict[str, Any] = {
    "model": "gemini-2.5-flash",
    "contents": "Why?",
    "config": {"max_output_tokens": 200},
}

UNCAPPED: dict[str, Any] = {"model": "gemini-2.5-flash", "contents": "Why?"}

USED = {
    "gen_ai.usage.input_tokens": 1000,
    # 70 beside 30 of thoughts.
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 400,
    "gen_ai.usage.reasoning.output_tokens": 30,
}

NAME = "generate_content gemini-2.5-flash"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    calls.close_all()


@pytest.fixture
def seen() -> Iterator[Captured]:
    """Return the spans of a test, with real times: the models put them in order."""
    with capture(clock=Clock.real(), derive=False) as captured:
        yield captured
        assert captured.lost == {}


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as running:
        yield running


def test_content_becomes_one_span(seen: Captured, provider: ScriptedProvider) -> None:
    """Generating content is one client span; thoughts count as output."""
    provider.add(json_reply(calls.content()))
    client = wrap(calls.google_client(provider))
    assert client.models.generate_content(**ASK).text == "Because."
    assert calls.attributes(seen.one(NAME)) == USED | {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini-2.5-flash",
        "gen_ai.request.max_tokens": 200,
        "gen_ai.response.id": "g-1",
        "gen_ai.response.model": "gemini-2.5-flash",
        "gen_ai.response.finish_reasons": ("STOP",),
        "server.address": "127.0.0.1",
        "http.response.status_code": 200,
        "tracekit.output.state": "complete",
        "tracekit.output.pending_calls": 0,
        "tracekit.output.claims_success": False,
    }


def test_all_ways_to_ask(seen: Captured, provider: ScriptedProvider) -> None:
    """Whole, streamed, sync, async and as a chat, a call is one span with usage and stop."""
    whole = json_reply(calls.content())
    stream = sse_reply([calls.content(None, "Be"), calls.content("STOP", "cause.")])
    provider.add(*[whole, stream] * 2, whole, stream)
    client = wrap(calls.google_client(provider))
    client.models.generate_content(**ASK)
    list(client.models.generate_content_stream(**ASK))

    async def both() -> None:
        await client.aio.models.generate_content(**ASK)
        await calls.collected(await client.aio.models.generate_content_stream(**ASK))
        await client.aio.aclose()

    calls.waited(both)
    chat = client.chats.create(model="gemini-2.5-flash")
    chat.send_message("Why?")
    texts = [chunk.text for chunk in chat.send_message_stream("Why?")]
    assert texts == ["Be", "cause."]
    assert [span.name for span in seen.spans] == [NAME] * 6
    for span in seen.spans:
        attributes = calls.attributes(span)
        assert USED.items() <= attributes.items()
        assert attributes["gen_ai.response.finish_reasons"] == ("STOP",)
        assert attributes["tracekit.output.state"] == "complete"
    assert [calls.attributes(s).get("tracekit.stream.complete") for s in seen.spans] == [
        None, True, None, True, None, True,
    ]  # fmt: skip


FINISH = {
    "FINISH_REASON_UNSPECIFIED": "unknown.no_evidence",
    "STOP": "completed.unverified",
    "MAX_TOKENS": "truncated.output_limit",
    "SAFETY": "policy.content_filtered",
    "RECITATION": "policy.content_filtered",
    "LANGUAGE": "policy.content_filtered",
    "OTHER": "unknown.no_evidence",
    "BLOCKLIST": "policy.content_filtered",
    "PROHIBITED_CONTENT": "policy.content_filtered",
    "SPII": "policy.content_filtered",
    "MALFORMED_FUNCTION_CALL": "tool.invalid_call",
    "IMAGE_SAFETY": "policy.content_filtered",
    "IMAGE_PROHIBITED_CONTENT": "policy.content_filtered",
    "IMAGE_OTHER": "policy.content_filtered",
    "NO_IMAGE": "completed.empty_output",
    "IMAGE_RECITATION": "policy.content_filtered",
    "UNEXPECTED_TOOL_CALL": "tool.unknown",
    "TOO_MANY_TOOL_CALLS": "limit.steps",
    "MISSING_THOUGHT_SIGNATURE": "provider.malformed_output",
    "MALFORMED_RESPONSE": "provider.malformed_output",
    "ESCALATION": "policy.content_filtered",
    "PUP_LIMITED_DISABLED": "policy.content_filtered",
    "CONTINUATION": "waiting.continuation",
    "MODEL_ARMOR": "policy.content_filtered",
}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_every_finish_reason_arrives_raw(
    seen: Captured, provider: ScriptedProvider, *, is_streamed: bool
) -> None:
    """Every finish reason is written untouched and gets its stop code."""
    assert {reason.value for reason in types.FinishReason} == set(FINISH)
    client = wrap(calls.google_client(provider))
    for finish in FINISH:
        if is_streamed:
            provider.add(sse_reply([calls.content(None), calls.content(finish)]))
            list(client.models.generate_content_stream(**UNCAPPED))
        else:
            provider.add(json_reply(calls.content(finish)))
            client.models.generate_content(**UNCAPPED)
    assert calls.stops_by_raw(seen.spans) == FINISH


def test_blocked_prompts_have_no_candidates(seen: Captured, provider: ScriptedProvider) -> None:
    """A prompt that was blocked tells why in place of a finish reason."""
    client = wrap(calls.google_client(provider))
    reasons = [reason.value for reason in types.BlockedReason]
    for reason in reasons:
        blocked = calls.content(promptFeedback={"blockReason": reason})
        del blocked["candidates"]
        provider.add(json_reply(blocked))
        client.models.generate_content(**ASK)
    found = calls.stops_by_raw(seen.spans)
    assert set(found) == set(reasons)
    vague = {"BLOCKED_REASON_UNSPECIFIED", "OTHER"}
    assert {found[r] for r in set(reasons) - vague} == {"policy.content_filtered"}


def test_function_calls_are_counted(seen: Captured, provider: ScriptedProvider) -> None:
    """Function calls are counted, in a whole answer and in pieces of a stream."""
    asked = {"functionCall": {"name": "find", "args": {"x": 1}}}
    candidate = {"index": 0, "content": {"role": "model", "parts": [asked]}, "finishReason": "STOP"}
    answer = calls.content(candidates=[candidate])
    provider.add(json_reply(answer), sse_reply([answer, answer]))
    client = wrap(calls.google_client(provider))
    client.models.generate_content(**ASK)
    list(client.models.generate_content_stream(**ASK))
    found = [calls.attributes(span)["tracekit.output.pending_calls"] for span in seen.spans]
    assert found == [1, 2]


def test_retries_are_attempts(seen: Captured, provider: ScriptedProvider) -> None:
    """What the SDK tries again is an attempt with its status and the provider's error."""
    busy = {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}
    provider.add(error_reply(503, busy), json_reply(calls.content()))
    client = wrap(calls.google_client(provider, retries=2))
    client.models.generate_content(**ASK)
    first, second, call = seen.spans
    assert calls.attributes(first)["error.type"] == "UNAVAILABLE"
    assert calls.attributes(first)["http.response.status_code"] == 503
    assert calls.attributes(second)["tracekit.attempt"] == 2
    assert calls.attributes(second)["tracekit.retry.wait_s"] > 0
    assert {span.parent and span.parent.span_id for span in (first, second)} == {
        call.context.span_id
    }


def test_interactions(seen: Captured, provider: ScriptedProvider) -> None:
    """Interactions are model calls as well, whole and streamed."""
    used = {
        "total_input_tokens": 1000,
        "total_cached_tokens": 400,
        "total_output_tokens": 70,
        "total_thought_tokens": 30,
    }
    step = {"type": "model_output", "content": [{"type": "text", "text": "Because."}]}
    whole = {"id": "i", "model": "gemini-2.5-flash", "status": "completed", "usage": used}
    events = [
        {"event_type": "interaction.created", "interaction": {"id": "i", "status": "in_progress"}},
        {"event_type": "interaction.completed", "interaction": whole},
    ]
    provider.add(json_reply({**whole, "steps": [step]}), sse_reply(events, names="event_type"))
    client = wrap(calls.google_client(provider))
    client.interactions.create(model="gemini-2.5-flash", input="Why?")
    list(client.interactions.create(model="gemini-2.5-flash", input="Why?", stream=True))
    assert [span.name for span in seen.spans] == ["chat gemini-2.5-flash"] * 2
    for span in seen.spans:
        assert USED.items() <= calls.attributes(span).items()
        assert calls.attributes(span)["gen_ai.response.finish_reasons"] == ("completed",)


def test_results_are_the_same_without_us(provider: ScriptedProvider) -> None:
    """What the host gets, chunk by chunk, is what it gets from a client nobody wrapped."""
    chunks = [calls.content(None, "Be"), calls.content("STOP", "cause.")]
    provider.add(*[json_reply(calls.content()), sse_reply(chunks)] * 2)

    def results(client: Any) -> list[Any]:
        whole = client.models.generate_content(**ASK)
        found = [whole, *client.models.generate_content_stream(**ASK)]
        return [answer.model_dump(exclude={"sdk_http_response"}) for answer in found]

    plain = results(calls.google_client(provider))
    with capture():
        assert results(wrap(calls.google_client(provider))) == plain
