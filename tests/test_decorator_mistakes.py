"""Decorators put where they cannot work say so at once; nothing of the host's is replaced."""

from __future__ import annotations

import functools
import uuid
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from traced import Recording, attributes, recorded

import tracekit
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tracekit.instrumentation.tools import Tool

BARE: list[Any] = [
    tracekit.agent,
    tracekit.approval,
    tracekit.llm,
    tracekit.plan,
    tracekit.retrieval,
    tracekit.retry,
    tracekit.session,
    tracekit.task,
    tracekit.tool,
]
DESCRIPTORS: list[Any] = [
    property(len),
    functools.cached_property(len),
    functools.partialmethod(len),
    functools.singledispatchmethod(len),
]


class Order(Enum):
    """An id that is no text."""

    FIRST = 1


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


def double(number: int) -> int:
    """Double."""
    return 2 * number


@pytest.mark.parametrize("kind", BARE)
def test_bare_decorators(spans: Recording, kind: Any) -> None:
    """Without parentheses each decorates functions, classmethods and staticmethods."""

    class Holder:
        plain = kind(double)
        shared = kind(classmethod(lambda cls, number: (cls, double(number))))
        loose = kind(staticmethod(double))

    assert kind(double)(2) == Holder.loose(2) == Holder().loose(2) == 4
    assert Holder.shared(2) == Holder().shared(2) == (Holder, 4)
    assert len(spans.all()) == (0 if kind is tracekit.session else 5)


def test_a_bare_session_is_a_new_one(spans: Recording) -> None:
    """Each call of a function below a bare session is in a session of its own."""

    @tracekit.session
    @tracekit.task
    def work() -> str | None:
        return tracekit.current_session()

    first, second = work(), work()
    assert first != second
    assert spans.values("task work", "tracekit.session.id") == [first, second]


@pytest.mark.parametrize("kind", BARE)
@pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=lambda value: type(value).__name__)
def test_descriptors(kind: Any, descriptor: Any) -> None:
    """Above any other descriptor they say where to stand, with parentheses and without."""
    name = type(descriptor).__name__
    with pytest.raises(UsageError, match=f"put it below @{name}"):
        kind(descriptor)
    with pytest.raises(UsageError, match=f"put it below @{name}"):
        kind("name")(descriptor)


@pytest.mark.parametrize("kind", [each for each in BARE if each is not tracekit.session])
def test_what_is_no_name(kind: Any) -> None:
    """An object that can neither be called nor be a name is refused, not taken for a name."""
    with pytest.raises(UsageError, match="not an object of type dict"):
        kind({"name": "x"})
    with pytest.raises(UsageError, match="not an object of type dict"):
        kind("x")({"name": "x"})


@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        (tracekit.handoff, "@tracekit.handoff"),
        (tracekit.fanout, "with tracekit.fanout"),
        (tracekit.compensates, "@tracekit.compensates"),
        (tracekit.resume, "@tracekit.resume"),
        (tracekit.checkpoint, "tracekit.checkpoint"),
    ],
)
@pytest.mark.parametrize("target", [double, staticmethod(double), property(len), Order])
def test_those_that_need_an_argument(
    spans: Recording, kind: Any, instead: str, target: object
) -> None:
    """Those that mean nothing without an argument say what to write, and write nothing."""
    with pytest.raises(UsageError, match=f"write {instead}"):
        kind(target)
    assert spans.all() == []


def test_names_by_keyword(spans: Recording) -> None:
    """Names and models may be given by keyword."""
    with tracekit.task(name="t"), tracekit.agent(name="a"), tracekit.tool(name="s"):
        pass
    with tracekit.llm(model="m"):
        pass
    assert spans.names() == ["task t", "invoke_agent a", "execute_tool s", "chat m"]


def test_names_and_ids_that_are_no_text(spans: Recording) -> None:
    """Numbers, UUIDs and enumerations are written as text, and no text that cannot be encoded."""
    key: Any = uuid.UUID(int=7)
    number: Any = 0
    order: Any = Order.FIRST
    with (
        tracekit.session(number, user=number),
        tracekit.task(number, task_id=key) as task,
        tracekit.agent(order, agent_id=key),
        tracekit.tool("\ud800", call_id=key),
    ):
        task.done("success", reason=number, handle=key)

    root = attributes(spans.one("task 0"))
    assert root["tracekit.session.id"] == root["user.id"] == root["tracekit.task.reason"] == "0"
    assert root["tracekit.task.id"] == root["tracekit.task.handle"] == str(key)
    assert spans.values("invoke_agent Order.FIRST", "gen_ai.agent.id") == [str(key)]
    assert spans.values("execute_tool ?", "gen_ai.tool.call.id") == [str(key)]


def find(query: str, *, key: str, now: float) -> str:
    """Find."""
    return f"{query} {key} {now}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side_effect": "wirte"}, "expected one of none, read, idempotent, write"),
        ({"volatile": "now"}, r"write volatile=\['now'\]"),
        ({"volatile": ["nwo"]}, "'find' has no parameter nwo"),
        ({"idempotency_key": "kye", "volatile": ["now"]}, "'find' has no parameter kye"),
    ],
)
def test_typos_of_tools(options: dict[str, Any], message: str) -> None:
    """What a tool is told of its function is held against the function when it is decorated."""
    with pytest.raises(UsageError, match=message):
        tracekit.tool("t", **options)(find)


def test_parameters_that_are_there() -> None:
    """Names fit functions that take any, those that do not tell, and a class by any entry point."""
    told: Callable[[], Tool] = functools.partial(
        tracekit.tool, idempotency_key="key", volatile=["now"]
    )

    class Search:
        def run(self, key: str) -> str:
            return key

        @staticmethod
        def invoke(now: float) -> float:
            return now

    class Other:
        def run(self, key: str) -> str:
            return key

    anything: Any = lambda **options: options  # noqa: E731 - takes any
    assert told()(find)("a", key="k", now=1) == "a k 1"
    assert told()(anything)(a=1) == {"a": 1}
    assert told()(Search)().run("k") == "k"
    assert told()(max)(1, 2) == 2  # a function of the interpreter's own does not tell
    with pytest.raises(UsageError, match="'Other' has no parameter now"):
        told()(Other)


def test_attributes_with_names_of_entry_points() -> None:
    """An attribute of a class that only has the name of an entry point stays what it is."""

    @tracekit.agent
    class Support:
        stream = False

        @property
        def invoke(self) -> str:
            return "i"

        def run(self) -> int:
            return 1

    assert Support.stream is False
    assert Support().invoke == "i"
    assert Support().run() == 1


def test_cached_functions() -> None:
    """A decorated function with a cache can still be asked about it, and be told to forget."""

    @tracekit.tool
    @functools.lru_cache(maxsize=4)
    def square(number: int) -> int:
        return number**2

    assert square(3) == square(3) == 9
    assert square.cache_info().hits == 1
    assert square.cache_parameters()["maxsize"] == 4
    square.cache_clear()
    assert square.cache_info().currsize == 0
