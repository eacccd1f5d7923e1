"""An exporter of the SDK that passes on the sessions a policy keeps.

    exporter = SamplingExporter(OTLPSpanExporter(), policy="policy.yaml")
    tracekit.configure(exporter=exporter)

It goes wherever a SpanExporter goes. Spans are taken into a queue with a limit; one thread of its
own groups them by session, decides on whole sessions as the collector does, by the same code, and
hands kept ones to the exporter it wraps. The host neither waits for that nor sees it fail.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from samplers import policy as policies
from samplers.policy_model import Policy
from samplers.sdk.settings import Settings
from tracekit.errors import UsageError
from tracekit.instrumentation.export import BoundedProcessor, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

_QUEUE: Final = Limits(queue=20_000, batch=2048, delay_s=1.0, exit_s=10.0)
"""Spans that wait for the thread; it is away for a second or so while it decides."""


_EXIT_S: Final = 300.0
"""At the end of the process, for the thread to come out of compiled code: a second, or as long as
compiling takes where the package has never run."""


class SamplingExporter(SpanExporter):
    """Passes on the sessions that a policy keeps, whole.

    Each span leaves with `th` in its tracestate and the root with `tracekit.sampling.*`, as from
    the collector. Sessions are decided when they are over (the policy's `sessions`), those that
    are complete also at `force_flush`, and at `shutdown` all, as they are. When memory is full the
    session that has been quiet for longest is dropped: counted as `sampler_full`, and not
    estimable. What was lost is in `tracekit.diagnostics()`.

    Attributes:
        counts_losses: Whoever exports must not count a failure again.
    """

    counts_losses = True

    def __init__(  # noqa: PLR0913 - each is told by name
        self,
        exporter: SpanExporter,
        policy: str | os.PathLike[str] | Policy = policies.PRESETS[0],
        *,
        lake: str | os.PathLike[str] | None = None,
        max_spans: int = 50_000,
        max_bytes: int = 64 << 20,
        interval_s: float = 5.0,
    ) -> None:
        """Wrap an exporter; the thread starts with the first span.

        Args:
            exporter: Where kept sessions go.
            policy: A policy file, the name of a preset, or a policy.
            lake: Folder of a lake that gets a row for every session, kept or not, and the spans of
                kept ones.
            max_spans: Spans that may wait for their session to end.
            max_bytes: Bytes of them, as OTLP.
            interval_s: Seconds between two rounds of decisions; a round runs the models once.

        Raises:
            UsageError: An argument is wrong, or there is no such policy.
            DocumentError: The policy file is wrong; with every problem and its line.
        """
        if isinstance(exporter, type) or not callable(getattr(exporter, "export", None)):
            raise UsageError(
                f"SamplingExporter takes a SpanExporter, not {exporter!r}: make one, as in "
                "OTLPSpanExporter()"
            )
        if min(max_spans, max_bytes, interval_s) <= 0:
            raise UsageError("SamplingExporter: max_spans, max_bytes and interval_s are above 0")
        read = policy if isinstance(policy, Policy) else policies.load(os.fspath(policy))
        self._settings = Settings(
            read, None if lake is None else Path(lake).absolute(), max_spans, max_bytes, interval_s
        )
        self._exporter = exporter
        self._gate = threading.Lock()
        self._queue = BoundedProcessor(None, _QUEUE, self._core, sees_starts=False)
        again, end = weakref.WeakMethod(self._after_fork), weakref.WeakMethod(self._at_exit)
        os.register_at_fork(after_in_child=lambda: (call := again()) and call())
        atexit.register(lambda: (call := end()) and call())

    def _core(self) -> SpanExporter:
        """Return what decides; asked for by the thread, again in a forked child."""
        with self._gate:
            from samplers.sdk.core import Core  # noqa: PLC0415 - loads all that the models need

            return Core(self._settings, self._exporter, self._gate)

    def _after_fork(self) -> None:
        # What was pending is the parent's. Its DuckDB stays as it is: without its threads it can
        # only be used or closed at the price of a crash.
        self._gate = threading.Lock()

    def _at_exit(self) -> None:
        """Decide what is pending, and see to it that the thread ends, or waits, outside of DuckDB.

        A thread that the interpreter stops within compiled code takes the process down with it.
        """
        self.shutdown()
        self._gate.acquire(timeout=_EXIT_S)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans; never raises, never waits."""
        for span in spans:
            self._queue.on_end(span)
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 120_000) -> bool:
        """Decide what is complete, and export what of it is kept.

        Args:
            timeout_millis: Longest time to wait; where the package has never run, it compiles.

        Returns:
            Whether that was done, in time and without a loss.
        """
        return self._queue.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Decide everything that is pending, export what of it is kept, and stop."""
        self._queue.shutdown()
        if self._queue.exporter is None:  # nothing came, so nobody else has told it
            self._exporter.shutdown()

    def stats(self) -> dict[str, float]:
        """Return what happened since the start, and what is pending; empty before the first span.

        `weighted_sessions` is `sessions` but for chance and for those that are not estimable.
        """
        stats: Callable[[], dict[str, float]] | None = getattr(self._queue.exporter, "stats", None)
        return {} if stats is None else stats()
