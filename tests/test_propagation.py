"""Where the context goes along: threads, executors, tasks and processes."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import host
import pytest
from host import where
from opentelemetry import trace
from opentelemetry.context import get_current

from tracekit.instrumentation import propagation
from tracekit.instrumentation.propagation import carry, environment
from tracekit.instrumentation.scope import LONGEST, current_session, into, scope_of, session
from tracekit.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def patched(traced: Captured) -> Iterator[Captured]:
    propagation.patch()
    yield traced
    propagation.unpatch()


def here() -> tuple[str | None, int]:
    found = where()
    assert all(found)
    return found


def in_thread(function: Callable[[], object], kind: type[threading.Thread]) -> object:
    results: list[object] = []
    thread = kind(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


class OwnRun(threading.Thread):
    """A thread with a `run` of its own, as many libraries have them."""

    def run(self) -> None:
        """Run."""
        super().run()


@pytest.mark.parametrize("kind", [threading.Thread, OwnRun])
@pytest.mark.usefixtures("patched")
def test_threads(kind: type[threading.Thread]) -> None:
    """A thread started in a session and span is in them; one started outside is not."""
    with session("s"), trace.get_tracer("t").start_as_current_span("x"):
        assert in_thread(where, kind) == here()
    assert in_thread(where, kind) == (None, 0)


@pytest.mark.usefixtures("patched")
def test_timers() -> None:
    """A timer started in a session fires in it."""
    found: list[str | None] = []
    with session("s"):
        timer = threading.Timer(0, lambda: found.append(current_session()))
        timer.start()
    timer.join()
    assert found == ["s"]


@pytest.mark.usefixtures("patched")
def test_executors() -> None:
    """What is submitted or mapped is in the submitter's session, whichever worker runs it."""
    with ThreadPoolExecutor(1) as pool:
        with session("one"):
            assert pool.submit(current_session).result() == "one"
            assert list(pool.map(lambda _: current_session(), range(2))) == ["one", "one"]
        assert pool.submit(current_session).result() is None
        with session("two"):
            assert pool.submit(current_session).result() == "two"


