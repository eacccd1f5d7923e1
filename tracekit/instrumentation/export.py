"""The way out: a queue with a limit and one thread that exports, so that the host never waits.

The SDK's batch processor is not used: it drops the oldest span without counting it, logs every drop
and every failed batch, ignores the time limit of a flush, waits up to 30 s at the end for an
endpoint that does not answer, and exports from a forked child the spans its parent opened.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # what exporting threads set; there is no public way
    Context,
    attach,
)
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracekit.instrumentation.runtime import count, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log: Final = logging.getLogger("tracekit")

WORKER: Final = "tracekit-export"
"""Name of the thread that exports."""

OPEN_LIMIT: Final = 100_000
"""Most spans a forked child may have open; the oldest beyond are given up and counted."""


_CAUSES: Final = 100
"""Most different failures that are told of."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much waits, and how long.

    Attributes:
        queue: Most ended spans that wait for export.
        batch: Most spans of one export.
        delay_s: Longest time an ended span waits for its batch to fill.
        exit_s: Longest time the end of the process waits for export.
    """

    queue: int = 2048
    batch: int = 512
    delay_s: float = 5.0
    exit_s: float = 2.0


class _Flush:
    """A mark in the queue: what stands before it has been exported when it is reached."""

    __slots__ = ("done", "is_lossless")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.is_lossless = False


class _Latch:
    """An event that bears a wait for it being interrupted by a signal whose handler waits too.

    Whoever waits for an event of `threading` holds a lock for a moment; interrupted there, it would
    keep out the one that sets the event.
    """

    __slots__ = ("_is_set", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Let all pass, from now on."""
        self._is_set = True
        with suppress(RuntimeError):  # it was set before
            self._lock.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        limit = -1 if timeout_s is None else max(0.0, timeout_s)
        if not self._is_set and self._lock.acquire(timeout=limit):
            self._lock.release()
        return self._is_set


class NoExporter(SpanExporter):
    """Stands for an exporter that could not be made: what it is given is lost, and counted."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Report failure."""
        del spans
        return SpanExportResult.FAILURE


