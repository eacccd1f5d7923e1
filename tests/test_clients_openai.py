"""Calls of the real openai SDK become spans; what the host gets stays what it was."""

from __future__ import annotations

import threading
import typing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import client_calls as calls
import openai
import pytest
from openai.types import completion_choice
from openai.types.chat import chat_completion
from openai.types.responses import response as openai_response
from openai.types.responses import response_error
from pydantic import BaseModel

from tracekit.instrumentation.clients import wrap
from tracekit.testing import Clock, capture
from tracekit.testing.provider import ScriptedProvider, error_reply, json_reply, sse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.testing import Captured

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": calls.ASK}

USED = {
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 400,
    "gen_ai.usage.reasoning.output_tokens": 30,
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


def test_chat_completion_becomes_one_span(seen: Captured, provider: ScriptedProvider) -> None:
    """A chat completion is one client span with request, response, usage and raw stop."""
    provider.add(json_reply(calls.chat(), headers={"x-request-id": "req_1"}))
    client = wrap(calls.openai_client(provider))
    client.chat.completions.create(**CHAT, max_completion_tokens=200, service_tier="auto")
    span = seen.one("chat gpt-4o")
    assert span.kind.name == "CLIENT"
    assert calls.attributes(span) == USED | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.max_tokens": 200,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ("stop",),
        "server.address": "127.0.0.1",
        "http.response.status_code": 200,
        "tracekit.request.id": "req_1",
        "tracekit.service_tier.requested": "auto",
        "tracekit.service_tier.served": "default",
        "tracekit.output.state": "complete",
        "tracekit.output.pending_calls": 0,
        "tracekit.output.claims_success": False,
    }


def test_async_client_makes_the_same_span(seen: Captured, provider: ScriptedProvider) -> None:
    """Sync and async clients make the same spans of the same answers, streamed or not."""
    chunks = sse_reply(calls.chat_chunks("Be", "cause."), done="[DONE]")
    provider.add(*[json_reply(calls.chat()), chunks] * 2)
    client = wrap(calls.openai_client(provider))
    client.chat.completions.create(**CHAT)
    list(client.chat.completions.create(**CHAT, stream=True))

    async def both() -> None:
        async with wrap(calls.async_openai_client(provider)) as aio:
            await aio.chat.completions.create(**CHAT)
            await calls.collected(await aio.chat.completions.create(**CHAT, stream=True))

    calls.waited(both)
    whole, streamed, async_whole, async_streamed = (calls.attributes(s) for s in seen.spans)
    for attributes in (streamed, async_streamed):
        assert attributes.pop("gen_ai.response.time_to_first_chunk") > 0
    assert whole == async_whole
    assert streamed == async_streamed
    assert streamed["tracekit.stream.complete"] is True
    assert USED.items() <= streamed.items()


FINISH = {
    "stop": "completed.unverified",
    "length": "truncated.output_limit",
    "tool_calls": "waiting.continuation",
    "content_filter": "policy.content_filtered",
    "function_call": "waiting.continuation",
}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_every_finish_reason_arrives_raw(
    seen: Captured, provider: ScriptedProvider, *, is_streamed: bool
) -> None:
    """Every finish reason of chat completions is written untouched and gets its stop code."""
    field = chat_completion.Choice.model_fields["finish_reason"]
    assert literals(field.annotation) == set(FINISH)
    client = wrap(calls.openai_client(provider))
    for finish in FINISH:
        if is_streamed:
            provider.add(sse_reply(calls.chat_chunks("x", finish=finish), done="[DONE]"))
            list(client.chat.completions.create(**CHAT, stream=True))
        else:
            provider.add(json_reply(calls.chat("x", finish)))
            client.chat.completions.create(**CHAT)
    assert calls.stops_by_raw(seen.spans) == FINISH


