"""From a queue to a target: retries, waits, and what is given up."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from samplers.collector.exporters.delivery import Delivered, Postponed

if TYPE_CHECKING:
    from collections.abc import Callable

    from samplers.collector.exporters.delivery import Delivery, Target
    from samplers.collector.exporters.queue import Queue
    from samplers.collector.exporters.spool import Record
    from samplers.collector.metrics import Registry
    from samplers.collector.settings.exporters import RetrySettings

_log = logging.getLogger(__name__)

_LONGEST_WISH: Final = 3600.0
"""A target that wants to be left alone for longer is asked again after this."""
_DOUBLINGS: Final = 32


def backoff(settings: RetrySettings, failures: int, draw: float) -> float:
    """Return how long to wait after so many failures in a row.

    Args:
        settings: First and longest wait, and how much of it is random.
        failures: From 1.
        draw: A random number, 0 to 1.
    """
    whole = min(settings.maximum, settings.initial * 2.0 ** min(failures - 1, _DOUBLINGS))
    return whole * (1 - settings.jitter * draw)


def wait_after(settings: RetrySettings, failures: int, wish: float | None, draw: float) -> float:
    """Return how long to wait where the target may have said how long it wants.

    Its wish counts in both directions, but a target that is asked again at once fails again.
    """
    if wish is None:
        return backoff(settings, failures, draw)
    return max(min(wish, _LONGEST_WISH), backoff(settings, 1, draw))


class SenderCounts:
    """What an exporter counts."""

    def __init__(self, registry: Registry, name: str, queue: Queue) -> None:
        """Declare the metrics of an exporter."""
        label = ("exporter",)
        counter, gauge = registry.counter, registry.gauge
        self.sent = counter("tracekit_exporter_sent_total", "Requests delivered.", label).of(name)
        self.sent_spans = counter(
            "tracekit_exporter_sent_spans_total", "Spans of requests delivered.", label
        ).of(name)
        self.rejected_spans = counter(
            "tracekit_exporter_rejected_spans_total",
            "Spans that targets did not take of requests they took.",
            label,
        ).of(name)
        self.failures = counter(
            "tracekit_exporter_failures_total", "Sends that failed and are tried again.", label
        ).of(name)
        gauge("tracekit_exporter_waiting", "Requests in the queue.", label).ask(
            lambda: float(queue.waiting), name
        )
        gauge("tracekit_exporter_queue_bytes", "Bytes of the queue on disk.", label).ask(
            lambda: float(queue.size), name
        )
        for field, meaning in (
            ("dropped_spans", "Spans given up because the queue was full."),
            ("parked_spans", "Spans of requests refused for good by the target."),
            ("unparked", "Requests refused for good and not even kept aside."),
            ("corrupt", "Damaged files of the queue."),
        ):
            counter(f"tracekit_exporter_{field}_total", meaning, label).ask(
                functools.partial(getattr, queue.counts, field), name
            )


class Sender:
    """Sends what is in a queue, until it is stopped."""

    def __init__(  # noqa: PLR0913  the rest are keyword-only details
        self,
        name: str,
        queue: Queue,
        target: Target,
        retry: RetrySettings,
        registry: Registry,
        *,
        concurrency: int = 1,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        """Connect a queue with a target; nothing is sent before `start`.

        Args:
            name: Name in metrics and messages.
            queue: Where requests wait.
            target: Where they go.
            retry: How often and when again.
            registry: Where it is counted.
            concurrency: Requests under way at a time.
            clock: Seconds.
            draw: Random numbers, 0 to 1.
            pause: Waits so many seconds; true where the sender is stopped meanwhile.
        """
        self._name = name
        self._queue = queue
        self._target = target
        self._retry = retry
        self._counts = SenderCounts(registry, name, queue)
        self._clock = clock
        self._draw = draw
        self._stopped = threading.Event()
        self._pause = pause or self._stopped.wait
        self._not_before = clock()
        self._failing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"send-{name}", daemon=True)
            for _ in range(concurrency)
        ]

    @property
    def queue(self) -> Queue:
        """Where requests wait."""
        return self._queue

    @property
    def failing(self) -> bool:
        """Whether the last thing the target did was to fail."""
        return self._failing

    def start(self) -> None:
        """Send."""
        for thread in self._threads:
            thread.start()

    def stop(self, drain: float = 0.0) -> None:
        """Stop sending; what is not delivered stays in the queue.

        Args:
            drain: Seconds to wait for the queue to become empty first.
        """
        if drain > 0:
            self._queue.wait_empty(drain)
        self._stopped.set()
        self._queue.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._target.close()

    def _run(self) -> None:
        while (record := self._queue.take()) is not None:
            self._deliver(record)

    def _deliver(self, record: Record) -> None:
        """Send a request until it is delivered, refused, or the sender is stopped."""
        failures = 0
        while not self._stopped.is_set():
            if (left := self._not_before - self._clock()) > 0:
                if self._pause(left):
                    return
                continue
            match self._send(record.request):
                case Delivered() as delivered:
                    self._delivered(record, delivered)
                    return
                case Postponed() as postponed:
                    failures += 1
                    self._postponed(postponed, failures)
                case refused:
                    _log.error("exporter %s: a request was refused: %s", self._name, refused.reason)
                    self._queue.park(record)
                    return

    def _send(self, request: bytes) -> Delivery:
        try:
            return self._target.send(request)
        except Exception as error:  # noqa: BLE001  a fault of ours loses no request
            _log.exception("exporter %s failed", self._name)
            return Postponed(f"{type(error).__name__}: {error}")

    def _delivered(self, record: Record, delivered: Delivered) -> None:
        if self._failing:
            _log.info("exporter %s: the target is back", self._name)
        self._failing = False
        self._counts.sent.add()
        self._counts.sent_spans.add(record.spans - delivered.rejected)
        if delivered.rejected:
            self._counts.rejected_spans.add(delivered.rejected)
            _log.warning("exporter %s: spans were rejected: %s", self._name, delivered.reason)
        self._queue.acknowledge(record)

    def _postponed(self, postponed: Postponed, failures: int) -> None:
        """Hold back all threads: they speak to the same target."""
        wait = wait_after(self._retry, failures, postponed.seconds, self._draw())
        if not self._failing:  # once, and not at every try of a long outage
            _log.warning(
                "exporter %s: %s; trying again in %.1f s", self._name, postponed.reason, wait
            )
        self._failing = True
        self._counts.failures.add()
        self._not_before = max(self._not_before, self._clock() + wait)
