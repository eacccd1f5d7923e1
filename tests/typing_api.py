"""What type checkers see of the public API; never run, checked by `test_typing.py`."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, assert_type

import tracekit
from tracekit.instrumentation.agents import AgentStep, DoneStatus, RootStep, TaskStep
from tracekit.instrumentation.approvals import ApprovalStep
from tracekit.instrumentation.calls import LlmCall
from tracekit.instrumentation.coordination import PlanStep
from tracekit.instrumentation.fanouts import ChildStep, FanoutStep
from tracekit.instrumentation.retries import AttemptStep, RetryStep
from tracekit.instrumentation.scope import SessionScope
from tracekit.instrumentation.steps import Step
from tracekit.instrumentation.tools import ToolStep


@tracekit.agent
def plain(question: str, *, limit: int = 3) -> list[str]:
    """Answer."""
    return [question] * limit


@tracekit.tool("search", side_effect="read", volatile=["now"])
def search(query: str, now: float) -> dict[str, int]:
    """Search."""
    return {query: int(now)}


@tracekit.task("refund", essential=False)
async def asynchronous(order: int) -> bool:
    """Refund."""
    await asyncio.sleep(order)
    return True


@tracekit.llm
def generator(n: int) -> Generator[int, str, bool]:
    """Stream."""
    said = yield n
    return bool(said)


@tracekit.retrieval("wiki")
async def async_generator(n: int) -> AsyncIterator[int]:
    """Stream."""
    yield n


@tracekit.session("s", user="u")
@tracekit.retry
@tracekit.attempt
@tracekit.approval
@tracekit.plan
@tracekit.compensates("charge")
def stacked(a: int) -> str:
    """Be decorated."""
    return str(a)


@tracekit.session
@tracekit.llm(model="m")
def bare(a: int) -> str:
    """Be in a session of its own."""
    return str(a)


@tracekit.agent(methods=("work",))
class Worker:
    """Works."""

    def __init__(self, name: str) -> None:
        self.name = name

    def work(self) -> int:
        """Work."""
        return 1

    @tracekit.tool
    def method(self, a: int) -> str:
        """Help."""
        return self.name * a

    @classmethod
    @tracekit.tool("made")
    def made(cls, name: str) -> Worker:
        """Make."""
        return cls(name)

    @staticmethod
    @tracekit.tool("static")
    def static(a: int) -> int:
        """Help."""
        return a


def signatures() -> None:
    """Decorated functions have the types they had."""
    assert_type(plain("a", limit=2), list[str])
    assert_type(search("a", 1.0), dict[str, int])
    assert_type(generator(1), Generator[int, str, bool])
    assert_type(async_generator(1), AsyncIterator[int])
    assert_type(stacked(1), str)
    assert_type(bare(1), str)
    assert_type(tracekit.tool(name="t")(bare)(1), str)
    assert_type(Worker("a"), Worker)
    assert_type(Worker("a").work(), int)
    assert_type(Worker("a").method(1), str)
    assert_type(Worker.made("a"), Worker)
    assert_type(Worker.static(1), int)
    _: Callable[[str, float], dict[str, int]] = tracekit.carry(search)


def mistakes() -> None:
    """Checkers still find wrong calls: an ignore that is not needed is an error."""
    plain(1)  # type: ignore[arg-type]
    search("a")  # type: ignore[call-arg]
    Worker(1)  # type: ignore[arg-type]
    tracekit.done("splendid")  # type: ignore[arg-type]
    tracekit.tool("a", side_effect="much")  # type: ignore[call-overload]
    tracekit.fanout("a", policy="most")  # type: ignore[arg-type]


def contexts() -> None:
    """`with` gives the step of its kind."""
    with (
        tracekit.session("s") as session,
        tracekit.agent("a") as agent,
        tracekit.task("t") as task,
        tracekit.tool("t") as tool,
        tracekit.retrieval("r") as retrieval,
        tracekit.llm("m", provider="p") as call,
        tracekit.retry("r") as retry,
        retry.attempt() as attempt,
        tracekit.attempt() as other,
        tracekit.approval("a", expires_s=1) as approval,
        tracekit.plan("p", version=1) as plan,
        tracekit.fanout("f", policy="k_of_n", needed=1) as fanout,
        fanout.child("c") as child,
        tracekit.handoff("b"),
        tracekit.compensates(tool),
        tracekit.resume("c"),
    ):
        assert_type(session, SessionScope)
        assert_type(session.id, str)
        assert_type(agent, AgentStep)
        assert_type(task, TaskStep)
        assert_type(tool, ToolStep)
        assert_type(retrieval, Step)
        assert_type(call, LlmCall)
        assert_type(retry, RetryStep)
        assert_type(attempt, AttemptStep)
        assert_type(other, AttemptStep)
        assert_type(approval, ApprovalStep)
        assert_type(plan, PlanStep)
        assert_type(fanout, FanoutStep)
        assert_type(child, ChildStep)
    assert_type(tracekit.current_task(), RootStep)
    assert_type(tracekit.current_call(), LlmCall)
    assert_type(tracekit.current_session(), str | None)


async def async_contexts() -> None:
    """So does `async with`; gathering keeps the types of what is gathered."""
    async with tracekit.task("t") as task, tracekit.fanout("f") as fanout:
        assert_type(task, TaskStep)
        assert_type(await asynchronous(1), bool)
        first, second = await fanout.gather(asynchronous(1), text())
        assert_type(first, bool)
        assert_type(second, str)
        assert_type(await fanout.gather(*[text(), text()]), list[str])
        assert_type(await fanout.gather(text(), return_exceptions=True), list[str | BaseException])
        assert_type(await fanout.wrap(text)(), str)


async def text() -> str:
    """Return a text."""
    return ""


def tools() -> None:
    """The done tool is a function with schemas."""
    finish = tracekit.done_tool()
    status: DoneStatus = "success"
    assert_type(finish(status, handle="ticket/7"), str)
    assert_type(finish.openai(), dict[str, Any])
    finish("splendid")  # type: ignore[arg-type]


def words() -> Iterator[str]:
    """Keep the iterator of an iterator."""
    yield from tracekit.tool("w")(words)()