def test_finish_reasons_of_text_completions(seen: Captured, provider: ScriptedProvider) -> None:
    """Every finish reason of the old completions API arrives raw, one per choice."""
    field = completion_choice.CompletionChoice.model_fields["finish_reason"]
    words = sorted(literals(field.annotation))
    choices = [{"index": n, "text": "x", "finish_reason": w} for n, w in enumerate(words)]
    provider.add(json_reply({**calls.chat(), "object": "text_completion", "choices": choices}))
    wrap(calls.openai_client(provider)).completions.create(model="babbage-002", prompt="Why?")
    span = seen.one("text_completion babbage-002")
    assert calls.attributes(span)["gen_ai.response.finish_reasons"] == tuple(words)
    assert calls.stop_codes(seen.spans) == ["policy.content_filtered"]


STATUS = {
    "completed": "completed.unverified",
    "failed": "provider.server_error",
    "in_progress": "waiting.continuation",
    "cancelled": "cancelled.caller",
    "queued": "waiting.continuation",
    "incomplete": "unknown.no_evidence",
}
INCOMPLETE = {
    "max_output_tokens": "truncated.output_limit",
    "content_filter": "policy.content_filtered",
    "max_messages": "limit.steps",
    "steered": "waiting.continuation",
}


def test_every_status_of_the_responses_api(seen: Captured, provider: ScriptedProvider) -> None:
    """A response without details is judged by its status, an incomplete one by the reason."""
    assert literals(openai_response.Response.model_fields["status"].annotation) == set(STATUS)
    reason = openai_response.IncompleteDetails.model_fields["reason"]
    assert literals(reason.annotation) == set(INCOMPLETE)
    client = wrap(calls.openai_client(provider))
    answers = [calls.response(status) for status in STATUS]
    answers += [calls.response("incomplete", incomplete_details={"reason": r}) for r in INCOMPLETE]
    for answer in answers:
        provider.add(json_reply(answer))
        client.responses.create(model="gpt-5", input="Why?")
    assert calls.stops_by_raw(seen.spans) == STATUS | INCOMPLETE


def test_every_error_code_of_the_responses_api(seen: Captured, provider: ScriptedProvider) -> None:
    """A failed response is judged by its error code, which stands before the status."""
    codes = literals(response_error.ResponseError.model_fields["code"].annotation)
    client = wrap(calls.openai_client(provider))
    for code in sorted(codes):
        provider.add(json_reply(calls.response("failed", error={"code": code, "message": "no"})))
        client.responses.create(model="gpt-5", input="Why?")
    found = calls.stops_by_raw(seen.spans)
    assert set(found) == {f"{code},failed" for code in codes}
    assert "unknown.no_evidence" not in found.values()
    assert found["rate_limit_exceeded,failed"] == "provider.rate_limited"
    assert found["bio_policy,failed"] == "policy.content_filtered"
    assert found["invalid_prompt,failed"] == "provider.rejected_request"


def test_streamed_response(seen: Captured, provider: ScriptedProvider) -> None:
    """Of a streamed response the last event counts, not the status it began with."""
    cut = calls.response("incomplete", incomplete_details={"reason": "max_output_tokens"})
    provider.add(sse_reply(calls.response_events("Be", last=cut), names="type"))
    client = wrap(calls.openai_client(provider))
    list(client.responses.create(model="gpt-5", input="Why?", stream=True))
    attributes = calls.attributes(seen.one("chat gpt-5"))
    assert attributes["gen_ai.response.finish_reasons"] == ("max_output_tokens",)
    assert attributes["tracekit.stream.complete"] is True
    assert USED.items() <= attributes.items()


def test_refusals_are_seen(seen: Captured, provider: ScriptedProvider) -> None:
    """A refusal beside a clean stop is the model's refusal, in both APIs and in streams."""
    client = wrap(calls.openai_client(provider))
    said = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
    parts = [{"type": "refusal", "refusal": "No."}]
    chunks = calls.chat_chunks("x")
    chunks[1]["choices"][0]["delta"] = {"refusal": "No."}
    provider.add(
        json_reply(calls.chat(None, refusal="No.")),
        json_reply(calls.response(output=[{**said, "content": parts}])),
        sse_reply(chunks, done="[DONE]"),
    )
    client.chat.completions.create(**CHAT)
    client.responses.create(model="gpt-5", input="Why?")
    list(client.chat.completions.create(**CHAT, stream=True))
    assert calls.stop_codes(seen.spans) == ["policy.model_refusal"] * 3


