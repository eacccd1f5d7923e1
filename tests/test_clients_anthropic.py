"""Calls of the real anthropic SDK become spans; what the host gets stays what it was."""

from __future__ import annotations

import threading
import typing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anthropic
import client_calls as calls
import pytest
from anthropic.types import Message, RefusalStopDetails
from anthropic.types.beta import BetaMessage

from tracekit.instrumentation.clients import wrap
from tracekit.testing import Clock, capture
from tracekit.testing.provider import ScriptedProvider, error_reply, json_reply, sse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.testing import Captured

ASK: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": calls.ASK}

USED = {
    # 500 beside 400 read from and 100 written to a cache.
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 400,
    "gen_ai.usage.cache_write.input_tokens": 100,
    "tracekit.usage.cache_write_1h_tokens": 40,
}


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


def literals(annotation: Any) -> set[str]:
    """Return the words of a Literal, also inside an Optional."""
    if typing.get_origin(annotation) is typing.Literal:
        return set(typing.get_args(annotation))
    return set().union(*(literals(part) for part in typing.get_args(annotation)), set())


def test_message_becomes_one_span(seen: Captured, provider: ScriptedProvider) -> None:
    """A message is one client span; what caches served and took counts as input."""
    provider.add(json_reply(calls.message(), headers={"request-id": "req_1"}))
    wrap(calls.anthropic_client(provider)).messages.create(**ASK, service_tier="auto")
    span = seen.one("chat claude-opus-4-6")
    assert calls.attributes(span) == USED | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-opus-4-6",
        "gen_ai.request.max_tokens": 100,
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.model": "claude-opus-4-6-20260101",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "server.address": "127.0.0.1",
        "http.response.status_code": 200,
        "tracekit.request.id": "req_1",
        "tracekit.service_tier.requested": "auto",
        "tracekit.service_tier.served": "standard",
        "tracekit.output.state": "complete",
        "tracekit.output.pending_calls": 0,
        "tracekit.output.claims_success": False,
    }


def test_all_ways_to_stream(seen: Captured, provider: ScriptedProvider) -> None:
    """Raw events and the stream helper, sync and async, make the span of a plain call."""
    provider.add(*[sse_reply(calls.message_events("Be", "cause."), names="type")] * 4)
    client = wrap(calls.anthropic_client(provider))
    list(client.messages.create(**ASK, stream=True))
    with client.messages.stream(**ASK) as stream:
        assert stream.get_final_text() == "Because."

    async def both() -> None:
        async with wrap(calls.async_anthropic_client(provider)) as aio:
            await calls.collected(await aio.messages.create(**ASK, stream=True))
            async with aio.messages.stream(**ASK) as events:
                assert await events.get_final_text() == "Because."

    calls.waited(both)
    assert len(seen.spans) == 4
    for span in seen.spans:
        attributes = calls.attributes(span)
        assert USED.items() <= attributes.items()
        assert attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
        assert attributes["tracekit.stream.complete"] is True
        assert attributes["tracekit.output.state"] == "complete"
        assert attributes["gen_ai.response.time_to_first_chunk"] > 0


STOPS = {
    "end_turn": "completed.unverified",
    "max_tokens": "truncated.output_limit",
    "stop_sequence": "completed.unverified",
    "tool_use": "waiting.continuation",
    "pause_turn": "waiting.continuation",
    "refusal": "policy.model_refusal",
    "model_context_window_exceeded": "truncated.context_window",
    "compaction": "truncated.compaction",
}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_every_stop_reason_arrives_raw(
    seen: Captured, provider: ScriptedProvider, *, is_streamed: bool
) -> None:
    """Every stop reason, those of the beta included, is written untouched and gets its code."""
    assert literals(BetaMessage.model_fields["stop_reason"].annotation) == set(STOPS)
    assert literals(Message.model_fields["stop_reason"].annotation) == set(STOPS) - {"compaction"}
    client = wrap(calls.anthropic_client(provider))
    for stop in STOPS:
        if is_streamed:
            provider.add(sse_reply(calls.message_events("x", stop=stop), names="type"))
            list(client.beta.messages.create(**ASK, stream=True))
        else:
            provider.add(json_reply(calls.message(stop)))
            client.beta.messages.create(**ASK)
    assert calls.stops_by_raw(seen.spans) == STOPS


