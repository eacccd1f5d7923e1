"""Everything goes wrong around us: the host goes on as without us, and what was lost is counted."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import TYPE_CHECKING, Any

import pytest
from host import run
from opentelemetry import trace

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

    configure(derive=False)
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
    assert list(tmp_path.glob(".tracekit/inbox/*"))


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