def tool_chunks() -> list[dict[str, Any]]:
    """Return a streamed chat completion that asks for two tools."""
    pieces = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "a", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x":'}},
        {"index": 1, "id": "c2", "type": "function", "function": {"name": "b", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": "1}"}},
    ]
    chunks = calls.chat_chunks(*("" for _ in pieces), finish="tool_calls")
    for chunk, piece in zip(chunks[1:], pieces, strict=False):
        chunk["choices"][0]["delta"] = {"tool_calls": [piece]}
    return chunks


def test_streamed_tool_calls_are_counted(seen: Captured, provider: ScriptedProvider) -> None:
    """Tool calls whose arguments arrive in pieces are put together and counted."""
    provider.add(sse_reply(tool_chunks(), done="[DONE]"))
    client = wrap(calls.openai_client(provider))
    list(client.chat.completions.create(**CHAT, stream=True))
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["tracekit.output.pending_calls"] == 2
    assert attributes["tracekit.output.state"] == "complete"


def test_embeddings(seen: Captured, provider: ScriptedProvider) -> None:
    """Embeddings are a call of their own operation, with input tokens only."""
    vector = {"object": "embedding", "index": 0, "embedding": [0.0, 1.0]}
    used = {"prompt_tokens": 8, "total_tokens": 8}
    provider.add(json_reply({"object": "list", "data": [vector], "model": "e-1", "usage": used}))
    client = wrap(calls.openai_client(provider))
    client.embeddings.create(model="e", input="x", encoding_format="float")
    attributes = calls.attributes(seen.one("embeddings e"))
    assert attributes["gen_ai.operation.name"] == "embeddings"
    assert attributes["gen_ai.usage.input_tokens"] == 8


def test_other_requests_make_no_span(seen: Captured, provider: ScriptedProvider) -> None:
    """Listing models and fetching a stored response are no model calls."""
    provider.add(json_reply({"object": "list", "data": []}), json_reply(calls.response()))
    client = wrap(calls.openai_client(provider))
    client.models.list()
    client.responses.retrieve("resp_1")
    assert seen.spans == []


class Answer(BaseModel):
    """What `.parse` makes of a text."""

    why: str


def test_helpers_and_raw_responses(seen: Captured, provider: ScriptedProvider) -> None:
    """The stream helper, parse, and both raw responses make the span of a plain call."""
    client = wrap(calls.openai_client(provider))
    completions = client.chat.completions
    provider.add(
        sse_reply(calls.chat_chunks("x"), done="[DONE]"),
        json_reply(calls.chat('{"why": "so"}')),
        json_reply(calls.chat()),
        json_reply(calls.chat()),
    )
    with completions.stream(**CHAT) as stream:
        assert stream.get_final_completion().choices[0].message.content == "x"
    parsed = completions.parse(**CHAT, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(why="so")
    assert completions.with_raw_response.create(**CHAT).parse().id == "chatcmpl-1"
    with completions.with_streaming_response.create(**CHAT) as answer:
        assert b"Because." in answer.read()
    assert [span.name for span in seen.spans] == ["chat gpt-4o"] * 4
    for span in seen.spans:
        assert USED.items() <= calls.attributes(span).items()


def test_parsing_a_cut_answer_fails_as_cut(seen: Captured, provider: ScriptedProvider) -> None:
    """Where the SDK refuses to parse a cut answer, usage and stop are there beside its error."""
    provider.add(json_reply(calls.chat('{"why": "s', "length")))
    client = wrap(calls.openai_client(provider))
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**CHAT, response_format=Answer)
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["error.type"] == "openai.LengthFinishReasonError"
    assert USED.items() <= attributes.items()
    assert calls.stop_codes(seen.spans) == ["truncated.output_limit"]


