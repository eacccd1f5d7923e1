"""What stands between the ends in `bench_collector`, each a process.

    python collector_rivals.py tracekit detectors|bare|lake SINK_PORT
    python collector_rivals.py plain SINK_PORT

`plain` is the least that does the same: the protobuf library, a dictionary of sessions, rules in
Python. It has no journal, no detectors and no models: an easier job.
"""

from __future__ import annotations

import functools
import queue
import random
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import collector_ends
import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

_DELAY: Final = 1.0
"""Seconds a session waits after its root, in all of them."""

_PROBABILITY: Final = 0.05


def tracekit(kind: str, sink: int) -> None:
    """Run our collector, its journal and queues in a folder of its own.

    Args:
        kind: `detectors`; `bare` without any; `lake` with a ledger of all sessions as well.
        sink: Port of what kept spans go to.
    """
    from samplers.collector.config import CollectorSettings  # noqa: PLC0415  not for the other one
    from samplers.collector.service import Collector  # noqa: PLC0415
    from tracekit import detectors  # noqa: PLC0415

    if kind == "bare":
        detectors.run = functools.partial(detectors.run, names=())

    with tempfile.TemporaryDirectory(prefix="tracekit-bench-") as folder:
        target = {"type": "otlp_grpc", "endpoint": f"127.0.0.1:{sink}", "insecure": True}
        settings = CollectorSettings.model_validate(
            {
                "data": folder,
                "receivers": {
                    "grpc": {"endpoint": "127.0.0.1:0"},
                    "http": {"enabled": False},
                },
                "sessions": {"root_delay": _DELAY, "keyed_root_delay": _DELAY},
                "policy": {"preset": "keep-anomalies"},
                "lake": {"folder": f"{folder}/lake", "flush_interval": 5.0}
                if kind == "lake"
                else {},
                "exporters": [target],
                "health": {"enabled": False},
            }
        )
        collector = Collector(settings)
        engine, batches = collector.engine, list[float]()
        tick = engine.tick

        def timed(*arguments: Any, **named: Any) -> None:
            before, began = engine.counts["sessions"], time.perf_counter()
            tick(*arguments, **named)
            if engine.counts["sessions"] > before:
                batches.append(time.perf_counter() - began)

        engine.tick = timed  # type: ignore[method-assign]  # a stop watch
        collector.start()
        stop = threading.Event()
        thread = threading.Thread(target=collector.run, args=(stop, threading.Event()))
        thread.start()

        def state() -> dict[str, float]:
            return {
                "received": engine.counts["spans"],
                "late": engine.counts["late_spans"],
                "sessions": engine.counts["sessions"],
                "kept": engine.counts["kept"],
                "exported": engine.exported_spans,
                "first_batch": batches[0] if batches else 0.0,
                "batches": len(batches),
                "wrong": int(collector._wrong is not None),  # noqa: SLF001  as /live says
            }

        collector_ends.answer(collector.ports["grpc"], state)
        stop.set()
        thread.join()


class _Plain:
    """Sessions in a dictionary.

    Attributes:
        counts: What happened.
    """

    def __init__(self, sink: int) -> None:
        self.counts = dict.fromkeys(("received", "late", "sessions", "kept", "exported"), 0)
        self._rng = random.Random(1)
        self._open: dict[str, list[tuple[ResourceSpans, ScopeSpans, Span]]] = {}
        self._ended: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        channel = grpc.insecure_channel(f"127.0.0.1:{sink}", options=collector_ends.MESSAGE)
        self._export: Any = channel.unary_unary(f"/{collector_ends.SERVICE}/Export")

    def take(self, data: bytes) -> bytes:
        """Sort the spans of a request by session."""
        request = ExportTraceServiceRequest.FromString(data)
        with self._lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self._add(resource, scope, span)
        return b""

    def _add(self, resource: ResourceSpans, scope: ScopeSpans, span: Span) -> None:
        key = next(
            (a.value.string_value for a in span.attributes if a.key == "gen_ai.conversation.id"),
            span.trace_id.hex(),
        )
        self._open.setdefault(key, []).append((resource, scope, span))
        self.counts["received"] += 1
        if not span.parent_span_id and span.end_time_unix_nano:
            self._ended.put((time.monotonic() + _DELAY, key))

    def run(self) -> None:
        """Decide sessions when their time has come; for ever."""
        while True:
            due, key = self._ended.get()
            time.sleep(max(due - time.monotonic(), 0.0))
            with self._lock:
                spans = self._open.pop(key, [])
            self.counts["sessions"] += 1
            errors = any(span.status.code == Status.STATUS_CODE_ERROR for _, _, span in spans)
            if errors or self._rng.random() < _PROBABILITY:
                self.counts["kept"] += 1
                self._send(spans)

    def _send(self, spans: list[tuple[ResourceSpans, ScopeSpans, Span]]) -> None:
        request = ExportTraceServiceRequest()
        last: ScopeSpans | None = None
        for resource, scope, span in spans:
            if scope is not last:
                added = request.resource_spans.add()
                added.resource.CopyFrom(resource.resource)
                added.scope_spans.add().scope.CopyFrom(scope.scope)
                last = scope
            added.scope_spans[0].spans.append(span)
        self._export(request.SerializeToString())
        self.counts["exported"] += len(spans)


def plain(sink: int) -> None:
    """Run the least that does the same."""
    sampler = _Plain(sink)
    threading.Thread(target=sampler.run, daemon=True).start()
    server, port = collector_ends.serve(sampler.take)
    collector_ends.answer(port, lambda: dict(sampler.counts))
    server.stop(0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["tracekit", kind, sink]:
            tracekit(kind, int(sink))
        case ["plain", sink]:
            plain(int(sink))
    # Threads of gRPC may linger; everything is counted and closed.
    sys.stdout.flush()
