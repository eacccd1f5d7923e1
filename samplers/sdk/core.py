"""The collector's loop inside a process: what the thread of `samplers.sdk.exporter` runs.

Everything large is imported with this module, so that only that thread pays for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from samplers.collector.decider import Decider
from samplers.collector.engine import Engine
from samplers.collector.ledger import Ledger
from samplers.collector.outcome import Accepted
from samplers.pending import Capacity
from samplers.sdk.memory import MemoryDecisions, MemoryJournal
from samplers.session_types import Limits, Verdict
from samplers.sessions import Sessions
from samplers.warm import warm
from tracekit.instrumentation.runtime import count
from tracekit.lake.lake import Lake
from tracekit.otlp.span_decoder import decode
from tracekit.otlp.span_encoder import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from samplers.sdk.settings import Settings

_log: Final = logging.getLogger("tracekit")

_SECOND: Final = 1_000_000_000
_REMEMBERED: Final = 20_000
"""Decided sessions that are remembered for their late spans."""

_FAILURES: Final = 3
"""Failures in a row after which nothing is decided any more, and everything passes."""


class Core(SpanExporter):
    """Takes spans, decides on whole sessions, passes kept ones on. For one thread.

    Attributes:
        counts: What happened, by name.
    """

    counts_losses = True

    def __init__(
        self,
        settings: Settings,
        exporter: SpanExporter,
        gate: threading.Lock | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Begin with nothing pending.

        Args:
            settings: What the exporter was told.
            exporter: Where kept sessions go.
            gate: Held while compiled code runs, not while the exporter is waited for: at the end of
                the process no thread may be stopped within DuckDB.
            clock: Nanoseconds since 1970.
        """
        warm()
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._gate = gate or threading.Lock()
        self._sink = _Passing(exporter, self._gate)
        self._clock = clock
        self._failures = 0
        self._weighted = 0.0
        self._begin()

    def _begin(self) -> None:
        settings = self._settings
        policies = settings.policy.judgements()
        self._ticked_ns = self._clock()
        self._journal = MemoryJournal()
        self._sessions = Sessions(
            Capacity(settings.max_spans, _REMEMBERED, recent=1 << 12),
            settings.policy.sessions.over(Limits()),
        )
        ledger = None
        if settings.lake is not None:
            ledger = Ledger(Lake.open(settings.lake, create=True), interval=settings.lake_seconds)
        self._engine = Engine(
            self._journal,
            MemoryDecisions(),
            self._sessions,
            Decider(policies, threads=1),  # the other cores are the host's
            sink=self._sink,
            ledger=ledger,
            clock=self._clock,
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans; once in a while decide what is over."""
        if self._failures >= _FAILURES:
            return self._sink.exporter.export(spans)
        self._attempt(lambda: self._take(spans))
        self.tend()
        return SpanExportResult.SUCCESS

    def tend(self, *, at_once: bool = False) -> None:
        """Decide what is over, when it is time; call it now and then, also without spans.

        Args:
            at_once: Do not wait for the time.
        """
        now = self._clock()
        if not at_once and now - self._ticked_ns < self._settings.interval_s * _SECOND:
            return
        self._ticked_ns = now
        self._tick(now)
        self._attempt(lambda: self._engine.freeze(now))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Decide all sessions that are complete, without the delay for spans still on their way."""
        with self._delays(root_delay=0, keyed_root_delay=0, done_delay=0):
            self._tick(self._clock(), flush=True)
        return self._sink.exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Decide everything, what is incomplete as it is: no more of it will come."""
        with self._delays(root_delay=0, keyed_root_delay=0, done_delay=0, idle=0):
            self._tick(self._clock(), flush=True)
        self._sink.exporter.shutdown()

    def stats(self) -> dict[str, float]:
        """Return what happened since the start, and what is pending."""
        engine, total = self._engine, self.counts
        return {
            **{name: total[name] + engine.counts[name] for name in ("spans", "sessions", "kept")},
            "late_spans": total["late_spans"] + engine.counts["late_spans"],
            "exported_spans": total["exported_spans"] + engine.exported_spans,
            "weighted_sessions": self._weighted + engine.census.total.weight,
            "not_estimable_sessions": total["evicted"],
            "pending_spans": self._journal.spans,
            "pending_bytes": self._journal.bytes,
        }

    def _take(self, spans: Sequence[ReadableSpan]) -> None:
        """Take spans, those of a trace as one request, so that it goes when its session goes."""
        traces: defaultdict[int, list[ReadableSpan]] = defaultdict(list)
        for span in spans:
            if span.context is not None:
                traces[span.context.trace_id].append(span)
        for group in traces.values():
            request = encode(group)
            self._make_room(len(request), len(group))
            if self._engine.receive(request) != Accepted():
                count("sampler_refused", len(group))

    def _make_room(self, size: int, spans: int) -> None:
        settings, journal = self._settings, self._journal
        while journal.spans and (
            journal.bytes + size > settings.max_bytes or journal.spans + spans > settings.max_spans
        ):
            if not self._evict():
                return

    def _evict(self) -> bool:
        """Drop the session that has been quiet for longest; nothing kept speaks for it."""
        with self._delays(root_delay=0, keyed_root_delay=0, done_delay=0, idle=0):
            due = self._sessions.due(self._clock(), limit=0)
        for one in due:
            if one.verdict is None:
                late = self._sessions.settle(one, Verdict(kept=False), self._clock())
                assert not late  # noqa: S101 - nothing came between the two lines
                self.counts["evicted"] += 1
                count("sampler_full", one.spans)
            segments, numbers = np.unique(one.rows["segment"], return_counts=True)
            for segment, number in zip(segments.tolist(), numbers.tolist(), strict=True):
                self._journal.release(segment, number)
        return bool(due)

    @contextmanager
    def _delays(self, **delays: int) -> Iterator[None]:
        """Have sessions end earlier, for now."""
        limits = self._sessions.limits
        self._sessions.limits = replace(limits, **delays)
        try:
            yield
        finally:
            if self._sessions.limits == replace(limits, **delays):
                self._sessions.limits = limits

    def _tick(self, now_ns: int, *, flush: bool = False) -> None:
        if self._attempt(lambda: self._engine.tick(now_ns, flush=flush)):
            self._failures = 0

    def _attempt(self, step: Callable[[], None]) -> bool:
        """Fail open: after a fault of ours what is pending leaves as it came, and we begin anew."""
        with self._gate:
            try:
                step()
            except Exception:  # noqa: BLE001 - whatever it is, the application goes on
                self._fail_open()
                return False
        return True

    def _fail_open(self) -> None:
        self._failures += 1
        held, spans = self._journal.requests(), self._journal.spans
        _log.warning(
            "tracekit: the sampler failed; %d spans leave as they came%s",
            spans,
            ", and so will all others" if self._failures == _FAILURES else "",
            exc_info=True,
        )
        count("sampler_failed", spans)
        self.counts.update(self._engine.counts)
        self.counts["exported_spans"] += self._engine.exported_spans
        self._weighted += self._engine.census.total.weight
        self._begin()
        for request in held:
            self._sink.put(request, 0)


class _Passing:
    """Hands requests to an exporter of the SDK, as the spans they hold.

    Args:
        exporter: The exporter.
        gate: Held by whoever calls; open while the exporter is waited for.
    """

    def __init__(self, exporter: SpanExporter, gate: threading.Lock) -> None:
        self.exporter = exporter
        self._gate = gate

    def put(self, request: bytes, spans: int) -> None:
        """Export a request; what the exporter refuses is lost, and counted."""
        del spans
        found = decode(request)
        self._gate.release()
        try:
            is_lost = self.exporter.export(found) is SpanExportResult.FAILURE
        except Exception:  # noqa: BLE001 - an exporter may raise anything
            _log.warning("tracekit: the exporter of kept sessions failed", exc_info=True)
            is_lost = True
        finally:
            self._gate.acquire()
        if is_lost and not getattr(self.exporter, "counts_losses", False):
            count("export_failed", len(found))
