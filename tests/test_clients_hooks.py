"""Hooking clients: one object or all, beside other instrumentations, and never in the way."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import client_calls as calls
import httpx2
import openai
import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach, set_value

import tracekit
import tracekit.instrumentation.calls as llm_calls
from tracekit.errors import UsageError
from tracekit.instrumentation import clients, runtime
from tracekit.instrumentation.clients import attempt as client_attempt
from tracekit.instrumentation.clients import call as client_call
from tracekit.testing import capture
from tracekit.testing.provider import ScriptedProvider, error_reply, json_reply, sse_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.testing import Captured

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": calls.ASK}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    calls.close_all()


@pytest.fixture
def seen() -> Iterator[Captured]:
    with capture(derive=False) as captured:
        yield captured


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(answer=lambda _: json_reply(calls.chat())) as running:
        yield running


@pytest.fixture
def instrumented() -> Iterator[None]:
    clients.instrument()
    yield
    clients.uninstrument()


def ask(client: openai.OpenAI, **options: Any) -> Any:
    """Ask for a chat completion."""
    return client.chat.completions.create(**CHAT, **options)


def test_wrap_returns_its_argument(provider: ScriptedProvider) -> None:
    """Wrapping gives back the same object, once and again."""
    client = calls.openai_client(provider)
    assert clients.wrap(client) is client
    assert clients.wrap(client) is client


def test_wrapping_twice_is_wrapping_once(seen: Captured, provider: ScriptedProvider) -> None:
    """However often a client is wrapped, a call is one span."""
    client = clients.wrap(clients.wrap(calls.openai_client(provider)))
    ask(client)
    ask(clients.wrap(client.with_options(timeout=9)))
    assert seen.names == ["chat gpt-4o"] * 2


def test_copies_are_wrapped(seen: Captured, provider: ScriptedProvider) -> None:
    """Copies of a wrapped client, and copies of those, are seen; the class is left alone."""
    client = clients.wrap(calls.openai_client(provider))
    ask(client.with_options(timeout=9))
    ask(client.copy(timeout=9).with_options(max_retries=1))
    ask(calls.openai_client(provider))
    assert seen.names == ["chat gpt-4o"] * 2


def test_a_shallow_copy_is_another_client(seen: Captured, provider: ScriptedProvider) -> None:
    """What `copy` makes of a wrapped client sends its own credentials, and is not seen."""
    client = clients.wrap(calls.openai_client(provider))
    other = copy.copy(client)
    other.api_key = "another"
    ask(other)
    ask(other.with_options(timeout=9))
    ask(client)
    sent = [request.headers["authorization"] for request in provider.requests]
    assert sent == ["Bearer another", "Bearer another", "Bearer none"]
    assert seen.names == ["chat gpt-4o"]


def test_a_copied_google_client_is_its_own(seen: Captured, provider: ScriptedProvider) -> None:
    """A copy of what makes google-genai's requests sends its own key, and is not seen."""
    provider.add(json_reply(calls.content()), json_reply(calls.content()))
    client = clients.wrap(calls.google_client(provider))
    api = copy.copy(client._api_client)  # noqa: SLF001 - no public way
    api._http_options = api._http_options.model_copy(  # noqa: SLF001
        update={"headers": {"x-goog-api-key": "another"}}
    )
    asked: Any = {"contents": [{"parts": [{"text": "Why?"}]}]}
    api.request("post", "models/gemini-2.5-flash:generateContent", asked)
    client.models.generate_content(model="gemini-2.5-flash", contents="Why?")
    sent = [request.headers["x-goog-api-key"] for request in provider.requests]
    assert sent == ["another", "none"]
    assert seen.names == ["generate_content gemini-2.5-flash"]


def test_other_objects_are_refused() -> None:
    """What is no client of a known SDK is refused with one line."""
    with pytest.raises(UsageError, match=r"cannot wrap a builtins\.dict: known are .*openai"):
        clients.wrap({})


def test_unknown_packages_are_refused() -> None:
    """A package nobody here knows is refused with one line."""
    with pytest.raises(UsageError, match="cannot instrument cohere: known are openai, anthropic"):
        clients.instrument("cohere")