@pytest.mark.usefixtures("patched")
def test_results_and_errors_pass_through() -> None:
    """Arguments, results and exceptions pass as without tracekit."""
    with session("s"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
        assert isinstance(pool.submit(divmod, 7, 0).exception(), ZeroDivisionError)
        with pytest.raises(TypeError):
            pool.submit()  # type: ignore[call-arg]


@pytest.mark.usefixtures("patched")
def test_asyncio() -> None:
    """Tasks, task groups, `to_thread` and `run_in_executor` keep the session."""

    async def name() -> str | None:
        await asyncio.sleep(0)
        return current_session()

    async def all_ways() -> list[str | None]:
        with session("s"):
            loop = asyncio.get_running_loop()
            async with asyncio.TaskGroup() as group:
                grouped = group.create_task(name())
            return [
                await asyncio.create_task(name()),
                grouped.result(),
                *await asyncio.gather(name(), name()),
                await asyncio.to_thread(current_session),
                await loop.run_in_executor(None, current_session),
            ]

    assert asyncio.run(all_ways()) == ["s"] * 6


@pytest.mark.usefixtures("traced")
def test_carry() -> None:
    """A carried function is where it was carried, its caller stays where it is."""
    with session("s"), trace.get_tracer("t").start_as_current_span("x"):
        carried, expected = carry(where), here()
    with session("other"):
        assert carried() == expected
        assert current_session() == "other"

    async def name() -> str | None:
        await asyncio.sleep(0)
        return current_session()

    with session("s"):
        later = carry(name)
    assert asyncio.run(later()) == "s"


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("ways", [1, 2])
def test_carried_functions_can_be_pickled(ways: int) -> None:
    """Pickled, a carried function takes session, task and trace along, however often."""
    with session("chat ü,;= 42"), trace.get_tracer("t").start_as_current_span("x"):
        function, expected = carry(where), here()
    for _ in range(ways):
        function = pickle.loads(pickle.dumps(function))  # noqa: S301 - our own
    assert function() == expected


@pytest.mark.usefixtures("traced")
def test_session_travels_without_baggage() -> None:
    """Where the session is kept from the wire, one's own processes still get it."""
    with session("s"):
        scope = scope_of(get_current())
    context = propagation.restored(propagation.headers(into(get_current(), scope, propagate=False)))
    assert scope_of(context).session_id == "s"


def test_no_effect_outside_of_anything(traced: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without session or span, threads and executors are handed what they were given."""
    del traced
    monkeypatch.setattr(ThreadPoolExecutor, "submit", lambda _, function: function)
    propagation.patch()
    thread = threading.Thread(target=int)
    thread.start()
    assert "run" not in vars(thread)
    thread.join()
    with ThreadPoolExecutor() as pool:
        outside: object = pool.submit(int)
        with session("s"):
            inside: object = pool.submit(int)
    assert outside is int
    assert inside is not int
    propagation.unpatch()


@pytest.mark.usefixtures("patched")
def test_threads_are_released() -> None:
    """A thread that has run is freed without the help of the garbage collector."""
    gc.disable()
    try:
        with session("s"):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
        released = weakref.ref(thread)
        del thread
        assert released() is None
    finally:
        gc.enable()


def test_patches_come_and_go() -> None:
    """Patching twice patches once; afterwards everything is as it was."""
    owners = (threading.Thread, "start"), (ThreadPoolExecutor, "submit")
    before = [getattr(*owner) for owner in owners]
    propagation.patch()
    ours = [getattr(*owner) for owner in owners]
    propagation.patch()
    assert [getattr(*owner) for owner in owners] == ours
    propagation.unpatch()
    assert [getattr(*owner) for owner in owners] == before
    assert not set(ours) & set(before)


def test_patches_of_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever patched on top of us stays on top, and ours below does nothing any more."""
    with capture():
        propagation.patch()
        ours = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            ours(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        theirs = threading.Thread.start
        propagation.unpatch()
        assert threading.Thread.start is theirs
        with session("s"):
            assert in_thread(current_session, threading.Thread) is None


POOL = """
    import json, multiprocessing, sys
    from concurrent.futures import ProcessPoolExecutor
    from opentelemetry import trace
    from tracekit.instrumentation import propagation
    from tracekit.instrumentation.scope import session
    from tracekit.instrumentation.setup import configure
    from host import where

    def main():
        configure(derive=False)
        multiprocessing.set_start_method(sys.argv[1])
        with ProcessPoolExecutor(1) as pool:
            with session("s"), trace.get_tracer("t").start_as_current_span("x"):
                found = pool.submit(where).result(), next(pool.map(abs, [-1])), where()
            print(json.dumps([*found, pool.submit(where).result()]))

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_pools(method: str, tmp_path: Path) -> None:
    """What is submitted to other processes is in the session there, forked or new."""
    written = host.run(POOL, cwd=tmp_path, arguments=(method,), OTEL_TRACES_EXPORTER="none")
    there, mapped, expected, outside = json.loads(written)
    assert (there, mapped) == (expected, 1)
    assert expected[0] == "s"
    assert outside == [None, 0]


CHILD = """
    import json, os, subprocess, sys
    from opentelemetry import trace
    from tracekit.instrumentation.propagation import environment
    from tracekit.instrumentation.scope import session
    from tracekit.instrumentation.setup import configure
    from host import where

    configure(derive=False)
    if len(sys.argv) > 1:
        print(json.dumps(where()))
    else:
        with session("s"), trace.get_tracer("t").start_as_current_span("x"):
            child = subprocess.run(
                [sys.executable, __file__, "child"],
                env={**os.environ, **environment()}, capture_output=True, text=True, check=True,
            )
            print(json.dumps([json.loads(child.stdout), where()]))
"""


def test_started_programs(tmp_path: Path) -> None:
    """A program started with `environment()` goes on in session and trace of who started it."""
    there, expected = json.loads(host.run(CHILD, cwd=tmp_path, OTEL_TRACES_EXPORTER="none"))
    assert there == expected
    assert expected[0] == "s"


def test_environment_of_nothing() -> None:
    """Outside of session and span there is nothing to tell a program."""
    assert environment() == {}


@pytest.mark.parametrize("key", ["\ud800", "a\udfffb", "\0", "Müller 🙂", ""])
@pytest.mark.usefixtures("traced")
def test_odd_session_ids_travel(key: str) -> None:
    """Ids with lone surrogates or nothing in them raise nowhere, and arrive as they are here."""
    with session(key) as opened:
        assert carry(where)()[0] == opened.id == current_session()
        carried = pickle.loads(pickle.dumps(carry(current_session)))  # noqa: S301 - our own
        assert isinstance(environment(), dict)
    assert carried() == opened.id


def test_session_ids_too_long_to_travel(traced: Captured, caplog: pytest.LogCaptureFixture) -> None:
    """An id too long for baggage is whole in the process, and counted where it does not travel."""
    longest, longer = "ü" * (LONGEST // 6), "ü" * (LONGEST // 6 + 1)
    with session(longest):
        assert scope_of(propagation.restored(environment_of())).session_id == longest
    assert traced.lost == {}
    with session("outer"), session(longer):
        assert current_session() == longer
        assert "baggage" not in environment_of()
    assert set(traced.lost) == {"tracekit.drop.id_not_propagated"}
    assert caplog.text == ""


def environment_of() -> dict[str, str]:
    return {name.lower(): value for name, value in environment().items()}
