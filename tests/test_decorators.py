"""Decorating every kind of callable: it does what it did, and its step follows it exactly."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from traced import Recording, attributes, current_name, recorded

import tracekit
from tracekit.instrumentation.runtime import STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


class Interrupt(BaseException):
    """What no `except Exception` catches."""


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


async def add_async(a: int, b: int = 1) -> int:
    """Add."""
    await asyncio.sleep(0)
    return a + b


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


class Calculator:
    """Has a method of every kind."""

    base = 10

    def __init__(self) -> None:
        self.base = 20

    @tracekit.tool("method")
    def method(self, a: int) -> int:
        """Add."""
        return self.base + a

    @tracekit.tool("async")
    async def async_method(self, a: int) -> int:
        """Add."""
        return self.base + a

    @tracekit.tool("class")
    @classmethod
    def class_outside(cls, a: int) -> int:
        """Add."""
        return cls.base + a

    @classmethod
    @tracekit.tool("class")
    def class_inside(cls, a: int) -> int:
        """Add."""
        return cls.base + a

    @tracekit.tool("static")
    @staticmethod
    def static_outside(a: int) -> int:
        """Add."""
        return a

    @staticmethod
    @tracekit.tool("static")
    def static_inside(a: int) -> int:
        """Add."""
        return a


KINDS: list[Callable[..., Any]] = [tracekit.tool, tracekit.agent, tracekit.task, tracekit.llm]


@pytest.mark.parametrize("kind", [*KINDS, tracekit.retrieval, tracekit.retry, tracekit.plan])
@pytest.mark.parametrize("function", [add, add_async, count, count_async])
def test_it_stays_what_it_was(kind: Callable[..., Any], function: Callable[..., Any]) -> None:
    """Frameworks look at functions: kind, name, docstring and signature are the function's."""
    wrapped = kind(function)

    assert wrapped.__name__ == function.__name__
    assert wrapped.__doc__ == function.__doc__
    assert wrapped.__wrapped__ is function
    assert inspect.signature(wrapped) == inspect.signature(function)
    for question in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert question(wrapped) == question(function)


@pytest.mark.parametrize("kind", KINDS)
def test_functions(spans: Recording, kind: Callable[..., Any]) -> None:
    """Functions and coroutines return what they returned; each call has one span."""
    assert kind(add)(1, b=2) == 3
    assert asyncio.run(kind(add_async)(1)) == 2
    assert len(spans.all()) == 2


def test_partials_and_objects(spans: Recording) -> None:
    """Partial functions and callable objects are decorated like functions."""

    class Adder:
        def __call__(self, a: int) -> int:
            return a + 1

        async def later(self, a: int) -> int:
            return a + 1

    assert tracekit.tool(functools.partial(add, 1))(2) == 3
    assert asyncio.run(tracekit.tool(functools.partial(add_async, b=5))(2)) == 7
    assert tracekit.tool(Adder())(1) == 2
    assert asyncio.run(tracekit.tool(Adder().later)(1)) == 2
    assert tracekit.agent(functools.partial(add, 1))(2) == 3
    assert tracekit.tool(len)([1]) == 1
    assert spans.names() == [
        "execute_tool add",
        "execute_tool add_async",
        "execute_tool Adder",
        "execute_tool later",
        "invoke_agent add",
        "execute_tool len",
    ]


def test_methods(spans: Recording) -> None:
    """Methods of every kind are decorated, above and below classmethod and staticmethod."""
    calculator = Calculator()

    assert calculator.method(1) == 21
    assert asyncio.run(calculator.async_method(1)) == 21
    assert calculator.class_outside(1) == Calculator.class_outside(1) == 11
    assert calculator.class_inside(1) == Calculator.class_inside(1) == 11
    assert calculator.static_outside(1) == Calculator.static_outside(1) == 1
    assert calculator.static_inside(1) == Calculator.static_inside(1) == 1
    hashes = spans.values("execute_tool method", "tracekit.tool.arguments_hash")
    # The object is no argument: the same call on another one is the same call.
    assert hashes == spans.values("execute_tool async", "tracekit.tool.arguments_hash")


def test_classes(spans: Recording) -> None:
    """Of a class the entry points are decorated; the class gives its name."""

    @tracekit.agent
    class Support:
        def run(self, question: str) -> str:
            return question.upper()

        @staticmethod
        def invoke(question: str) -> str:
            return question

        async def arun(self, question: str) -> str:
            return question

        def helper(self) -> str:
            return "h"

    @tracekit.tool
    class Search:
        def __init__(self, index: str) -> None:
            self.index = index

        def __call__(self, query: str) -> str:
            return self.index + query

    support = Support()
    assert support.run("a") == "A"
    assert Support.invoke("a") == "a"
    assert asyncio.run(support.arun("a")) == "a"
    assert support.helper() == "h"
    assert Search("x")("q") == "xq"
    assert Search("y")(query="q") == "yq"
    assert spans.names() == ["invoke_agent Support"] * 3 + ["execute_tool Search"] * 2
    first, second = spans.values("execute_tool Search", "tracekit.tool.arguments_hash")
    assert first == second


def test_class_without_entry_points() -> None:
    """A class with nothing to trace is a mistake that is told at once."""
    with pytest.raises(TypeError, match="Plain has none of the methods"):

        @tracekit.agent
        class Plain:
            def work(self) -> None: ...

    @tracekit.agent(methods=("work",))
    class Named:
        def work(self) -> int:
            return 1

    assert Named().work() == 1


