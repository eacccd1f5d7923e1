"""Decorated generators: their protocol, and that their step is current only while they run."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from traced import Recording, current_name, recorded

import tracekit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


def count(n: int) -> Generator[int, str, str]:
    """Count; say what was sent."""
    said = ""
    for i in range(n):
        said += (yield i) or ""
    return said


async def count_async(n: int) -> Any:
    """Count."""
    for i in range(n):
        await asyncio.sleep(0)
        yield i


def test_generator_protocol(spans: Recording) -> None:
    """Values are sent in, exceptions thrown in, and the return value comes out, as before."""

    @tracekit.tool
    def talk() -> Generator[str, str, str]:
        heard = yield "first"
        try:
            heard += yield "second"
        except KeyError as error:
            heard += str(error)
        yield "third"
        return heard

    talking = talk()
    assert next(talking) == "first"
    assert talking.send("a") == "second"
    assert talking.throw(KeyError("b")) == "third"
    with pytest.raises(StopIteration) as stop:
        next(talking)
    assert stop.value.value == "a'b'"

    def outer() -> Generator[int, str, str]:
        return (yield from tracekit.tool(count)(2))

    assert list(outer()) == [0, 1]
    assert [span.status.status_code.name for span in spans.all()] == ["UNSET", "UNSET"]


def test_closed_generator(spans: Recording) -> None:
    """A generator whose consumer goes away cleans up inside its step, which then ends."""
    cleaned = []

    @tracekit.tool
    def items() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(current_name())

    for _ in items():
        break
    opened = items()
    next(opened)
    opened.close()
    never = items()
    never.close()
    assert cleaned == ["execute_tool items"] * 2
    assert len(spans.all()) == 2


def test_stubborn_generator(spans: Recording) -> None:
    """A generator that does not let itself be closed is told off as before."""

    @tracekit.tool
    def items() -> Generator[int, None, None]:
        with suppress(GeneratorExit):
            yield 1
        yield 2

    opened = items()
    next(opened)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        opened.close()
    assert spans.values("execute_tool items", "error.type") == ["RuntimeError"]


def test_async_generator_protocol(spans: Recording) -> None:
    """`asend`, `athrow` and `aclose` do what they did."""
    closed = []

    @tracekit.tool
    async def talk() -> Any:
        try:
            heard = yield "first"
            try:
                yield heard
            except KeyError:
                yield "caught"
            yield "more"
        finally:
            await asyncio.sleep(0)
            closed.append(current_name())

    async def run() -> None:
        talking = talk()
        assert await anext(talking) == "first"
        assert await talking.asend("a") == "a"
        assert await talking.athrow(KeyError("b")) == "caught"
        await talking.aclose()
        assert [item async for item in tracekit.tool(count_async)(2)] == [0, 1]
        broken = talk()
        await anext(broken)
        with pytest.raises(ZeroDivisionError):
            await broken.athrow(ZeroDivisionError())

    asyncio.run(run())

    assert closed == ["execute_tool talk"] * 2
    assert spans.values("execute_tool talk", "error.type") == ["GeneratorExit", "ZeroDivisionError"]
    assert spans.values("execute_tool count_async", "error.type") == [None]


def test_consumer_is_outside(spans: Recording) -> None:
    """While a generator waits its step is not current; inside it is, in whatever thread."""
    inside: list[str | None] = []

    @tracekit.tool
    def items() -> Generator[int, None, None]:
        for i in range(3):
            inside.append(current_name())
            yield i

    @tracekit.tool
    async def async_items() -> AsyncIterator[int]:
        for i in range(2):
            inside.append(current_name())
            yield i

    with tracekit.task("t"):
        opened = items()
        next(opened)
        assert current_name() == "task t"
        next(opened)
        with tracekit.tool("beside"):
            pass
        thread = threading.Thread(target=next, args=(opened,))
        thread.start()
        thread.join()

        async def run() -> None:
            async for _ in async_items():
                assert current_name() == "task t"

        asyncio.run(run())
        opened.close()

    assert inside == ["execute_tool items"] * 3 + ["execute_tool async_items"] * 2
    assert spans.parent(spans.one("execute_tool beside")) == "task t"


def test_generators_side_by_side(spans: Recording) -> None:
    """Generators that are drawn from in turns keep to themselves."""

    @tracekit.tool
    def items(n: int) -> Iterator[str | None]:
        for _ in range(n):
            with tracekit.tool("inner"):
                pass
            yield current_name()

    assert list(zip(items(2), items(3), strict=False)) == [("execute_tool items",) * 2] * 2
    assert current_name() is None
    assert {spans.parent(span) for span in spans.named("execute_tool inner")} == {
        "execute_tool items"
    }


def test_switched_off_meanwhile() -> None:
    """A step that is open when tracekit is switched off ends as it began."""

    @tracekit.tool
    def items() -> Generator[int, None, None]:
        yield 1
        yield 2

    with recorded() as spans:
        opened = items()
        next(opened)
    assert next(opened) == 2
    assert next(opened, None) is None
    assert len(spans.all()) <= 1
    assert current_name() is None
