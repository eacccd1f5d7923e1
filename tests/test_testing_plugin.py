"""What tracekit offers to the tests of its users."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from host import clean_environment
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tracekit.testing
from tracekit.instrumentation import runtime
from tracekit.instrumentation.agents import agent
from tracekit.instrumentation.scope import current_session, session
from tracekit.instrumentation.setup import configure, diagnostics
from tracekit.instrumentation.tools import tool
from tracekit.testing import Captured, Clock, SequentialIds, capture

if TYPE_CHECKING:
    from pathlib import Path

EARLY = trace.get_tracer("early")
"""A tracer got at import, as most instrumentations get theirs."""


@pytest.mark.parametrize("again", [1, 2])
def test_fixture(again: int, traced: Captured, tracekit_spans: Captured) -> None:
    """The fixture has a test's own spans, with ids from 1 and a clock that stands, every time."""
    assert traced is tracekit_spans
    with EARLY.start_as_current_span("outer"):
        traced.clock.advance(1.5)
        EARLY.start_span("inner").end()
    del again
    assert traced.names == ["inner", "outer"]
    outer = traced.one("outer")
    assert outer.start_time == Clock()()
    assert outer.end_time == Clock()() + 1_500_000_000
    ids = [(span.context.trace_id, span.context.span_id) for span in traced.spans]
    assert ids == [(1, 2), (1, 1)]


def test_tree(traced: Captured) -> None:
    """Spans are printed as a tree: name, duration and error."""

    @tool
    def look(what: str) -> str:
        traced.clock.advance(2)
        raise KeyError(what)

    @agent("support")
    def work() -> str:
        try:
            return look("x")
        except KeyError:
            return "nothing"

    assert work() == "nothing"
    lines = traced.tree().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("invoke_agent support  2 s")
    assert lines[1].startswith("  execute_tool look  2 s  KeyError")


def test_one_of_a_name(traced: Captured) -> None:
    """Asking for the only span of a name fails with what there is instead."""
    EARLY.start_span("a").end()
    EARLY.start_span("b").end()
    EARLY.start_span("b").end()
    assert len(traced.named("b")) == 2
    for name in ("b", "c"):
        with pytest.raises(AssertionError, match=r"named .* among:\na\nb\nb"):
            traced.one(name)
    traced.clear()
    assert traced.spans == []


def test_everything_is_put_back() -> None:
    """What was set up before is there again afterwards, untouched."""
    provider, lost = trace.get_tracer_provider(), runtime.counts()
    before = runtime.active(), str(diagnostics()), otel.get_current()
    with session("outside"), capture() as captured:
        assert current_session() is None
        runtime.count("queue_full")
        assert captured.lost == {"tracekit.drop.queue_full": 1}
        configure(exporter=InMemorySpanExporter(), threads=True)
    assert trace.get_tracer_provider() is provider
    assert (runtime.active(), str(diagnostics()), otel.get_current()) == before
    assert runtime.counts() == lost


def test_put_back_after_a_failure() -> None:
    """An error in the code under test leaves nothing behind."""
    provider = trace.get_tracer_provider()
    with pytest.raises(ZeroDivisionError), capture():
        raise ZeroDivisionError
    assert trace.get_tracer_provider() is provider
    assert runtime.active() is None


def test_one_within_another() -> None:
    """Captures can be nested; each has its own spans."""
    with capture() as outer:
        with capture() as inner:
            EARLY.start_span("inner").end()
        EARLY.start_span("outer").end()
    assert (inner.names, outer.names) == (["inner"], ["outer"])


def test_code_under_test_configures(traced: Captured) -> None:
    """An application that configures tracekit itself is captured all the same."""
    configure()
    EARLY.start_span("x").end()
    assert traced.names == ["x"]


def test_clocks_and_ids() -> None:
    """A test can bring its own ids, and a clock that goes by itself."""
    ids = SequentialIds()
    ids.generate_trace_id()
    before = time.time_ns()
    with capture(clock=Clock.real(), ids=ids) as captured:
        captured.clock.advance(3600)
        EARLY.start_span("x").end()
    span = captured.one("x")
    assert span.start_time is not None
    assert before + 3600 * 10**9 <= span.start_time <= time.time_ns() + 3600 * 10**9
    assert span.context.trace_id == 2


def test_unknown_names() -> None:
    """The package offers what it lists, and nothing else."""
    assert tracekit.testing.capture is capture
    with pytest.raises(AttributeError, match="nonsense"):
        tracekit.testing.nonsense  # noqa: B018


USERS = """
    from opentelemetry import trace

    def test_first(traced):
        trace.get_tracer("x").start_span("x").end()
        assert traced.names == ["x"]

    def test_second(tracekit_spans):
        assert tracekit_spans.names == []
"""


def test_plugin_of_a_user(tmp_path: Path) -> None:
    """In a user's project the fixtures are there without an import, and work on their own."""
    (tmp_path / "test_users.py").write_text(
        "\n".join(line[4:] for line in USERS.splitlines()), encoding="utf-8"
    )
    done = pytest_in(tmp_path)
    assert "2 passed" in done


def pytest_in(folder: Path, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_plugin_is_light(tmp_path: Path) -> None:
    """A project whose tests do not use the fixtures does not load tracekit's instrumentation."""
    (tmp_path / "test_none.py").write_text(
        "import sys\n\ndef test_none():\n"
        "    found = [name for name in sys.modules if name.startswith(('tracekit.', 'opentel'))]\n"
        "    assert found == ['tracekit.testing', 'tracekit.testing.plugin']\n",
        encoding="utf-8",
    )
    written = pytest_in(
        tmp_path, "-p", "tracekit.testing.plugin", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"
    )
    assert "1 passed" in written
