"""How many spans a second the receivers take, with a handler that does nothing but count.

    python benchmarks/bench_receivers.py [requests]

Requests of 32, 128 and 512 spans of about 600 bytes over gRPC and over HTTP, eight under way, from
this process against one with the receivers; all on the same cores. It is the limit for whatever
stands behind the receivers, and the ratio says which way in to recommend.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import resource
import statistics
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

import grpc
import measure
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from samplers.collector.metrics import Registry
from samplers.collector.outcome import Accepted
from samplers.collector.receivers.grpc import SERVICE, GrpcServerReceiver
from samplers.collector.receivers.http import HttpServerReceiver
from samplers.collector.settings.receivers import GrpcReceiver, HttpReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES: Final = (32, 128, 512)
UNDER_WAY: Final = 8
ROUNDS: Final = 5


def body(spans: int) -> bytes:
    """Return a request with spans of about 600 bytes."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    scope = resource_spans.scope_spans.add()
    for number in range(spans):
        span = scope.spans.add()
        span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
        span.name = "chat gpt-4o"
        span.start_time_unix_nano = span.end_time_unix_nano = 1_767_225_600_000_000_000
        for key in range(14):
            attribute = span.attributes.add()
            attribute.key = f"gen_ai.attribute.{key:02}"
            attribute.value.string_value = "value of it"
    return request.SerializeToString()


def serve() -> None:
    """Run both receivers until standard input ends, and answer each line with CPU seconds."""
    accepted = Accepted()
    registry = Registry()
    servers = (
        GrpcServerReceiver(GrpcReceiver(endpoint="127.0.0.1:0"), lambda _: accepted, registry),
        HttpServerReceiver(HttpReceiver(endpoint="127.0.0.1:0"), lambda _: accepted, registry),
    )
    for server in servers:
        server.start()
    print(*(server.port for server in servers), flush=True)
    for _ in sys.stdin:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(usage.ru_utime + usage.ru_stime, flush=True)
    for server in servers:
        server.stop(1.0)


def in_turns(work: Callable[[], Callable[[], None]], count: int) -> None:
    """Send so many requests from several threads, each with a connection of its own."""
    numbers = itertools.count()

    def run() -> None:
        send = work()
        while next(numbers) < count:
            send()

    threads = [threading.Thread(target=run) for _ in range(UNDER_WAY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def over_grpc(port: int, data: bytes, count: int) -> None:
    """Send a request so many times over gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/{SERVICE}/Export"
        )
        waiting = threading.Semaphore(UNDER_WAY)
        sent = []
        for _ in range(count):
            waiting.acquire()
            call = method.future(data)
            call.add_done_callback(lambda _: waiting.release())
            sent.append(call)
        for call in sent:
            assert call.result() == b""


def over_http(port: int, data: bytes, count: int) -> None:
    """Send a request so many times over HTTP."""
    headers = {"content-type": "application/x-protobuf"}

    def work() -> Callable[[], None]:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def send() -> None:
            connection.request("POST", "/v1/traces", data, headers)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")

        return send

    in_turns(work, count)


@contextlib.contextmanager
def receivers() -> Iterator[tuple[int, int, Callable[[], float]]]:
    """Run the receivers in a process of their own; yield their ports and its CPU seconds."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(  # noqa: S603  ourselves
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def cpu() -> float:
            asked.write("\n")
            asked.flush()
            return float(answers.readline())

        grpc_port, http_port = map(int, answers.readline().split())
        yield grpc_port, http_port, cpu
        asked.close()


def run(requests: int = 1500) -> list[measure.Result]:
    """Send the same spans both ways, in turns."""
    results = []
    with receivers() as (grpc_port, http_port, cpu):
        for spans in SIZES:
            data = body(spans)
            used: dict[str, list[float]] = {"gRPC": [], "HTTP": []}

            def timed(name: str, send: Callable[[], None], used: dict[str, list[float]]) -> None:
                before = cpu()
                send()
                used[name].append(cpu() - before)

            rivals = {
                "gRPC": lambda data=data, used=used: timed(
                    "gRPC", lambda: over_grpc(grpc_port, data, requests), used
                ),
                "HTTP": lambda data=data, used=used: timed(
                    "HTTP", lambda: over_http(http_port, data, requests), used
                ),
            }
            seconds = measure.interleave(rivals, ROUNDS)
            total = spans * requests
            for name in rivals:
                rate = total / statistics.median(seconds[name])
                cost = statistics.median(used[name]) / total * 1e6
                ratio = measure.ratio_of(seconds["gRPC"], seconds[name])
                results.append(
                    measure.Result(
                        f"raw {name} receiver, {spans} spans a request ({len(data):,} bytes)",
                        statistics.median(seconds[name]),
                        f"{rate / 1e3:,.0f} k spans/s, {cost:.2f} CPU s/M",
                        "" if name == "gRPC" else f"{ratio:.2f}x gRPC",
                    )
                )
    return results


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        measure.show(run(*map(int, sys.argv[1:])))
