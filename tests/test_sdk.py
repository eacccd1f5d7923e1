"""The sampler inside a process keeps what the collector keeps, and never hurts its host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from collector_build import Sink
from conftest import ROOT
from engine_build import SECOND, Box, Clock, Collector, simulated
from lake_build import rows
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from otlp_build import EPOCH_NS

from samplers.collector.metrics import Registry
from samplers.collector.receivers.http import HttpServerReceiver
from samplers.collector.settings.receivers import HttpReceiver
from samplers.policy import parse, preset
from samplers.sdk import SamplingExporter
from samplers.sdk.core import Core
from samplers.sdk.settings import Settings
from tracekit.documents import DocumentError
from tracekit.errors import UsageError
from tracekit.instrumentation import runtime
from tracekit.lake import Lake
from tracekit.otlp.scan import scan
from tracekit.otlp.span_decoder import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.trace import Tracer

    from samplers.policy_model import Policy

PAGE = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
PATIENCE_MS = 120_000

HALF = """
name: half
rules:
  - {name: failures, when: stop_outcome = 'failure', keep: all}
  - {name: errors, when: tool_errors > 0 OR llm_errors > 0, probability: 0.5}
baseline: 0.25
strata: [{by: [agent_name], floor: 2, window: 1h}]
"""


class Kept(SpanExporter):
    """An exporter that keeps what it gets; it may fail or block."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.is_broken = False
        self.open = threading.Event()
        self.open.set()
        self.is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep spans."""
        self.open.wait(60)
        if self.is_broken:
            raise OSError("down")
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Take note."""
        self.is_shut = True

    def traces(self) -> Counter[str]:
        """Return how many spans of each trace came."""
        return Counter(f"{span.context.trace_id:032x}" for span in self.spans if span.context)

    def roots(self) -> dict[str, dict[str, Any]]:
        """Return the attributes of the spans that tell of the sampling, by trace."""
        return {
            f"{span.context.trace_id:032x}": dict(span.attributes or {})
            for span in self.spans
            if span.context and "tracekit.sampling.policy" in (span.attributes or {})
        }


def core(kept: Kept, policy: Policy, clock: Clock | None = None, **more: Any) -> Core:
    return Core(Settings(policy, **more), kept, clock=clock or started())


def started() -> Clock:
    """Return a clock at the beginning of a year."""
    clock = Clock()
    clock.now = EPOCH_NS
    return clock


def states(spans: Iterable[ReadableSpan]) -> set[str]:
    return {span.context.trace_state.to_header() for span in spans if span.context}


def test_it_keeps_what_the_collector_keeps(tmp_path: Path) -> None:
    """The same simulated sessions, policy and clock: the same kept spans, th, weights, ledger."""
    requests, policy = simulated(40, 6), parse("p", HALF)
    box = Box()
    collector = Collector(tmp_path / "collector", [policy], Clock(), box)
    collector.feed(requests, every=400)
    collector.finish()
    kept, clock = Kept(), Clock()
    inside = core(kept, policy, clock, lake=tmp_path / "lake", interval_s=1e9)
    for number, request in enumerate(requests):
        clock.now = max(clock.now, request.end_ns)
        inside.export(decode(request.data))
        if number % 400 == 0:
            inside.tend(at_once=True)
    clock.now += 24 * 3600 * SECOND
    for _ in range(2):
        inside.tend(at_once=True)
    inside.shutdown()
    theirs = Kept()
    theirs.spans = [span for data in box.requests for span in decode(data)]
    assert kept.traces() == theirs.traces()
    assert kept.roots() == theirs.roots()
    assert states(kept.spans) == states(theirs.spans)
    question = "SELECT session_id, kept, weight, stop_reason, cost_usd FROM sessions ORDER BY 1"
    ledger = rows(Lake.open(tmp_path / "lake"), question)
    assert ledger == rows(collector.lake, question)
    assert 0 < len(kept.roots()) < 40
    stats = inside.stats()
    assert (stats["sessions"], stats["pending_spans"], stats["pending_bytes"]) == (40, 0, 0)
    assert abs(stats["weighted_sessions"] - collector.engine.census.total.weight) < 1e-6


