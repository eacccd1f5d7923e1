"""Everything goes wrong around us: the host goes on as without us, and what was lost is counted."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from host import run
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import attach

from tracekit.instrumentation import names, processor, runtime, sampler
from tracekit.instrumentation.agents import agent
from tracekit.instrumentation.scope import current_session, session
from tracekit.instrumentation.tools import tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from opentelemetry.context import Context

    from tracekit.testing import Captured


def make_spans(number: int = 1) -> None:
    tracer = trace.get_tracer("foreign")
    for _ in range(number):
        with tracer.start_as_current_span("x"):
            pass


FORK = """
    import json, os, sys
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from tracekit.instrumentation.setup import configure, diagnostics, flush

    class Lines(SpanExporter):
        def export(self, spans):
            for span in spans:
                line = json.dumps([os.getpid() == parent, span.name])
                os.write(out, line.encode() + b"\\n")
            return SpanExportResult.SUCCESS

    parent = os.getpid()
    out = os.open("spans.jsonl", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    configure(derive=False, exporter=Lines())
    tracer = trace.get_tracer("x")
    tracer.start_span("queued").end()
    with tracer.start_as_current_span("open"):
        child = os.fork()
        with tracer.start_as_current_span("after"):
            pass
    tracer.start_span("last").end()
    assert flush()
    if child:
        assert os.waitpid(child, 0)[1] == 0
    assert not diagnostics()
"""


def test_fork(tmp_path: Path) -> None:
    """A forked child exports what it started, its parent what was queued or open, each once."""
    run(FORK, cwd=tmp_path)
    found = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    parents = sorted(name for is_parent, name in found if is_parent)
    children = sorted(name for is_parent, name in found if not is_parent)
    assert parents == ["after", "last", "open", "queued"]
    assert children == ["after", "last"]


WORKERS = """
    import multiprocessing, sys
    from opentelemetry import trace
    from tracekit.instrumentation.setup import configure

    def work():
        trace.get_tracer("x").start_span("worker").end()

    configure(derive=False, exit_timeout_s=60)
    if __name__ == "__main__":
        process = multiprocessing.get_context(sys.argv[1]).Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes(method: str, tmp_path: Path) -> None:
    """Spans of a worker process are written when it ends, though it runs no exit functions."""
    assert run(WORKERS, cwd=tmp_path, arguments=(method,)) == ""
    assert list(tmp_path.glob(".tracekit/inbox/*.otlp"))


POOL = """
    import multiprocessing, sys
    import tracekit

    @tracekit.tool
    def double(number):
        return 2 * number

    tracekit.configure(derive=False, exit_timeout_s=60)
    if __name__ == "__main__":
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            assert pool.map(double, range(6), chunksize=1) == [0, 2, 4, 6, 8, 10]
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_pool(method: str, tmp_path: Path) -> None:
    """Spans of a pool's workers are written though leaving the pool terminates them."""
    assert run(POOL, cwd=tmp_path, arguments=(method,)) == ""
    written = b"".join(path.read_bytes() for path in tmp_path.glob(".tracekit/inbox/*.otlp"))
    assert written.count(b"execute_tool double") == 6


ENDING = """
    import multiprocessing, os, signal
    import tracekit
    from tracekit.instrumentation.providers import INSTALLED

    def work():
        with tracekit.tool("x"):
            pass
        with INSTALLED.lock:  # as while it is shut down at the end of the process
            os.kill(os.getpid(), signal.SIGTERM)

    tracekit.configure(derive=False, exit_timeout_s=60)
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_worker_that_is_terminated_while_it_ends(tmp_path: Path) -> None:
    """A pool terminates its workers when they are done, and may interrupt their own shutdown."""
    assert run(ENDING, cwd=tmp_path, OTEL_BSP_SCHEDULE_DELAY="1000000") == "-15\n"
    written = b"".join(path.read_bytes() for path in tmp_path.glob(".tracekit/inbox/*.otlp"))
    assert written.count(b"execute_tool x") == 1


TERMINATED = """
    import multiprocessing, os, signal, sys, threading
    import tracekit
    from opentelemetry.sdk.trace.export import SpanExporter

    class Stuck(SpanExporter):
        def export(self, spans):
            threading.Event().wait()

    def work(ready, own):
        if own:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        tracekit.configure(derive=False, exit_timeout_s=0.01, exporter=Stuck())
        with tracekit.tool("x"):
            ready.set()
            threading.Event().wait()

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        for own, code in ((False, -signal.SIGTERM), (True, 7)):
            ready = context.Event()
            process = context.Process(target=work, args=(ready, own))
            process.start()
            ready.wait()
            process.terminate()
            process.join()
            assert process.exitcode == code
        tracekit.configure(derive=False)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""


def test_terminated_workers(tmp_path: Path) -> None:
    """SIGTERM ends a worker as ever, with a stuck exporter too; handlers of the host's stay."""
    run(TERMINATED, cwd=tmp_path)


def test_ten_thousand_tasks(traced: Captured) -> None:
    """Ten thousand concurrent tasks in sessions of their own keep them apart."""
    number = 10_000

    @agent
    async def work(task: int) -> tuple[int, str | None]:
        await asyncio.sleep(0)
        return task, current_session()

    async def one(task: int) -> tuple[int, str | None]:
        with session(f"session-{task}"):
            return await work(task)

    async def every() -> list[tuple[int, str | None]]:
        return await asyncio.gather(*(one(task) for task in range(number)))

    assert asyncio.run(every()) == [(task, f"session-{task}") for task in range(number)]
    found = {(span.attributes or {})[names.SESSION_ID] for span in traced.spans}
    assert found == {f"session-{task}" for task in range(number)}
    assert len(traced.spans) == number
    assert traced.lost == {}


def test_exception_groups(traced: Captured) -> None:
    """An exception group passes through as it was, and every task that failed says so."""

    @tool
    async def fails(error: type[Exception]) -> None:
        await asyncio.sleep(0)
        raise error

    @agent
    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(ValueError))
            group.create_task(fails(KeyError))

    with pytest.RaisesGroup(ValueError, KeyError):
        asyncio.run(work())
    errors = [(span.attributes or {})[names.ERROR_TYPE] for span in traced.spans]
    assert sorted(map(str, errors)) == ["ExceptionGroup", "KeyError", "ValueError"]
    assert traced.lost == {}


