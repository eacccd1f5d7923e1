"""Fan-outs: every member has an end of its own, and the fan-in knows whether that was enough."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from models_build import rows
from traced import Recording, attributes, hex_id, recorded

import tracekit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


async def fine(value: str = "found") -> str:
    await asyncio.sleep(0)
    return value


async def broken() -> str:
    await asyncio.sleep(0)
    raise KeyError("x")


async def endless() -> str:
    await asyncio.Event().wait()
    return "never"


async def slow() -> str:
    async with asyncio.timeout(0):
        await asyncio.Event().wait()
    return "never"


def states(spans: Recording) -> dict[str, str]:
    """Return the states of the members by name."""
    found = {}
    for span in spans.all():
        state = attributes(span).get("tracekit.fanout.state")
        if state is not None:
            assert spans.parent(span) == "fanout search"
            found[span.name] = state
    return found


def test_gather(spans: Recording) -> None:
    """Gathering returns what asyncio does; members are named and below the fan-in."""

    async def search() -> list[str]:
        with tracekit.fanout("search") as searches:
            return await searches.gather(fine("a"), fine("b"), fine("c"), fine("d"))

    assert asyncio.run(search()) == ["a", "b", "c", "d"]

    fan_in = attributes(spans.one("fanout search"))
    assert fan_in["tracekit.fanout.size"] == fan_in["tracekit.fanout.needed"] == 4
    assert fan_in["tracekit.fanout.children.ok"] == 4
    assert fan_in["tracekit.fanout.met"] is True
    assert set(spans.values("fine", "tracekit.fanout.state")) == {"ok"}
    assert set(spans.values("fine", "tracekit.fanout.id")) == {fan_in["tracekit.fanout.id"]}


def test_first_failure_abandons_the_rest(spans: Recording) -> None:
    """As with asyncio the first failure is raised; what still runs then is abandoned."""

    async def search() -> None:
        waiting = asyncio.create_task(endless())
        try:
            with tracekit.fanout("search") as searches:
                await searches.gather(broken(), waiting)
        finally:
            waiting.cancel()

    with pytest.raises(KeyError):
        asyncio.run(search())

    assert states(spans) == {"broken": "error", "endless": "abandoned"}
    fan_in = attributes(spans.one("fanout search"))
    assert fan_in["error.type"] == "KeyError"
    assert fan_in["tracekit.fanout.met"] is False


def test_exceptions_as_results(spans: Recording) -> None:
    """An error that is folded into a value is still an error of its member."""

    async def search() -> list[Any]:
        with tracekit.fanout("search", policy="best_effort") as searches:
            return list(await searches.gather(fine(), broken(), slow(), return_exceptions=True))

    found = asyncio.run(search())

    assert [type(item) for item in found] == [str, KeyError, TimeoutError]
    assert states(spans) == {"fine": "ok", "broken": "error", "slow": "timeout"}
    assert spans.values("fanout search", "tracekit.fanout.met") == [True]
    assert spans.values("fanout search", "tracekit.fanout.children.timeout") == [1]


def test_same_awaitable_twice(spans: Recording) -> None:
    """An awaitable given twice is one member, as in asyncio."""

    async def search() -> Any:
        work = fine("a")
        with tracekit.fanout("search") as searches:
            return await searches.gather(work, work)

    assert asyncio.run(search()) == ["a", "a"]
    assert spans.values("fanout search", "tracekit.fanout.size") == [1]


def test_cancelled_fan_in(spans: Recording) -> None:
    """Who cancels the gathering cancels its members, also those that had not begun."""

    async def search() -> None:
        async def run() -> None:
            with tracekit.fanout("search") as searches:
                await searches.gather(endless(), endless())

        task = asyncio.create_task(run())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(search())

    assert spans.values("endless", "tracekit.fanout.state") == ["cancelled", "cancelled"]


def test_first_k_win(spans: Recording) -> None:
    """Losers that are cancelled once enough have answered are no errors."""

    async def search() -> None:
        with tracekit.fanout("search", policy="k_of_n", needed=1) as searches:
            tasks = [asyncio.create_task(searches.wrap(work)()) for work in (fine, endless)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            tasks[1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with tracekit.agent("finder"):
        asyncio.run(search())

    assert states(spans) == {"fine": "ok", "endless": "cancelled"}
    assert spans.values("fanout search", "tracekit.fanout.met") == [True]
    assert "error.type" not in attributes(spans.one("endless"))


def test_task_group(spans: Recording) -> None:
    """A task group cancels siblings; each member says which it was."""

    async def search() -> None:
        with tracekit.fanout("search") as searches:
            async with asyncio.TaskGroup() as group:
                group.create_task(searches.wrap(endless)())
                group.create_task(searches.wrap(broken, "first")())

    with pytest.raises(ExceptionGroup):
        asyncio.run(search())

    assert states(spans) == {"endless": "cancelled", "first": "error"}


def test_thread_pool(spans: Recording) -> None:
    """Members in threads are below the fan-in, though a thread has no context."""
    tool = tracekit.tool("lookup")(str.upper)
    with (
        tracekit.session("s"),
        tracekit.fanout("search") as searches,
        ThreadPoolExecutor(2) as pool,
    ):
        found = list(pool.map(searches.wrap(tool, "lookup"), ["a", "b", "c"]))

    assert found == ["A", "B", "C"]
    assert states(spans) == {"lookup": "ok"}
    assert spans.values("fanout search", "tracekit.fanout.size") == [3]
    assert spans.values("execute_tool lookup", "tracekit.session.id") == ["s"] * 3
    assert {spans.parent(span) for span in spans.named("execute_tool lookup")} == {"lookup"}


def test_member_nobody_waited_for(spans: Recording) -> None:
    """A member that ends after the fan-in was abandoned, and ends with it."""
    go, gone = threading.Event(), threading.Event()

    def work() -> None:
        go.wait()

    with tracekit.fanout("search") as searches:
        started = threading.Event()

        def run() -> None:
            with searches.child("late"):
                started.set()
                work()
            gone.set()

        thread = threading.Thread(target=run)
        thread.start()
        started.wait()
    go.set()
    gone.wait()
    thread.join()

    assert states(spans) == {"late": "abandoned"}


def test_member_that_holds_its_error(spans: Recording) -> None:
    """A result that holds an error can be said to be one."""
    with tracekit.fanout("search", policy="k_of_n", needed=1) as searches:
        with searches.child("a") as member:
            member.ended("timeout")
        with searches.child("b"):
            pass

    assert states(spans) == {"a": "timeout", "b": "ok"}
    assert spans.values("fanout search", "tracekit.fanout.met") == [True]


def test_policy_not_met(spans: Recording) -> None:
    """The fan-in of too few says so."""
    with tracekit.fanout("search", policy="k_of_n", needed=2) as searches, searches.child("a"):
        pass

    assert spans.values("fanout search", "tracekit.fanout.met") == [False]


@pytest.mark.parametrize("given", [{"policy": "most"}, {"policy": "k_of_n"}])
def test_wrong_policy(given: dict[str, Any]) -> None:
    """An unknown policy, or one that lacks its number, is a mistake of the developer."""
    with pytest.raises(ValueError, match="policy"):
        tracekit.fanout("search", **given)


def test_columns_of_the_lake(spans: Recording) -> None:
    """The lake knows group, policy and state of the members."""
    with tracekit.fanout("search", policy="k_of_n", needed=1) as searches, searches.child("a"):
        pass

    fan_in = attributes(spans.one("fanout search"))["tracekit.fanout.id"]
    columns = ("fanout_id", "fanout_policy", "fanout_needed", "fanout_size", "fanout_state")
    found = rows(spans.ledger(), "normalised", "span_id", "operation", *columns)
    assert found == [
        (hex_id(spans.one("fanout search")), "step", fan_in, "k_of_n", 1, 1, None),
        (hex_id(spans.one("a")), "step", fan_in, None, None, None, "ok"),
    ]


def test_off() -> None:
    """Switched off, work is gathered all the same."""

    async def search() -> Any:
        with tracekit.fanout("search") as searches:
            with searches.child("a"):
                pass
            return await searches.gather(fine("a"), searches.wrap(fine)("b"))

    assert asyncio.run(search()) == ["a", "b"]