@contextmanager
def agent(exporter: SpanExporter, session: str) -> Iterator[Tracer]:
    """Play a session whose name says how it ends."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    done = "failed" if session.startswith("bad") else "ok"
    attributes = {"session.id": session, "tracekit.done.status": done}
    with tracer.start_as_current_span("agent", Context(), attributes=attributes):
        yield tracer


def played(exporter: SpanExporter, sessions: Iterable[str]) -> None:
    """Play sessions of two spans."""
    for session in sessions:
        with agent(exporter, session) as tracer:
            tracer.start_span("step").end()


BAD = parse("p", "name: p\nrules: [{name: bad, when: stop_outcome = 'failure', keep: all}]")


def test_a_flush_decides_what_is_complete_and_only_that() -> None:
    """Kept sessions leave whole, with their policy; one whose root still runs waits on."""
    kept = Kept()
    exporter = SamplingExporter(kept, BAD)
    with agent(exporter, "bad-2") as tracer:
        tracer.start_span("step").end()
        played(exporter, ["good-1", "bad-1"])
        assert exporter.force_flush(PATIENCE_MS)
        assert [span.name for span in kept.spans] == ["step", "agent"]
        assert "bad-1" in (kept.spans[1].attributes or {}).values()
    assert exporter.force_flush(PATIENCE_MS)
    exporter.shutdown()
    assert len(kept.spans) == 4
    assert kept.is_shut
    reasons = {found["tracekit.sampling.reasons"] for found in kept.roots().values()}
    assert reasons == {"bad"}
    assert exporter.stats()["sessions"] == 3


def test_what_is_incomplete_is_decided_at_shutdown() -> None:
    """No more of it will come from here, so it is judged as it is."""
    kept = Kept()
    inside = core(kept, preset("keep-all"))
    with agent(inside, "good") as tracer:
        tracer.start_span("step").end()
        inside.force_flush()
        assert kept.spans == []
        inside.shutdown()
        assert [span.name for span in kept.spans] == ["step"]


def test_a_full_memory_drops_who_is_quiet_longest() -> None:
    """What is dropped undecided is counted, and is in no estimate; the others are judged whole."""
    runtime.reset_counts()
    kept, clock = Kept(), started()
    inside = core(kept, preset("keep-all"), clock, max_spans=5)
    with agent(inside, "good-1") as first:
        first.start_span("step").end()
        clock.now += SECOND
        with agent(inside, "good-2") as second:
            for _ in range(5):
                second.start_span("step").end()
                clock.now += SECOND
            assert inside.stats()["pending_spans"] == 5
    inside.shutdown()
    assert [span.name for span in kept.spans].count("step") == 0
    stats = inside.stats()
    assert stats["not_estimable_sessions"] == 2
    assert runtime.counts()["tracekit.drop.sampler_full"] == 6
    assert (stats["pending_spans"], stats["pending_bytes"]) == (0, 0)
    runtime.reset_counts()


def test_a_fault_of_ours_lets_everything_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pending leaves as it came, counted; after three faults nothing is decided."""
    runtime.reset_counts()
    kept = Kept()
    inside = core(kept, parse("p", "name: p"))

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("samplers.collector.engine.Engine.tick", fail)
    for number in range(4):
        played(inside, [f"good-{number}"])
        inside.force_flush()
        assert len(kept.spans) == 2 * number + 2
    assert kept.roots() == {}
    assert runtime.counts() == {"tracekit.drop.sampler_failed": 6}
    runtime.reset_counts()


def test_an_exporter_that_fails_is_counted_and_hurts_nobody() -> None:
    """What it refuses is lost, the next session is decided all the same."""
    runtime.reset_counts()
    kept = Kept()
    kept.is_broken = True
    inside = core(kept, preset("keep-all"))
    played(inside, ["good-1"])
    inside.force_flush()
    kept.is_broken = False
    played(inside, ["good-2"])
    inside.force_flush()
    assert len(kept.spans) == 2
    assert runtime.counts() == {"tracekit.drop.export_failed": 2}
    runtime.reset_counts()


