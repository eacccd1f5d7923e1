"""A journal in memory, and spans sent to session assembly through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otlp_build import EPOCH_NS, request
from otlp_build import span as otlp_span

from samplers.assemble import assemble
from samplers.pending import Capacity
from samplers.sessions import Ingested, Limits, Sessions
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from sessions_model import Sent

SECOND = 1_000_000_000
NOW = EPOCH_NS


def encode(spans: Iterable[Sent], resource: str = "svc") -> bytes:
    return request(
        [
            otlp_span(
                f"{sent.trace}-{sent.span}",
                ({"tracekit.session.id": sent.key} if sent.key else {})
                | ({"tracekit.done.status": "ok"} if sent.is_done else {})
                | ({"pad": "x" * sent.size} if sent.size else {}),
                trace=sent.trace,
                span_id=sent.span,
                parent=None if sent.is_root else (99).to_bytes(8, "big"),
                end=sent.end or None,
            )
            for sent in spans
        ],
        {"service.name": resource},
        scope="tests",
    )


class Harness:
    """Sessions over a journal of byte strings."""

    def __init__(
        self, limits: Limits | None = None, capacity: Capacity | None = None, per_segment: int = 3
    ) -> None:
        self.sessions = Sessions(capacity or Capacity(rows=20_000, decided=1_000), limits)
        self.segments: list[bytearray] = [bytearray()]
        self.sent: dict[tuple[int, int, int], Sent] = {}
        self._per_segment = per_segment
        self._requests = 0

    def read(self, segment: int, offset: int, length: int) -> bytes:
        """Read the journal."""
        return bytes(self.segments[segment][offset : offset + length])

    def send(self, spans: Sequence[Sent], now: int) -> Ingested:
        """Send spans as one request."""
        for sent in spans:
            self.sent[*sent.identity, sent.end] = sent
        return self.send_bytes(encode(spans), now)

    def send_bytes(self, data: bytes, now: int) -> Ingested:
        """Write a request to the journal, take its spans."""
        self._requests += 1
        if self._requests % self._per_segment == 0:
            self.segments.append(bytearray(b"head"))
        segment = self.segments[-1]
        base = len(segment)
        segment += data
        return self.sessions.ingest(scan(data), len(self.segments) - 1, base, now)

    def spans(self, rows: npt.NDArray[Any]) -> list[Sent]:
        """Return what the bytes that rows point to say."""
        data = assemble([rows], self.read)
        if not data:
            return []
        table = scan(data).table.select(["trace_id", "span_id", "end_ns"])
        return [
            self.sent[
                int(row["trace_id"], 16),
                int(row["span_id"], 16),
                0 if row["end_ns"] is None else (row["end_ns"] - EPOCH_NS) // SECOND,
            ]
            for row in table.to_pylist()
        ]
