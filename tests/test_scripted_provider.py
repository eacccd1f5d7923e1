"""The provider tests and examples talk to answers exactly as it is told."""

from __future__ import annotations

import threading

import httpx
import pytest

from tracekit.testing.provider import (
    Reply,
    ScriptedProvider,
    error_reply,
    json_reply,
    sse_event,
    sse_reply,
)


def test_replies_come_in_order() -> None:
    """Each request gets the next reply, whatever its path, and is noted."""
    with ScriptedProvider(json_reply({"n": 1}), error_reply(429)) as provider:
        provider.add(json_reply({"n": 3}, headers={"x-request-id": "r"}))
        answers = [httpx.post(f"{provider.url}/{n}?q", json={"asked": n}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert answers[2].json() == {"n": 3}
    assert answers[2].headers["x-request-id"] == "r"
    assert [request.path for request in provider.requests] == ["/0?q", "/1?q", "/2?q"]
    assert provider.requests[1].json() == {"asked": 1}


def test_script_that_is_at_its_end() -> None:
    """After the script a function is asked; without one the answer is an error that says so."""
    with ScriptedProvider(answer=lambda request: json_reply(request.path)) as provider:
        assert httpx.get(f"{provider.url}/a").json() == "/a"
    with ScriptedProvider() as provider:
        answer = httpx.get(f"{provider.url}/a")
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        500,
        "nothing scripted for /a",
    )


def test_streams() -> None:
    """Events are sent one by one with their names, compressed or not, and `[DONE]` at the end."""
    events = [{"type": "a"}, {"type": "b"}]
    expected = sse_event(events[0], "a") + sse_event(events[1], "b") + b"data: [DONE]\n\n"
    replies = [sse_reply(events, names="type", done="[DONE]", encoding=e) for e in (None, "gzip")]
    with ScriptedProvider(*replies) as provider:
        for _ in replies:
            assert httpx.get(provider.url).content == expected


def test_streams_wait_and_break() -> None:
    """A chunk waits for its event, and a stream that is cut ends in a broken connection."""
    ready = threading.Event()
    reply = Reply((b"one", b"two", b"three"), is_stream=True, cut=2, waits={1: ready})
    with (
        ScriptedProvider(reply) as provider,
        httpx.stream("GET", provider.url) as answer,
    ):
        chunks = answer.iter_raw()
        assert next(chunks) == b"one"
        ready.set()
        assert next(chunks) == b"two"
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)


def test_body_that_breaks_off() -> None:
    """A body that is no stream is broken off in its middle."""
    with (
        ScriptedProvider(json_reply({"n": 1}).cut_after(0)) as provider,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        httpx.get(provider.url)


def test_address_of_a_provider_that_is_not_running() -> None:
    """Without a `with` block there is no address, and the error says so."""
    provider = ScriptedProvider()
    with pytest.raises(RuntimeError, match="use it in a `with` block"):
        provider.url  # noqa: B018 - asking is enough