@pytest.mark.usefixtures("instrumented")
def test_instrument_sees_all_clients(seen: Captured, provider: ScriptedProvider) -> None:
    """All clients of all SDKs are seen, wrapped ones only once."""
    provider.add(
        json_reply(calls.chat()),
        json_reply(calls.chat()),
        json_reply(calls.message()),
        json_reply(calls.content()),
    )
    ask(calls.openai_client(provider))
    ask(clients.wrap(calls.openai_client(provider)))
    model: Any = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": calls.ASK}
    calls.anthropic_client(provider).messages.create(**model)
    google = calls.google_client(provider)
    google.models.generate_content(model="gemini-2.5-flash", contents="Why?")
    assert seen.names == [
        "chat gpt-4o",
        "chat gpt-4o",
        "chat claude-opus-4-6",
        "generate_content gemini-2.5-flash",
    ]


def test_uninstrument_leaves_no_trace(seen: Captured, provider: ScriptedProvider) -> None:
    """After `uninstrument` the SDK is as it was."""
    before = vars(openai.OpenAI.__mro__[1])["request"]
    clients.instrument("openai")
    client = calls.openai_client(provider)
    ask(client)
    clients.uninstrument()
    assert vars(openai.OpenAI.__mro__[1])["request"] is before
    ask(client)
    assert seen.names == ["chat gpt-4o"]
    assert "send" not in vars(client._client)  # noqa: SLF001 - that is the question


