"""Both ends of `bench_collector`, each a process: what sends, and what takes the spans kept.

python collector_ends.py load PORT FILE REPEAT
python collector_ends.py sink
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import collector_spans
import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
MESSAGE: Final = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
]
_UNDER_WAY: Final = 8
_PATIENCE: Final = 60.0


def cpu_seconds() -> float:
    """Return what this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def serve(handle: Callable[[bytes], bytes], workers: int = 4) -> tuple[grpc.Server, int]:
    """Take requests as bytes; return the server and its port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(workers),
        options=[*MESSAGE, ("grpc.so_reuseport", 0)],
        compression=grpc.Compression.NoCompression,
    )
    method: Any = grpc.unary_unary_rpc_method_handler(lambda request, _: handle(request))
    handlers = grpc.method_handlers_generic_handler(SERVICE, {"Export": method})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def answer(port: int, state: Callable[[], dict[str, float]]) -> None:
    """Print the port, then the state for every line that comes in, until there are no more."""
    print(port, flush=True)
    for _ in sys.stdin:
        print(json.dumps(state() | {"cpu": cpu_seconds()}), flush=True)


def sink() -> None:
    """Take requests; nothing but their spans is looked at, and that only when asked."""
    taken: list[bytes] = []

    def handle(request: bytes) -> bytes:
        taken.append(request)
        return b""

    server, port = serve(handle)
    counted = {"requests": 0, "spans": 0}

    def state() -> dict[str, float]:
        from tracekit.otlp.scan import scan  # noqa: PLC0415  the raw sink has no use for it

        while counted["requests"] < len(taken):
            counted["spans"] += scan(taken[counted["requests"]]).spans
            counted["requests"] += 1
        return dict(counted)

    answer(port, state)
    server.stop(0)


def raw() -> None:
    """Take requests and forget them: the limit of any collector behind gRPC."""
    server, port = serve(lambda _: b"")
    answer(port, dict)
    server.stop(0)


def load(port: int, file: Path, repeat: int) -> None:
    """Send the requests of a file, eight under way; print when, and how long each one took."""
    requests = collector_spans.read(file)
    took: list[float] = []
    failed: list[object] = []
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=MESSAGE) as channel:
        grpc.channel_ready_future(channel).result(_PATIENCE)
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/{SERVICE}/Export"
        )
        room = threading.Semaphore(_UNDER_WAY)
        start, cpu = time.time(), cpu_seconds()
        for request in requests * repeat:
            room.acquire()
            _send(method, request, room, took, failed)
        for _ in range(_UNDER_WAY):
            room.acquire()
        end = time.time()
    if failed:
        sys.exit(f"{len(failed)} of {len(took)} requests failed: {failed[0]}")
    print(
        json.dumps(
            {
                "start": start,
                "end": end,
                "cpu": cpu_seconds() - cpu,
                "first": took[0],
                "median": statistics.median(took),
            }
        )
    )


def _send(
    method: Any,
    request: bytes,
    room: threading.Semaphore,
    took: list[float],
    failed: list[object],
) -> None:
    began = time.perf_counter()

    def done(call: Any) -> None:
        error = call.exception()
        if error is not None and error.code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        }:
            time.sleep(0.1)  # it is full: come again, as a client of OpenTelemetry does
            method.future(request, timeout=_PATIENCE).add_done_callback(done)
            return
        took.append(time.perf_counter() - began)
        if error is not None:
            failed.append(error)
        room.release()

    method.future(request, timeout=_PATIENCE).add_done_callback(done)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sink"]:
            sink()
        case ["raw"]:
            raw()
        case ["load", port, file, repeat]:
            load(int(port), Path(file), int(repeat))