def test_a_target_that_hangs_does_not_hold_up_the_host() -> None:
    """While it hangs spans are taken, beyond the limit dropped and counted; nothing waits."""
    runtime.reset_counts()
    kept = Kept()
    exporter = SamplingExporter(kept, preset("keep-all"))
    played(exporter, ["good-1"])
    kept.open.clear()
    assert not exporter.force_flush(timeout_millis=1)
    threads = [
        threading.Thread(target=played, args=(exporter, [f"s-{n}-{m}" for m in range(20)]))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept.open.set()
    assert exporter.force_flush(PATIENCE_MS)
    exporter.shutdown()
    assert len(kept.spans) == 2 * 81
    assert set(kept.traces().values()) == {2}
    assert runtime.counts() == {}


def test_wrong_arguments_are_told_at_once(tmp_path: Path) -> None:
    """A policy with mistakes, an exporter that is none, a limit of 0: the caller's to mend."""
    file = tmp_path / "p.yaml"
    file.write_text("name: p\nbaselin: 1\n")
    with pytest.raises(DocumentError, match=r"p.yaml:2: baselin: .*did you mean baseline"):
        SamplingExporter(Kept(), file)
    with pytest.raises(UsageError, match="no policy file or preset 'keep-al'; did you mean"):
        SamplingExporter(Kept(), "keep-al")
    with pytest.raises(UsageError, match="takes a SpanExporter"):
        SamplingExporter(Kept)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="above 0"):
        SamplingExporter(Kept(), max_spans=0)


def test_without_spans_the_exporter_is_shut_down_too() -> None:
    """And nothing has been loaded for it."""
    kept = Kept()
    exporter = SamplingExporter(kept)
    assert exporter.stats() == {}
    exporter.shutdown()
    assert kept.is_shut


LEAKS = re.compile(r"nanobind: | - leaked | - \.\.\. skipped|See https://nanobind")

HOST = """
import os, sys
import tracekit
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from samplers.sdk import SamplingExporter

class Lines(SpanExporter):
    def export(self, spans):
        with open(sys.argv[1], "a") as file:
            for span in spans:
                file.write(f"{span.attributes['tracekit.session.id']}\\n")
        return SpanExportResult.SUCCESS

tracekit.configure(exporter=SamplingExporter(Lines(), "keep-all"), exit_timeout_s=500)

def play(name):
    with tracekit.session(name), tracekit.agent("support"):
        pass

play("before")
assert tracekit.flush(500)
if not (child := os.fork()):
    play("child")
    assert tracekit.flush(500)
    sys.exit(0)
play("parent")
assert os.waitpid(child, 0)[1] == 0
assert tracekit.flush(500)
"""


def test_a_forked_child_decides_its_own_sessions(tmp_path: Path) -> None:
    """Parent and child each export what they began, once, and both end as they would without."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HOST, str(tmp_path / "lines")],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
        timeout=600,
    )
    # DuckDB's binding complains that the child ends without closing what its parent opened.
    said = [line for line in done.stderr.splitlines() if not LEAKS.match(line)]
    assert (done.returncode, said) == (0, [])
    assert Counter((tmp_path / "lines").read_text().split()) == {
        "before": 1, "child": 1, "parent": 1,
    }  # fmt: skip


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    """It runs as written: what is kept arrives over OTLP, and the session is in the lake."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    sink = Sink()
    receiver = HttpServerReceiver(HttpReceiver(endpoint="127.0.0.1:0"), sink, Registry())
    receiver.start()
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nassert tracekit.flush(500)"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | endpoint,
        timeout=600,
    )
    receiver.stop(0.0)
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "answering\n")
    table = scan(b"".join(sink.requests)).table
    assert table["sampling_policy"].to_pylist() == ["keep-anomalies"]
    lake = Lake.open(tmp_path / ".tracekit")
    assert rows(lake, "SELECT session_id, kept, spans FROM sessions") == [("chat-42", True, 1)]


def test_the_docs_name_every_counter() -> None:
    """The table of counters has each thing that the sampler counts as lost."""
    folder = ROOT / "samplers" / "sdk"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    counted = set(re.findall(r'\bcount\("(\w+)"', source))
    named = set(re.findall(r"`tracekit\.drop\.(\w+)`", PAGE))
    assert named == counted | {"queue_full", "shutdown_timeout"}