def test_results_are_the_same_without_us(provider: ScriptedProvider) -> None:
    """What the host gets, chunk by chunk, is what it gets from a client nobody wrapped."""
    replies = [json_reply(calls.chat()), sse_reply(tool_chunks(), done="[DONE]")]
    provider.add(*replies * 2)

    def results(client: openai.OpenAI) -> list[Any]:
        whole = client.chat.completions.create(**CHAT)
        return [whole, *client.chat.completions.create(**CHAT, stream=True)]

    plain = results(calls.openai_client(provider))
    with capture():
        assert results(wrap(calls.openai_client(provider))) == plain


def test_azure(seen: Captured, provider: ScriptedProvider) -> None:
    """A deployment of Azure's is Azure's, and the deployment is the model asked for."""
    provider.add(json_reply(calls.chat()))
    client = calls.kept(
        openai.AzureOpenAI(azure_endpoint=provider.url, api_key="none", api_version="2024-10-21")
    )
    wrap(client).chat.completions.create(**(CHAT | {"model": "my-deployment"}))
    attributes = calls.attributes(seen.one("chat my-deployment"))
    assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert provider.requests[0].path.startswith("/openai/deployments/my-deployment/")


def test_gateways_are_named(seen: Captured, provider: ScriptedProvider) -> None:
    """A gateway that signs its responses is named, and what it charges is noted."""
    headers = {"x-litellm-call-id": "1", "x-litellm-response-cost": "0.25"}
    provider.add(json_reply(calls.chat(), headers=headers))
    wrap(calls.openai_client(provider)).chat.completions.create(**CHAT)
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["tracekit.gateway"] == "litellm"
    assert attributes["tracekit.cost.reported_usd"] == 0.25


def test_error_before_anything_is_sent(seen: Captured, provider: ScriptedProvider) -> None:
    """A call that fails before its request is a failed span all the same."""

    def no_key() -> str:
        raise PermissionError

    client = wrap(calls.kept(openai.OpenAI(base_url=f"{provider.url}/v1", api_key=no_key)))
    with pytest.raises(PermissionError):
        client.chat.completions.create(**CHAT)
    span = seen.one("chat gpt-4o")
    assert span.status.status_code.name == "ERROR"
    assert calls.attributes(span)["error.type"] == "PermissionError"
    assert provider.requests == []


def test_rejected_request(seen: Captured, provider: ScriptedProvider) -> None:
    """A refused request carries the provider's own code."""
    code = {"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}}
    provider.add(error_reply(429, code, {"x-should-retry": "false"}))
    with pytest.raises(openai.RateLimitError):
        wrap(calls.openai_client(provider)).chat.completions.create(**CHAT)
    attributes = calls.attributes(seen.one("chat gpt-4o"))
    assert attributes["error.type"] == "insufficient_quota"
    assert attributes["http.response.status_code"] == 429
    assert calls.stop_codes(seen.spans) == ["provider.auth_or_billing"]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_time_out_of_the_client(seen: Captured, provider: ScriptedProvider, retries: int) -> None:
    """A call the client gives up fails with the time-out, streamed or not, sync and async."""
    answered = threading.Event()
    late = replace(json_reply(calls.chat()), is_stream=True, waits={0: answered})
    stream = replace(sse_reply(calls.chat_chunks("x")), waits={0: answered})
    provider.add(*[late] * 2 * (1 + retries), stream)
    options: dict[str, Any] = {"timeout": 0.2, "max_retries": retries}
    client = wrap(calls.openai_client(provider, **options))
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**CHAT)

    async def ask() -> None:
        async with wrap(calls.async_openai_client(provider, **options)) as aio:
            with pytest.raises(openai.APITimeoutError):
                await aio.chat.completions.create(**CHAT)

    calls.waited(ask)
    with pytest.raises(openai.APITimeoutError):
        list(client.chat.completions.create(**CHAT, stream=True))
    answered.set()
    errors = {calls.attributes(span)["error.type"] for span in seen.spans}
    assert errors == {"httpx2.ReadTimeout"}
    assert calls.stop_codes(seen.spans) == ["provider.timeout"] * 3
    con = calls.analysed(seen.spans)
    assert con.execute("SELECT sum(llm_calls) FROM tasks").fetchall() == [(3 + 2 * retries,)]
