"""What the instrumentation writes, as the models of the lake see it; live stops are the same."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from models_build import row, rows
from traced import Recording, recorded

import tracekit

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


def ask() -> None:
    """Call a model."""
    with tracekit.llm("gpt-4o", provider="openai") as call:
        call.usage(input_tokens=10, output_tokens=1)
        call.stop("stop")


def test_failed_member(spans: Recording) -> None:
    """A member of a fan-out that failed is no failure of the run that went on without it."""
    with tracekit.agent("support"):
        ask()
        with (
            tracekit.fanout("search", policy="best_effort") as searches,
            contextlib.suppress(KeyError),
            searches.child("a"),
        ):
            raise KeyError("x")

    assert spans.stops() == [("completed.unverified", "completed.unverified")]


def test_failed_try(spans: Recording) -> None:
    """A try that failed is no failure of the run: the next one succeeded."""
    with tracekit.agent("support"):
        ask()
        with tracekit.retry("fetch") as work:
            for fails in (True, False):
                with contextlib.suppress(KeyError), work.attempt():
                    if fails:
                        raise KeyError("x")

    assert spans.stops() == [("completed.unverified", "completed.unverified")]


@pytest.mark.parametrize("kind", [tracekit.retry("r"), tracekit.fanout("f"), tracekit.plan("p")])
def test_failed_step(spans: Recording, kind: contextlib.AbstractContextManager[object]) -> None:
    """A step that fails last, as a whole, is what the run ended with."""
    with tracekit.agent("support"):
        ask()
        with contextlib.suppress(KeyError), kind:
            raise KeyError("x")

    assert spans.stops() == [("runtime.exception", "runtime.exception")]


def test_cancelled_member(spans: Recording) -> None:
    """A member cancelled because another one answered ends nothing, and is waste of its kind."""

    async def answer() -> None:
        await asyncio.sleep(0)
        with tracekit.llm("gpt-4o", provider="openai") as call:
            await asyncio.sleep(0)
            call.usage(input_tokens=10, output_tokens=1)
            call.stop("stop")

    async def wait() -> None:
        with tracekit.llm("gpt-4o", provider="openai"):
            await asyncio.Event().wait()

    async def run() -> None:
        with tracekit.agent("a"), tracekit.fanout("f", policy="k_of_n", needed=1) as members:
            loser = asyncio.create_task(members.wrap(wait)())
            await members.wrap(answer)()
            loser.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loser

    asyncio.run(run())

    assert spans.stops() == [("completed.unverified", "completed.unverified")]
    assert rows(spans.ledger(), "attempts", "waste_reason") == ["cancelled_sibling", None]


def test_late_verdict(spans: Recording) -> None:
    """A verdict that comes days later makes no session longer."""
    with tracekit.session("s"), tracekit.agent("support"):
        ask()
    spans.wait(3 * DAY_S)
    tracekit.outcome("s", "success", "reviewer")

    assert row(spans.ledger(), "sessions", "duration_s") < 1


def test_approval_of_two_spans(spans: Recording) -> None:
    """An approval that is decided elsewhere was asked for once."""
    with tracekit.session("s"), tracekit.agent("support"):
        approval_id = tracekit.request_approval("refund")
        tracekit.decide_approval(approval_id, "approved")

    assert row(spans.ledger(), "sessions", "approvals") == 1
