"""All exporters of a collector: every kept request goes to the queue of each."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from samplers.collector.exporters.file import FileTarget
from samplers.collector.exporters.otlp_grpc import GrpcTarget
from samplers.collector.exporters.otlp_http import HttpTarget
from samplers.collector.exporters.queue import Queue
from samplers.collector.exporters.sender import Sender
from samplers.collector.exporters.stdout import StdoutTarget
from samplers.collector.settings.exporters import (
    FileExporter,
    NetworkExporter,
    OtlpGrpcExporter,
    OtlpHttpExporter,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from samplers.collector.exporters.delivery import Target
    from samplers.collector.metrics import Registry
    from samplers.collector.settings.exporters import AnyExporter


class Exporters:
    """The exporters, each with its queue and its threads."""

    def __init__(self, settings: Sequence[AnyExporter], folder: Path, registry: Registry) -> None:
        """Open the queues; nothing is sent before `start`.

        Args:
            settings: One for each exporter.
            folder: Where the folders of their queues are.
            registry: Where they are counted.

        Raises:
            UsageError: A queue is open elsewhere, or a secret or certificate cannot be read.
        """
        self._lock = threading.Lock()
        self.senders: list[Sender] = []
        try:
            for item in settings:
                self.senders.append(_sender(item, folder, registry))
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Send what is in the queues, and what comes."""
        for sender in self.senders:
            sender.start()

    def put(self, request: bytes, spans: int) -> None:
        """Put a request into every queue, or into none.

        Raises:
            QueueFullError: One has no room and must not drop what it has.
                A disk that is full at the last moment may leave the request in some of the queues.
        """
        with self._lock:
            for sender in self.senders:
                sender.queue.check_room(len(request))
            for sender in self.senders:
                sender.queue.put(request, spans)

    def sync(self) -> None:
        """Wait until everything put in is on disk."""
        for sender in self.senders:
            sender.queue.sync()

    def stop(self, drain: float = 0.0) -> None:
        """Stop sending; what is not delivered is delivered after the next start.

        Args:
            drain: Seconds to wait for all queues together to become empty.
        """
        threads = [threading.Thread(target=item.stop, args=(drain,)) for item in self.senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _sender(settings: AnyExporter, folder: Path, registry: Registry) -> Sender:
    name = settings.name or settings.type
    target = _target(settings)
    queue = Queue(folder / name, settings.queue)
    concurrency = settings.concurrency if isinstance(settings, NetworkExporter) else 1
    return Sender(name, queue, target, settings.retry, registry, concurrency=concurrency)


def _target(settings: AnyExporter) -> Target:
    match settings:
        case OtlpGrpcExporter():
            return GrpcTarget(settings)
        case OtlpHttpExporter():
            return HttpTarget(settings)
        case FileExporter():
            return FileTarget(settings)
        case _:
            return StdoutTarget()