def test_cancelled_in_the_middle(traced: Captured) -> None:
    """A cancelled stream ends as it would without us, and nothing of it is left open."""
    closed = []

    @agent
    async def stream() -> AsyncGenerator[int, None]:
        try:
            for number in range(100):
                yield number
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    async def consume() -> None:
        async for number in stream():
            if number == 3:
                current = asyncio.current_task()
                assert current is not None
                current.cancel()

    async def main() -> bool:
        task = asyncio.create_task(consume())
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
    assert closed == [True]
    assert len(traced.spans) == 1
    assert traced.lost == {}


def test_generator_abandoned(traced: Captured) -> None:
    """A generator nobody finishes is closed as ever, and its step with it."""
    closed = []

    @agent
    def stream() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    generator = stream()
    assert next(generator) == 1
    assert trace.get_current_span() is trace.INVALID_SPAN
    del generator
    gc.collect()
    assert closed == [True]
    assert len(traced.spans) == 1
    assert traced.lost == {}


def test_async_generator_abandoned(traced: Captured) -> None:
    """An asynchronous generator nobody finishes is closed by its loop, and its step with it."""
    closed = []

    @agent
    async def stream() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.sleep(0)
            yield 2
        finally:
            closed.append(True)

    async def main() -> int:
        async for number in stream():
            return number
        return 0

    assert asyncio.run(main()) == 1
    gc.collect()
    assert closed == [True]
    assert len(traced.spans) == 1
    assert traced.lost == {}


@pytest.mark.parametrize("place", [processor, sampler], ids=["processor", "sampler"])
def test_our_own_failure(
    place: Any, traced: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of ours is logged once, counted, and switched off when it goes on; spans stay."""

    def fail(_: Context) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(place, "scope_of", fail)
    with session("s"):
        make_spans(runtime.LATCH + 5)
    assert len(traced.spans) == runtime.LATCH + 5
    assert traced.lost == {"tracekit.drop.internal_error": runtime.LATCH}
    assert caplog.text.count("goes on without it") == 1
    assert caplog.text.count("stops trying") == 1


def closed_elsewhere(generator: Generator[Any, None, None]) -> None:
    """Close a generator in another thread than it began in."""
    thread = threading.Thread(target=generator.close)
    thread.start()
    thread.join()


@pytest.mark.parametrize("kind", [session, agent, tool])
def test_left_in_another_thread(
    kind: Any, traced: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    """A `with` in a generator that another thread closes ends as ever, and nothing is logged."""

    def stream() -> Generator[int, None, None]:
        with kind("s"):
            yield 1

    generator = stream()
    next(generator)
    closed_elsewhere(generator)
    assert len(traced.spans) == (0 if kind is session else 1)
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []
    assert traced.lost == {}
    detach_all()


def test_a_shared_instrument_left_in_another_thread(traced: Captured) -> None:
    """Where it cannot be told which of the open steps ended, none of another request's is ended."""
    shared = agent("shared")

    def stream() -> Generator[int, None, None]:
        with shared:
            yield 1

    generator = stream()
    next(generator)
    detach_all()
    with shared as step:
        closed_elsewhere(generator)
        assert traced.spans == []
        step.set("mine", 1)
    assert [(span.attributes or {})["mine"] for span in traced.spans] == [1]
    assert traced.lost == {"tracekit.drop.open_spans": 1}
    with shared:
        pass
    assert len(traced.spans) == 2


@pytest.mark.usefixtures("traced")
def test_left_without_being_entered() -> None:
    """Leaving what was never entered, or once too often, does nothing."""
    shared = agent("shared")
    shared.__exit__(None, None, None)
    with shared:
        shared.__exit__(None, None, None)
    assert current_session() is None


def detach_all() -> None:
    """Make nothing current, as in a new thread: a generator closed elsewhere leaves its context."""
    attach(otel.Context())
