"""Record what the instrumentation writes: `with recorded() as spans: ...; spans.one("task x")`.

A real SDK provider, an exporter that keeps the spans, and a clock that is moved by hand. What was
written can be run through the models of the lake: `spans.ledger()`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
from models_build import RECORDED_NS
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_current_span
from otlp_build import EPOCH_NS

from tracekit.instrumentation.processor import OWN
from tracekit.instrumentation.runtime import (
    Runtime,
    Settings,
    activate,
    counts,
    deactivate,
    reset_counts,
)
from tracekit.instrumentation.setup import deriver
from tracekit.models import run
from tracekit.otlp.reference import scan_reference

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recording:
    """What was written so far.

    Attributes:
        now_ns: What the clock says; every reading moves it on by a millisecond.
    """

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.now_ns = EPOCH_NS

    def clock(self) -> int:
        """Return the time."""
        self.now_ns += 1_000_000
        return self.now_ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * 1e9)

    def all(self) -> list[ReadableSpan]:
        """Return the spans that ended, by their start."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def names(self) -> list[str]:
        """Return their names."""
        return [span.name for span in self.all()]

    def named(self, name: str) -> list[ReadableSpan]:
        """Return those of a name."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        (span,) = self.named(name)
        return span

    def values(self, name: str, key: str) -> list[Any]:
        """Return an attribute of the spans of a name; None where it is missing."""
        return [attributes(span).get(key) for span in self.named(name)]

    def parent(self, span: ReadableSpan) -> str | None:
        """Return the name of a span's parent."""
        if span.parent is None:
            return None
        names = {context_of(each).span_id: each.name for each in self.all()}
        return names.get(span.parent.span_id)

    def ledger(self) -> duckdb.DuckDBPyConnection:
        """Return the tables the models of the lake make of them."""
        con = duckdb.connect()
        data = encode_spans(self.all()).SerializeToString()
        run(con, scan_reference(data), recorded_ns=RECORDED_NS)
        return con

    def stops(self) -> list[tuple[str, str]]:
        """Return the stop codes by task: as derived in process, and as the lake derives them."""
        live = {
            attributes(span).get("tracekit.task.id"): attributes(span)["tracekit.stop.reason"]
            for span in self.all()
            if "tracekit.stop.reason" in attributes(span)
        }
        found = self.ledger().execute("SELECT task_id, session_id, stop_reason FROM tasks")
        return [
            (live[None if task_id == session_id else task_id], reason)
            for task_id, session_id, reason in found.fetchall()
        ]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


def context_of(span: ReadableSpan) -> Any:
    """Return a span's context."""
    assert span.context is not None
    return span.context


def current_name() -> str | None:
    """Return the name of the current span."""
    return getattr(get_current_span(), "name", None)


def hex_id(span: ReadableSpan) -> str:
    """Return a span's id as the lake writes it."""
    return f"{context_of(span).span_id:016x}"


@contextmanager
def recorded(**settings: Any) -> Iterator[Recording]:
    """Switch tracekit on, with a recording instead of an export; nothing of ours may fail."""
    recording = Recording()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(recording.exporter))
    reset_counts()
    tracer = provider.get_tracer(OWN)
    activate(Runtime(tracer, Settings(**settings), clock=recording.clock, deriver=deriver()))
    try:
        yield recording
    finally:
        deactivate()
        provider.shutdown()
    assert "tracekit.drop.internal_error" not in counts()