class BoundedProcessor(SpanProcessor):
    """Exports ended spans from a thread of its own; the host never waits for it.

    What does not fit is dropped, newest first, and counted. After a fork the child exports the
    spans it started, the parent all others, each once. An exporter that has a method `tend` is
    called by it at least every `delay_s`, with or without spans.

    Attributes:
        exporter: Where spans go; None until it is made, in a forked child too.
    """

    def __init__(
        self,
        exporter: SpanExporter | None,
        limits: Limits | None = None,
        renew: Callable[[], SpanExporter] | None = None,
        *,
        sees_starts: bool = True,
    ) -> None:
        """Make a processor; its thread starts with the first span.

        Args:
            exporter: Where spans go; None to have it made by `renew`, from the thread.
            limits: How much waits, and how long.
            renew: Makes the exporter of a forked child, for one whose connections or files cannot
                be shared with the parent.
            sees_starts: Whether it is told of spans that start. Otherwise somebody else has seen
                to it that a forked child is given its own spans only.
        """
        self.limits = limits or Limits()
        self.exporter: SpanExporter | None = exporter
        self._renew = renew
        self._sees_starts = sees_starts
        self._inherited: SpanExporter | None = None
        self._closed = False
        self._close = True
        self._told: set[str] = set()
        self._own: dict[int, None] | None = None
        self._begin()
        weakly = weakref.WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: (again := weakly()) and again())

    def _begin(self) -> None:
        self._queue: deque[ReadableSpan | _Flush] = deque()
        # Spans also end in finalizers, in the middle of anything a thread of ours or the host's
        # does: what they touch here must bear being entered again. Events and locks do not.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._woken = False
        self._finished = _Latch()
        self._starting = threading.Lock()
        self._worker: threading.Thread | None = None
        self._abandoned = False
        self._in_flight = 0
        self._failures = 0
        self._failures_told = 0

    def _after_fork(self) -> None:
        self._begin()
        self._own = {} if self._sees_starts else None
        if self._renew is not None:
            # Kept alive: closing it here would close what the parent still uses.
            self._inherited, self.exporter = self.exporter, None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Remember what a forked child started."""
        own = self._own
        if own is not None:
            own[span.get_span_context().span_id] = None
            if len(own) > OPEN_LIMIT:
                with suppress(RuntimeError, StopIteration):  # another thread was faster
                    own.pop(next(iter(own)), None)
                    count("open_spans")

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue; never raises, never waits."""
        context = span.context
        if context is None:
            return
        if self._own is not None and self._own.pop(context.span_id, self) is self:
            return  # the parent process opened it, and exports it
        if not context.trace_flags.sampled:
            return
        if self._closed:
            count("after_shutdown")
            return
        waiting = len(self._queue)
        if waiting >= self.limits.queue:
            count("queue_full")
            self._tell("queue", "spans end faster than they are exported; the rest is dropped")
            return
        self._queue.append(span)
        if self._worker is None:
            self._start()
        elif waiting + 1 >= self.limits.batch and not self._woken:
            self._wake_up()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended.

        Returns:
            Whether all that ended since the last flush was exported, and in time.
        """
        if self._closed:
            return self._finished.is_set() and not self._abandoned
        if self._worker is None and not self._queue:
            return True
        if threading.current_thread() is self._worker or not self._start():
            return False
        mark = _Flush()
        self._queue.append(mark)
        self._wake_up()
        return mark.done.wait(timeout_millis / 1000) and mark.is_lossless

    def shutdown(self, timeout_s: float | None = None, *, close: bool = True) -> None:
        """Export what has ended, and stop. What cannot be exported in time is dropped and counted.

        Args:
            timeout_s: Longest time to wait; that of the limits.
            close: Shut the exporter down too.
        """
        if not self._closed:
            self._close = close
            self._closed = True
        elif self._finished.is_set() or self._abandoned:
            return
        # Else a signal came while the process was ending: its handler waits for the same.
        if self._worker is None and not self._queue:
            self._finish()  # a thread cannot always be started at the end of a process
            return
        self._wake_up()
        timeout_s = self.limits.exit_s if timeout_s is None else timeout_s
        if (self._start() and self._finished.wait(timeout_s)) or self._abandoned:
            return
        self._abandoned = True
        waiting = sum(not isinstance(item, _Flush) for item in tuple(self._queue))
        if lost := waiting + self._in_flight:
            count("shutdown_timeout", lost)
            log.warning("tracekit gave up %d spans that were not exported in time", lost)

    def _wake_up(self) -> None:
        self._woken = True
        self._wake.put(None)

    def _start(self) -> bool:
        """Start the thread, and return whether there is one."""
        if self._worker is None and self._starting.acquire(blocking=False):
            try:
                worker = threading.Thread(target=self._run, name=WORKER, daemon=True)
                worker.start()
                self._worker = worker
            except RuntimeError:  # out of threads, or the interpreter is going down
                failed("export.start")
                return False
            finally:
                self._starting.release()
        return True

    def _run(self) -> None:
        # Neither the session of whoever ended the first span, nor spans about our own requests.
        attach(Context({_SUPPRESS_INSTRUMENTATION_KEY: True}))
        while not self._closed:
            with suppress(Empty):
                self._wake.get(timeout=self.limits.delay_s)
            self._woken = False
            self._drain()
            if (tend := getattr(self.exporter, "tend", None)) is not None:
                self._guard("tend", tend)
        self._drain()
        self._finish()

    def _finish(self) -> None:
        if self._close and self.exporter is not None:
            self._guard("shutdown", self.exporter.shutdown)
        self._finished.set()

    def _drain(self) -> None:
        while self._queue and not self._abandoned:
            batch: list[ReadableSpan] = []
            mark: _Flush | None = None
            while self._queue and len(batch) < self.limits.batch and mark is None:
                item = self._queue.popleft()
                if isinstance(item, _Flush):
                    mark = item
                else:
                    batch.append(item)
                    self._in_flight = len(batch)
            if batch:
                self._export(batch)
            if mark is not None:
                flush = None if self.exporter is None else self.exporter.force_flush
                if flush is not None and self._guard("flush", flush) is False:
                    self._failures += 1
                # Also what failed on its own shortly before: a flush is asked what became of it.
                mark.is_lossless = self._failures == self._failures_told
                self._failures_told = self._failures
                mark.done.set()

    def _export(self, batch: list[ReadableSpan]) -> None:
        lost = self._guard("export", lambda: self._send(batch))
        if lost and not self._abandoned:
            count("export_failed", len(batch))
        self._in_flight = 0

    def _send(self, batch: list[ReadableSpan]) -> bool:
        """Export, and return whether spans were lost that nobody counted."""
        if self.exporter is None and self._renew is not None:
            self.exporter = self._renew()
        assert self.exporter is not None  # noqa: S101 - there is one, or a way to make one
        if self.exporter.export(batch) is not SpanExportResult.FAILURE:
            return False
        self._failures += 1
        if getattr(self.exporter, "counts_losses", False):
            return False
        self._tell("refused", "the exporter could not export spans")
        return True

    def _guard(self, site: str, action: Callable[[], object]) -> object:
        """Return what an exporter returns, or True where it raises."""
        try:
            return action()
        except BaseException as error:  # noqa: BLE001 - nothing of an exporter may end our thread
            self._failures += 1
            kind = type(error).__qualname__
            self._tell(f"{site} {kind}", f"the exporter raised {kind} at {site}: {error}")
            return True

    def _tell(self, cause: str, message: str) -> None:
        if cause not in self._told and len(self._told) < _CAUSES:
            self._told.add(cause)
            log.warning("tracekit: %s; counted in tracekit.diagnostics(), not told again", message)
