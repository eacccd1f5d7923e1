"""Retries of the application's own loop: numbering, waits, and what the ledger makes of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
import tenacity
from models_build import rows
from traced import Recording, attributes, hex_id, recorded

import tracekit
from tracekit.instrumentation.calls import Attempt, LlmCall

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


class OverloadedError(Exception):
    """The provider has too much to do."""


def ask(*, fail: bool, tries: int = 1) -> None:
    """Call a model, in which the client itself may try several times."""
    with tracekit.llm("gpt-4o", provider="openai") as call:
        for number in range(1, tries + 1):
            error = "OverloadedError" if fail or number < tries else None
            call.attempt(Attempt(number, 10**18 + number, 10**18 + number, error_type=error))
        if fail:
            raise OverloadedError
        call.usage(input_tokens=10, output_tokens=1)
        call.stop("stop")


def test_tries_around_tenacity(spans: Recording) -> None:
    """Model calls below tenacity carry the number of the try, and one logical id."""

    @tracekit.retry
    @tenacity.retry(
        stop=tenacity.stop_after_attempt(3), sleep=spans.wait, wait=tenacity.wait_fixed(2)
    )
    @tracekit.attempt
    def fetch() -> str:
        ask(fail=len(spans.named("chat gpt-4o")) < 2)
        return "found"

    assert fetch() == "found"

    assert spans.values("chat gpt-4o", "tracekit.attempt") == [1, 2, 3]
    assert set(spans.values("chat gpt-4o", "tracekit.retry.of")) == {
        hex_id(spans.one("retry fetch"))
    }
    first, second, third = spans.values("chat gpt-4o", "tracekit.retry.wait_s")
    assert first is None
    assert second == pytest.approx(2, abs=0.1)
    assert third == pytest.approx(2, abs=0.1)
    assert attributes(spans.one("retry fetch"))["tracekit.retry.attempts"] == 3
    assert spans.values("attempt fetch", "tracekit.attempt") == [1, 2, 3]


def test_tries_in_the_ledger(spans: Recording) -> None:
    """The ledger sees one logical call, and which attempt was the last."""
    with tracekit.retry("fetch") as work:
        for fails in (True, True, False):
            with contextlib.suppress(OverloadedError), work.attempt():
                ask(fail=fails)

    first = hex_id(spans.named("chat gpt-4o")[0])
    found = rows(spans.ledger(), "attempts", "call_id", "attempt", "is_final")
    assert found == [(first, 1, False), (first, 2, False), (first, 3, True)]


def test_wait_can_be_told(spans: Recording) -> None:
    """A wait that the loop knows is written as it says."""
    with tracekit.retry("fetch") as work:
        for _ in range(2):
            with work.attempt(wait_s=0.25):
                ask(fail=False)

    assert spans.values("chat gpt-4o", "tracekit.retry.wait_s") == [0.25, 0.25]


def test_several_calls_in_a_try(spans: Recording) -> None:
    """The second call of a try repeats the second of the try before, not the first."""
    with tracekit.retry("answer") as work:
        for _ in range(2):
            with work.attempt():
                ask(fail=False)
                ask(fail=False)

    assert spans.values("chat gpt-4o", "tracekit.attempt") == [1, 1, 2, 2]
    ids = spans.values("chat gpt-4o", "tracekit.retry.of")
    assert ids[0] == ids[2] != ids[1] == ids[3]
    assert spans.values("chat gpt-4o", "tracekit.retry.wait_s")[3] is None


def test_client_retries_inside_tries(spans: Recording) -> None:
    """Tries of the client inside tries of the application are numbered through: one call."""
    with tracekit.session("s"), tracekit.retry("fetch") as work:
        with pytest.raises(OverloadedError), work.attempt():
            ask(fail=True, tries=2)
        with work.attempt():
            ask(fail=False)

    ledger = spans.ledger()
    assert len(set(rows(ledger, "attempts", "call_id"))) == 1
    assert sorted(rows(ledger, "attempts", "attempt")) == [1, 2, 3]
    assert sum(rows(ledger, "attempts", "is_final")) == 1


def test_nested_loops(spans: Recording) -> None:
    """Loops in loops make one logical call, numbered through."""
    with tracekit.retry("outer") as outer:
        for _ in range(2):
            with outer.attempt(), tracekit.retry("inner") as inner:
                for _ in range(2):
                    with inner.attempt():
                        ask(fail=False)

    assert spans.values("chat gpt-4o", "tracekit.attempt") == [1, 2, 3, 4]
    assert len(set(spans.values("chat gpt-4o", "tracekit.retry.of"))) == 1


def test_tools_in_tries(spans: Recording) -> None:
    """Tool calls inside carry the number of their try too."""
    search = tracekit.tool("search")(str.upper)
    with tracekit.retry("fetch") as work:
        for _ in range(2):
            with work.attempt():
                search("a")

    assert spans.values("execute_tool search", "tracekit.attempt") == [1, 2]


def test_failed_retry(spans: Recording) -> None:
    """A loop that gives up fails with the error of its last try."""
    with pytest.raises(OverloadedError), tracekit.retry("fetch") as work, work.attempt():
        raise OverloadedError

    assert attributes(spans.one("retry fetch"))["error.type"].endswith("OverloadedError")
    assert attributes(spans.one("attempt fetch"))["error.type"].endswith("OverloadedError")


def test_attempt_outside_of_a_retry(spans: Recording) -> None:
    """Without a retry around it an attempt is nothing."""
    with tracekit.attempt() as step:
        ask(fail=False)

    assert step.number == 0
    assert spans.names() == ["chat gpt-4o"]


def test_async_tries(spans: Recording) -> None:
    """Coroutines are tried like functions, and loops side by side are told apart."""

    @tracekit.retry
    async def fetch() -> None:
        for number in range(2):
            with tracekit.attempt():
                await asyncio.sleep(0)
                ask(fail=number < 0)

    async def both() -> None:
        await asyncio.gather(fetch(), fetch())

    asyncio.run(both())

    assert sorted(spans.values("chat gpt-4o", "tracekit.attempt")) == [1, 1, 2, 2]
    assert len(set(spans.values("chat gpt-4o", "tracekit.retry.of"))) == 2


def test_off() -> None:
    """Switched off, loops run as they are."""
    with tracekit.retry("fetch") as work, work.attempt() as step:
        assert tracekit.attempt(str.upper)("a") == "A"
    assert step.number == 0


def test_cancelled_between_tries(spans: Recording) -> None:
    """A call that is cancelled while the client waits to try again was cancelled, not refused."""
    call = LlmCall("openai", "gpt-4o", "chat").begin()
    call.attempt(Attempt(1, 1, 2, http_status=429, error_type="rate_limit_exceeded"))
    call.fail(asyncio.CancelledError())

    (span,) = spans.all()
    assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"
