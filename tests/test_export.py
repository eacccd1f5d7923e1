"""The way out: nothing there blocks the host, grows without limit, or loses spans silently."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from host import run, unconfigured
from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tracekit.instrumentation import runtime
from tracekit.instrumentation.export import WORKER, BoundedProcessor, Limits
from tracekit.instrumentation.scope import session
from tracekit.instrumentation.setup import configure, diagnostics, flush, shutdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit.testing import Captured


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with unconfigured():
        yield


def make_spans(number: int = 1) -> None:
    tracer = trace.get_tracer("foreign")
    for _ in range(number):
        with tracer.start_as_current_span("x"):
            pass


class Raising(SpanExporter):
    """Raises whatever it is told to, at everything."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raise."""
        del spans
        raise self.error

    def shutdown(self) -> None:
        """Raise."""
        raise self.error

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Raise."""
        del timeout_millis
        raise self.error


class Refusing(SpanExporter):
    """Reports failure, as an exporter does whose endpoint refuses."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Fail."""
        del spans
        return SpanExportResult.FAILURE


class Stuck(SpanExporter):
    """Never comes back until it is freed."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.free = threading.Event()
        self.spans = 0
        self.context: Context | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait to be freed."""
        self.context = get_current()
        self.reached.set()
        self.free.wait()
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), SystemExit(1), KeyboardInterrupt()], ids=repr
)
def test_exporter_raises(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that raises costs the spans, which are counted; it is told once per cause."""
    configure(exporter=Raising(error))
    for _ in range(3):
        make_spans(2)
        assert not flush()
    assert diagnostics() == {"tracekit.drop.export_failed": 6}
    assert caplog.text.count("raised") == 2  # at export, and at flush
    shutdown()
    assert diagnostics() == {"tracekit.drop.export_failed": 6}


@pytest.mark.usefixtures("unset")
def test_exporter_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """Spans an exporter reports as failed are counted, and told of once."""
    configure(exporter=Refusing())
    for _ in range(3):
        make_spans()
        assert not flush()
    assert diagnostics() == {"tracekit.drop.export_failed": 3}
    assert caplog.text.count("could not export") == 1


@pytest.mark.usefixtures("unset")
def test_spans_that_failed_before_the_flush() -> None:
    """A flush tells of all spans since the one before, also of a batch that failed by itself."""

    class Said(Refusing):
        """Says that it was asked."""

        def __init__(self) -> None:
            self.asked = threading.Event()

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            """Fail."""
            self.asked.set()
            return super().export(spans)

    said = Said()
    export, tracer = bounded(said, Limits(delay_s=0))
    tracer.start_span("x").end()
    said.asked.wait()
    assert not export.force_flush()
    assert export.force_flush()
    export.shutdown()
    runtime.reset_counts()


def bounded(exporter: SpanExporter, limits: Limits) -> tuple[BoundedProcessor, trace.Tracer]:
    export = BoundedProcessor(exporter, limits)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    return export, provider.get_tracer("x")


@pytest.mark.usefixtures("traced")
def test_exporter_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    """While an exporter hangs the host goes on; what does not fit the queue is counted."""
    stuck = Stuck()
    export, tracer = bounded(stuck, Limits(queue=10, batch=5))
    for _ in range(5):
        tracer.start_span("first").end()
    stuck.reached.wait()
    for _ in range(25):
        tracer.start_span("more").end()
    assert runtime.counts() == {"tracekit.drop.queue_full": 15}
    assert caplog.text.count("faster than they are exported") == 1
    assert not export.force_flush(1)
    export.shutdown(0)
    assert runtime.counts()["tracekit.drop.shutdown_timeout"] == 15
    tracer.start_span("late").end()
    assert runtime.counts()["tracekit.drop.after_shutdown"] == 1
    stuck.free.set()
    export._finished.wait()  # noqa: SLF001 - the end of its thread
    assert stuck.spans == 5
    assert not export.force_flush()


@pytest.mark.usefixtures("traced")
def test_export_is_outside_of_the_session() -> None:
    """Export happens in no session and with instrumentation suppressed, whoever started it."""
    stuck = Stuck()
    stuck.free.set()
    export, tracer = bounded(stuck, Limits(batch=1))
    with session("s"):
        tracer.start_span("x").end()
        assert export.force_flush()
    export.shutdown()
    assert stuck.context is not None
    assert [value for value in stuck.context.values() if value is not True] == []


@pytest.mark.usefixtures("traced")
def test_flush_from_the_exporter() -> None:
    """An exporter that flushes tracing does not wait for itself."""

    class Flushing(Refusing):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            del spans
            found.append(export.force_flush())
            return SpanExportResult.SUCCESS

    found: list[bool] = []
    export, tracer = bounded(Flushing(), Limits())
    tracer.start_span("x").end()
    assert export.force_flush()
    export.shutdown()
    assert found == [False]


@pytest.mark.usefixtures("traced")
def test_unused_export() -> None:
    """An export without spans starts no thread, and still shuts its exporter down."""
    memory = InMemorySpanExporter()
    before = set(threading.enumerate())
    export, _ = bounded(memory, Limits())
    export.shutdown()
    assert set(threading.enumerate()) <= before
    assert memory.export(()) is SpanExportResult.FAILURE


@pytest.mark.usefixtures("traced")
def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread, spans wait for one up to the limit, and are counted."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    memory = InMemorySpanExporter()
    export, tracer = bounded(memory, Limits(queue=3))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(5):
            tracer.start_span("x").end()
        assert not export.force_flush()
    assert runtime.counts()["tracekit.drop.queue_full"] == 2
    assert export.force_flush()
    export.shutdown()
    assert len(memory.get_finished_spans()) == 3


@pytest.mark.usefixtures("traced")
def test_spans_end_in_finalizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that ends while another one starts our thread, as in a finalizer, blocks nothing."""
    memory = InMemorySpanExporter()
    export, tracer = bounded(memory, Limits(batch=1))
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        tracer.start_span("finalizer").end()
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        tracer.start_span("outer").end()
    assert export.force_flush()
    export.shutdown()
    assert [span.name for span in memory.get_finished_spans()] == ["outer", "finalizer"]


BLACK_HOLE = """
    from opentelemetry import trace
    from tracekit.instrumentation.setup import configure, diagnostics, flush
    configure(derive=False, exit_timeout_s=0.05)
    tracer = trace.get_tracer("x")
    for _ in range(3000):
        tracer.start_span("x").end()
    print(flush(0.01), sum(diagnostics().values()) > 0)
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_endpoint_never_answers(protocol: str, tmp_path: Path) -> None:
    """An endpoint that swallows everything neither blocks the host nor keeps it from ending."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        written = run(
            BLACK_HOLE,
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{hole.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_TIMEOUT="100000",
        )
    assert written.startswith("False True\n")
    assert "gave up" in written


NOBODY = """
    from opentelemetry import trace
    from tracekit.instrumentation.setup import configure, diagnostics, flush
    configure(derive=False)
    for _ in range(3):
        trace.get_tracer("x").start_span("x").end()
        flush()
    print(diagnostics()["tracekit.drop.export_failed"])
"""


def test_endpoint_is_not_there(tmp_path: Path) -> None:
    """Spans for an endpoint nobody serves are counted, and told of once, not at every batch."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    written = run(
        NOBODY,
        cwd=tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_TIMEOUT="0.05",
    )
    assert written.startswith("3\n")
    assert written.count("could not export spans") == 1
    assert written.count("Failed to export") <= 1


FULL_DISK = """
    import resource
    from opentelemetry import trace
    from tracekit.instrumentation.setup import configure, diagnostics, flush
    configure(derive=False)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    for _ in range(5):
        trace.get_tracer("x").start_span("x" * 200).end()
        assert not flush()
    lost = dict(diagnostics())
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    trace.get_tracer("x").start_span("y").end()
    print(lost, flush())
"""


def test_disk_is_full(tmp_path: Path) -> None:
    """Spans a full disk does not take are counted; once there is room, spans are written again."""
    written = run(FULL_DISK, cwd=tmp_path)
    assert written.startswith("{'tracekit.drop.export_failed': 5} True\n")
    assert written.count("cannot be written") == 1
    assert "could not export" not in written


def test_forked_child_that_leaves_spans_open(
    traced: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child remembers only so many open spans; the oldest beyond are given up and counted."""
    del traced
    monkeypatch.setattr("tracekit.instrumentation.export.OPEN_LIMIT", 2)
    memory = InMemorySpanExporter()
    export, tracer = bounded(memory, Limits())
    export._after_fork()  # noqa: SLF001 - what the fork of this process would call
    spans = [tracer.start_span(str(number)) for number in range(4)]
    for span in spans:
        span.end()
    assert export.force_flush()
    export.shutdown()
    assert [span.name for span in memory.get_finished_spans()] == ["2", "3"]
    assert runtime.counts() == {"tracekit.drop.open_spans": 2}


def test_logs_of_the_host_pass(caplog: pytest.LogCaptureFixture) -> None:
    """Only what our own thread repeats is held back; the host's exporters log as ever."""
    with unconfigured():
        configure(exporter=InMemorySpanExporter())
        logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        for _ in range(2):
            logger.warning("the host's")
    assert caplog.text.count("the host's") == 2
    assert threading.current_thread().name != WORKER
    attach(Context())