def test_refusals_name_their_category(seen: Captured, provider: ScriptedProvider) -> None:
    """What a refusal is about stands beside it, and it stays the model's refusal."""
    categories = sorted(literals(RefusalStopDetails.model_fields["category"].annotation))
    client = wrap(calls.anthropic_client(provider))
    for category in categories:
        details = {"type": "refusal", "category": category, "explanation": None}
        provider.add(json_reply(calls.message("refusal", stop_details=details)))
        client.messages.create(**ASK)
    expected = {f"refusal,{category}": "policy.model_refusal" for category in categories}
    assert calls.stops_by_raw(seen.spans) == expected


def test_tool_use_is_counted(seen: Captured, provider: ScriptedProvider) -> None:
    """Tool calls are counted, whole and streamed; what the server runs itself is not."""
    tool = {"type": "tool_use", "id": "t1", "name": "find", "input": {"x": 1}}
    server = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    events = calls.message_events(stop="tool_use")
    events[1]["content_block"] = tool | {"input": {}}
    for piece in ('{"x":', "1}"):
        delta = {"type": "input_json_delta", "partial_json": piece}
        events.insert(-3, {"type": "content_block_delta", "index": 0, "delta": delta})
    provider.add(
        json_reply(calls.message("tool_use", content=[server, tool])),
        sse_reply(events, names="type"),
    )
    client = wrap(calls.anthropic_client(provider))
    client.messages.create(**ASK)
    list(client.messages.create(**ASK, stream=True))
    counted = [calls.attributes(span)["tracekit.output.pending_calls"] for span in seen.spans]
    assert counted == [1, 1]


ERRORS = {
    "invalid_request_error": (400, "provider.rejected_request"),
    "authentication_error": (401, "provider.auth_or_billing"),
    "billing_error": (402, "provider.auth_or_billing"),
    "permission_error": (403, "provider.auth_or_billing"),
    "not_found_error": (404, "provider.rejected_request"),
    "rate_limit_error": (429, "provider.rate_limited"),
    "api_error": (500, "provider.server_error"),
    "timeout_error": (504, "provider.timeout"),
    "overloaded_error": (529, "provider.overloaded"),
}


def test_every_error_type(seen: Captured, provider: ScriptedProvider) -> None:
    """A refused request carries the provider's error type and gets its stop code."""
    client = wrap(calls.anthropic_client(provider, max_retries=0))
    for name, (status, _) in ERRORS.items():
        error = {"type": "error", "error": {"type": name, "message": "no"}}
        provider.add(error_reply(status, error))
        with pytest.raises(anthropic.APIStatusError):
            client.messages.create(**ASK)
    found = [calls.attributes(span)["error.type"] for span in seen.spans]
    assert found == list(ERRORS)
    assert calls.stop_codes(seen.spans) == [code for _, code in ERRORS.values()]


def test_error_in_the_middle_of_a_stream(seen: Captured, provider: ScriptedProvider) -> None:
    """An error event ends the call with the provider's error, and the stream is not whole."""
    events = calls.message_events("x")[:4]
    events.append({"type": "error", "error": {"type": "overloaded_error", "message": "no"}})
    provider.add(sse_reply(events, names="type"))
    client = wrap(calls.anthropic_client(provider, max_retries=0))
    with pytest.raises(anthropic.APIStatusError):
        list(client.messages.create(**ASK, stream=True))
    attributes = calls.attributes(seen.one("chat claude-opus-4-6"))
    assert attributes["error.type"] == "overloaded_error"
    assert attributes["tracekit.stream.complete"] is False
    assert calls.stop_codes(seen.spans) == ["provider.overloaded"]


def test_bedrock_and_vertex(seen: Captured, provider: ScriptedProvider) -> None:
    """The clients for Bedrock and Vertex are seen, with their provider and the model asked for."""
    provider.add(json_reply(calls.message()), json_reply(calls.message()))
    bedrock = anthropic.AnthropicBedrock(
        base_url=provider.url, aws_region="us-east-1", api_key="none", open_telemetry=False
    )
    vertex = anthropic.AnthropicVertex(
        base_url=f"{provider.url}/v1", region="r", project_id="p", access_token="none",  # noqa: S106
        open_telemetry=False,
    )  # fmt: skip
    for client in (bedrock, vertex):
        wrap(calls.kept(client)).messages.create(**ASK)
    assert [r.path.rpartition("/")[2] for r in provider.requests] == [
        "invoke",
        "claude-opus-4-6:rawPredict",
    ]
    found = [(span.name, calls.attributes(span)["gen_ai.provider.name"]) for span in seen.spans]
    assert [name for name, _ in found] == ["chat claude-opus-4-6"] * 2
    assert [who for _, who in found] == ["aws.bedrock", "gcp.vertex_ai"]
    assert USED.items() <= calls.attributes(seen.spans[1]).items()


