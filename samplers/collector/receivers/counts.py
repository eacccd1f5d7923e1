"""What receivers count, and the names under which it is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samplers.collector.outcome import Accepted, Malformed, Outcome, Rejected

if TYPE_CHECKING:
    from samplers.collector.metrics import Registry


class ReceiverCounts:
    """Requests of one protocol by what became of them, and their bytes."""

    def __init__(self, registry: Registry, protocol: str) -> None:
        """Declare the counters of a protocol."""
        requests = registry.counter(
            "tracekit_receiver_requests_total",
            "Requests by what became of them.",
            ("protocol", "result"),
        )
        size = registry.counter(
            "tracekit_receiver_bytes_total",
            "Bytes of requests handed on, decompressed.",
            ("protocol",),
        )
        self._bytes = size.of(protocol)
        self._results = {
            name: requests.of(protocol, name)
            for name in ("accepted", "partial", "retry", "malformed", "refused", "failed")
        }

    def outcome(self, outcome: Outcome, size: int) -> None:
        """Count a request that reached the handler."""
        self._bytes.add(size)
        match outcome:
            case Accepted():
                name = "accepted"
            case Rejected():
                name = "partial"
            case Malformed():
                name = "malformed"
            case _:
                name = "retry"
        self._results[name].add()

    def refused(self) -> None:
        """Count a request that was answered with an error before its content was looked at."""
        self._results["refused"].add()

    def failed(self) -> None:
        """Count a request on which the handler itself failed."""
        self._results["failed"].add()