def test_functions_that_return_work(spans: Recording) -> None:
    """Where a plain function returns a coroutine or generator, the step goes with that."""

    @tracekit.tool
    def later() -> Any:
        return add_async(1)

    @tracekit.tool
    def items() -> Any:
        return count(2)

    @tracekit.tool
    def async_items() -> Any:
        return count_async(2)

    async def collected() -> list[int]:
        return [item async for item in async_items()]

    work = later()
    assert spans.all() == []
    assert asyncio.run(work) == 2
    assert list(items()) == [0, 1]
    assert asyncio.run(collected()) == [0, 1]
    assert spans.names() == ["execute_tool later", "execute_tool items", "execute_tool async_items"]


@pytest.mark.parametrize("error", [KeyError("x"), Interrupt(), SystemExit(3), GeneratorExit()])
def test_exceptions(spans: Recording, error: BaseException) -> None:
    """What is raised comes out as it was, the same object, with one frame of ours."""

    @tracekit.agent
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fail()

    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames == ["test_exceptions", "wrapper", "fail"]
    assert spans.one("invoke_agent fail").status.status_code.name == "ERROR"
    assert attributes(spans.one("invoke_agent fail"))["error.type"].endswith(type(error).__name__)
    assert "x" not in str(spans.one("invoke_agent fail").status.description)


def test_exceptions_of_coroutines(spans: Recording) -> None:
    """A coroutine raises what it raised, and a cancelled one stays cancelled."""

    @tracekit.tool
    async def fail() -> None:
        raise KeyError("x")

    @tracekit.tool
    async def wait() -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        with pytest.raises(KeyError) as caught:
            await fail()
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert frames == ["run", "wrapper", "fail"]
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(run())

    assert spans.values("execute_tool wait", "error.type") == ["asyncio.exceptions.CancelledError"]


def test_wrong_arguments(spans: Recording) -> None:
    """A call with wrong arguments fails as it did."""
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        tracekit.tool(add)()  # type: ignore[call-arg]
    assert spans.values("execute_tool add", "error.type") == ["TypeError"]


def test_recursion(spans: Recording) -> None:
    """A decorated function may call itself."""

    @tracekit.tool
    def down(n: int) -> int:
        return n if n == 0 else down(n - 1)

    assert down(3) == 0
    assert [spans.parent(span) for span in spans.all()] == [None] + ["execute_tool down"] * 3


def test_reentry(spans: Recording) -> None:
    """One instrument may be open several times: nested, and in tasks and threads side by side."""
    shared = tracekit.task("shared")
    with shared as outer:
        with shared as inner:
            assert inner.id != outer.id
        assert current_name() == "task shared"
    assert current_name() is None

    async def use(first: asyncio.Event, second: asyncio.Event) -> str:
        with shared as task:
            first.set()
            await second.wait()
            with tracekit.tool("inside"):
                pass
        assert current_name() is None
        return task.id

    async def both() -> list[str]:
        a, b = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(use(a, b), use(b, a)))

    ids = asyncio.run(both())
    assert spans.values("task shared", "tracekit.task.id")[2:] == ids
    assert sorted(spans.values("execute_tool inside", "tracekit.task.id")) == sorted(ids)


def test_shared_in_threads(spans: Recording) -> None:
    """Threads that use one instrument end their own steps."""
    shared = tracekit.agent("shared")
    entered, leave = threading.Barrier(3), threading.Barrier(3)
    seen = []

    def run() -> None:
        with shared as step:
            entered.wait()
            leave.wait()
            seen.append(current_name())
            step.set("mine", threading.get_ident())
        assert current_name() is None

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    entered.wait()
    leave.wait()
    for thread in threads:
        thread.join()

    assert seen == ["invoke_agent shared"] * 2
    assert len(set(spans.values("invoke_agent shared", "mine"))) == 2


def test_async_with(spans: Recording) -> None:
    """Everything that takes `with` takes `async with`."""

    async def run() -> None:
        async with tracekit.session("s"), tracekit.task("t") as task:
            task.set("a", 1)

    asyncio.run(run())
    assert spans.values("task t", "a") == [1]


def test_inside_a_context_manager(spans: Recording) -> None:
    """Steps can be opened in context managers made of generators."""

    @contextmanager
    def managed() -> Iterator[str | None]:
        with tracekit.tool("managed"):
            yield current_name()

    with tracekit.task("t"), managed() as name:
        assert current_name() == name == "execute_tool managed"
    assert spans.parent(spans.one("execute_tool managed")) == "task t"


@pytest.mark.parametrize("kind", KINDS)
def test_disabled(kind: Callable[..., Any]) -> None:
    """Switched off, every kind of callable is called straight through."""
    assert STATE.runtime is None
    assert kind(add)(1) == 2
    assert asyncio.run(kind(add_async)(1)) == 2
    assert list(kind(count)(2)) == [0, 1]

    async def collected() -> list[int]:
        return [item async for item in kind(count_async)(2)]

    assert asyncio.run(collected()) == [0, 1]
    with kind() as step:
        step.set("a", 1)
    with pytest.raises(KeyError), kind():
        raise KeyError