FOREIGN: list[dict[str, Any]] = [
    {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"},
    {"openinference.span.kind": "LLM"},
    {"llm.request.type": "chat", "gen_ai.system": "openai"},
    {"langfuse.observation.type": "generation"},
]


@pytest.mark.parametrize("attributes", FOREIGN)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_span_of_another_instrumentation_is_completed(
    seen: Captured, provider: ScriptedProvider, attributes: dict[str, Any], *, is_streamed: bool
) -> None:
    """Around us is a model call's span already: it gets what it lacks, and stays the only one."""
    chunks = calls.chat_chunks("x", finish="length")
    whole = json_reply(calls.chat("x", "length"))
    provider.add(sse_reply(chunks, done="[DONE]") if is_streamed else whole)
    client = clients.wrap(calls.openai_client(provider))
    mine = {"gen_ai.usage.output_tokens": 7, "gen_ai.response.finish_reasons": ["stop"]}
    tracer = trace.get_tracer("another")
    with tracer.start_as_current_span("their call", attributes=attributes | mine):
        answer = ask(client, stream=is_streamed)
        if is_streamed:
            list(answer)
    found = calls.attributes(seen.one("their call"))
    assert len(seen.spans) == 1
    assert found["gen_ai.usage.output_tokens"] == 7
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["tracekit.stop.provider_raw"] == "length"
    assert found["gen_ai.usage.input_tokens"] == 1000
    assert found["gen_ai.response.id"] == "chatcmpl-1"


def test_other_spans_are_parents(seen: Captured, provider: ScriptedProvider) -> None:
    """Inside an agent's or an application's span a call has a span of its own."""
    client = clients.wrap(calls.openai_client(provider))
    tracer = trace.get_tracer("another")
    with tracer.start_as_current_span("x", attributes={"gen_ai.operation.name": "invoke_agent"}):
        ask(client)
    call, agent = seen.spans
    assert call.parent is not None
    assert call.parent.span_id == agent.context.span_id


def test_what_the_http_client_traces_is_inside(seen: Captured, provider: ScriptedProvider) -> None:
    """A call's span is current while its request is sent, and not while the answer is read."""
    inside = []
    hooks: Any = {"request": [lambda _: inside.append(trace.get_current_span())]}
    with httpx2.Client(event_hooks=hooks) as http_client:
        client = clients.wrap(calls.openai_client(provider, http_client=http_client))
        provider.add(sse_reply(calls.chat_chunks("x"), done="[DONE]"))
        outside = {trace.get_current_span() for _ in ask(client, stream=True)}
    (span,) = inside
    assert span.get_span_context() == seen.one("chat gpt-4o").context
    assert outside == {trace.INVALID_SPAN}


def test_llm_step_around_a_client(seen: Captured, provider: ScriptedProvider) -> None:
    """With `tracekit.llm` around a client, that is the call: usage and stop go there."""
    client = clients.wrap(calls.openai_client(provider))
    with tracekit.llm("my-model", provider="vllm"):
        ask(client)
    attributes = calls.attributes(seen.one("chat my-model"))
    assert len(seen.spans) == 1
    assert attributes["gen_ai.provider.name"] == "vllm"
    assert attributes["gen_ai.usage.output_tokens"] == 100
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.mark.parametrize(
    "key", ["suppress_instrumentation", "suppress_language_model_instrumentation"]
)
def test_suppressed_contexts(seen: Captured, provider: ScriptedProvider, key: str) -> None:
    """Where instrumentation is suppressed nothing is made of a call."""
    client = clients.wrap(calls.openai_client(provider))
    token = attach(set_value(key, value=True))
    try:
        assert ask(client).id == "chatcmpl-1"
    finally:
        detach(token)
    assert seen.spans == []


def test_nothing_happens_while_switched_off(seen: Captured, provider: ScriptedProvider) -> None:
    """While tracekit is off a wrapped client works, and there is nothing to see."""
    client = clients.wrap(calls.openai_client(provider))
    runtime.deactivate()
    assert ask(client).id == "chatcmpl-1"
    assert seen.spans == []


def test_own_failures_stay_ours(
    seen: Captured, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When we fail the host gets its answer; failures are counted, and after some we stop."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(client_call, "find", broken)
    client = clients.wrap(calls.openai_client(provider))
    for _ in range(runtime.LATCH + 5):
        assert ask(client).id == "chatcmpl-1"
    assert seen.lost == {"tracekit.drop.internal_error": runtime.LATCH}


PARTS = [
    "attempt.Reading.event",
    "attempt.Reading.document",
    "attempt.Reading.tell",
    "attempt.Attempt.headers",
    "attempt.Attempt.fail",
    "calls.LlmCall.begin",
    "calls.LlmCall.finish",
    "calls.LlmCall.attempt",
]


@pytest.mark.parametrize("part", PARTS)
def test_failures_while_looking(
    seen: Captured, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Whatever of ours fails the host gets all answers and errors, streamed or not."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    module, name, method = part.split(".")
    owner = getattr({"attempt": client_attempt, "calls": llm_calls}[module], name)
    monkeypatch.setattr(owner, method, broken)
    stream = sse_reply(calls.chat_chunks("x"), done="[DONE]")
    provider.add(json_reply(calls.chat()), stream, error_reply(400), stream.cut_after(2))
    client = clients.wrap(calls.openai_client(provider))
    assert ask(client).choices[0].message.content == "Because."
    assert [chunk.id for chunk in ask(client, stream=True)] == ["chatcmpl-1"] * 4
    with pytest.raises(openai.BadRequestError):
        ask(client)
    received, error = calls.read_all(iter(ask(client, stream=True)))
    assert len(received) == 2
    assert isinstance(error, openai.APIConnectionError)
    assert seen.lost["tracekit.drop.internal_error"] >= 1


def test_content_is_captured_on_demand(provider: ScriptedProvider) -> None:
    """Messages are written only where content is captured."""
    for is_on in (False, True):
        with capture(settings=runtime.Settings(capture_content=is_on), derive=False) as seen:
            ask(clients.wrap(calls.openai_client(provider)))
        attributes = calls.attributes(seen.one("chat gpt-4o"))
        assert ("Why?" in attributes.get("gen_ai.input.messages", "")) is is_on
        assert ("Because." in attributes.get("gen_ai.output.messages", "")) is is_on


def run(program: str) -> str:
    """Run a program in a process of its own and return what it prints."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_hooks_are_light() -> None:
    """Hooking an SDK loads none of the packages the analysis needs."""
    assert not run("""
        import sys, openai, tracekit.instrumentation.clients as clients
        clients.wrap(openai.OpenAI(api_key="none"))
        print(*(m for m in ("numpy", "pyarrow", "duckdb", "numba") if m in sys.modules))
    """)


def test_packages_are_hooked_when_they_are_imported() -> None:
    """`instrument` imports no SDK, and hooks one that is imported later."""
    said = run("""
        import sys, tracekit.instrumentation.clients as clients
        clients.instrument()
        print(*(m for m in ("openai", "anthropic", "google.genai") if m in sys.modules))
        import openai
        from openai._base_client import SyncAPIClient
        print(hasattr(SyncAPIClient.request, "__wrapped__"))
        print(type(sys.modules["openai._base_client"].__loader__).__name__)
        clients.uninstrument()
        print(hasattr(SyncAPIClient.request, "__wrapped__"))
        print(any("tracekit.instrumentation" in str(finder) for finder in sys.meta_path))
    """)
    assert said.split() == ["True", "SourceFileLoader", "False", "False"]