def test_the_sdks_own_span_is_completed(seen: Captured, provider: ScriptedProvider) -> None:
    """Where the SDK traces itself, its span gets what it lacks and there is no second one."""
    provider.add(json_reply(calls.message()), sse_reply(calls.message_events("x"), names="type"))
    client = wrap(calls.anthropic_client(provider, open_telemetry=None))
    client.messages.create(**ASK)
    list(client.messages.create(**ASK, stream=True))
    assert len(seen.spans) == 2
    for span in seen.spans:
        assert span.instrumentation_scope is not None
        assert span.instrumentation_scope.name.startswith("com.anthropic")
        attributes = calls.attributes(span)
        assert attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
        assert attributes["gen_ai.usage.input_tokens"] == 1000
        assert attributes["tracekit.output.state"] == "complete"
    assert calls.stop_codes(seen.spans) == ["completed.unverified"] * 2


def test_retries_below_the_sdks_own_span(seen: Captured, provider: ScriptedProvider) -> None:
    """Where the SDK traces itself its retries are attempts below its span, and cost once."""
    busy = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}
    provider.add(error_reply(529, busy, {"retry-after-ms": "1"}), json_reply(calls.message()))
    wrap(calls.anthropic_client(provider, open_telemetry=None)).messages.create(**ASK)
    con = calls.analysed(seen.spans)
    found = con.execute("SELECT attempt, http_status, stop_raw FROM attempts ORDER BY attempt")
    assert found.fetchall() == [(1, 529, None), (2, 200, "end_turn")]
    assert con.execute("SELECT sum(input_tokens) FROM tasks").fetchall() == [(1000,)]


def test_a_stream_left_below_the_sdks_own_span(seen: Captured, provider: ScriptedProvider) -> None:
    """Where the SDK ends its span first, one below says that the reader left, and counts once."""
    client = wrap(calls.anthropic_client(provider, open_telemetry=None))
    for has_usage in (True, False):
        events = calls.message_events("Be", "cause.")
        provider.add(sse_reply(events if has_usage else events[1:], names="type"))
        with client.messages.create(**ASK, stream=True) as stream:
            next(event for event in stream if event.type == "content_block_delta")
    theirs = [s for s in seen.spans if (s.instrumentation_scope or s).name.startswith("com.")]
    ours = [span for span in seen.spans if span not in theirs]
    assert [span.parent and span.parent.span_id for span in ours] == [
        span.context.span_id for span in theirs
    ]
    assert {calls.attributes(span)["error.type"] for span in ours} == {"cancelled"}
    con = calls.analysed(seen.spans)
    found = con.execute("SELECT stop_reason, llm_calls, input_tokens FROM tasks ORDER BY start_ns")
    assert found.fetchall() == [("cancelled.caller", 1, 1000), ("cancelled.caller", 1, None)]


def test_a_time_out_of_the_client(seen: Captured, provider: ScriptedProvider) -> None:
    """A call the client gives up carries the error, sync and async, also in the SDK's own span."""
    answered = threading.Event()
    late = replace(json_reply(calls.message()), is_stream=True, waits={0: answered})
    provider.add(late, late, late)
    options: dict[str, Any] = {"timeout": 0.2, "max_retries": 0}
    for own in (False, None):
        client = wrap(calls.anthropic_client(provider, **options, open_telemetry=own))
        with pytest.raises(anthropic.APITimeoutError):
            client.messages.create(**ASK)

    async def ask() -> None:
        async with wrap(calls.async_anthropic_client(provider, **options)) as aio:
            with pytest.raises(anthropic.APITimeoutError):
                await aio.messages.create(**ASK)

    calls.waited(ask)
    answered.set()
    errors = [calls.attributes(span)["error.type"] for span in seen.spans]
    assert errors == ["httpx2.ReadTimeout", "client_timeout_error", "httpx2.ReadTimeout"]
    assert calls.stop_codes(seen.spans) == ["provider.timeout"] * 3
