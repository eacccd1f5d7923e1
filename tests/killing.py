"""`tracekit collect` killed at random moments under load: is anything lost, or decided otherwise?

    python tests/killing.py --kills 20 --seed 1        # or: make kill-test KILLS=20

Clients send sessions over OTLP/gRPC and OTLP/HTTP, each request until it is acknowledged, while the
process is killed with SIGKILL and started again on its folder. What then left for a file and for an
OTLP target, and what the lake holds, is compared with an engine that nobody disturbed.

The policy decides by rule and by a fixed share, so a decision depends on its session alone. Floors,
quotas and budgets depend on what came before, hence on when sessions were decided.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent import futures
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from engine_build import SECOND, Box, Clock, Collector
from lake_build import rows
from otlp_build import EPOCH_NS, request, span

from samplers.collector.outcome import Accepted
from samplers.policy import load
from samplers.session_types import Limits
from tracekit.lake import Lake
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
OPEN_SESSIONS: Final = 8
PACE_SECONDS: Final = 0.02
PATIENCE: Final = 300.0
_MOST_ROWS: Final = 20

POLICY: Final = """
name: kills
rules:
  - name: failures
    when: stop_outcome = 'failure' OR outcome_declared = 'failure'
    keep: all
baseline: 0.2
"""

SETTINGS: Final = """
data: {folder}/data
receivers:
  grpc: {{endpoint: "127.0.0.1:{grpc}"}}
  http: {{endpoint: "127.0.0.1:{http}"}}
health: {{endpoint: "127.0.0.1:{health}"}}
journal: {{segment: 1MiB, segment_age: 5s, keep_back: 20s}}
sessions: {{root_delay: 2s, keyed_root_delay: 2s, done_delay: 2s}}
policy: {{file: {folder}/policy.yaml}}
exporters:
  - {{type: file, path: {folder}/kept.pb, max_bytes: 1GiB}}
  - {{type: otlp_grpc, endpoint: "127.0.0.1:{sink}", insecure: true}}
lake: {{folder: {folder}/lake, flush_interval: 2s}}
"""

Spans = Counter[tuple[str, str]]
"""How often each span was seen, by trace and span id."""


def session(number: int, seed: int) -> list[bytes]:
    """Return the requests of a session, the last of which ends it.

    Two of three sessions have a key, and one to three traces; one of ten fails.
    """
    rng = random.Random(f"{seed}-{number}")
    key = {"session.id": f"session-{number}"} if number % 3 else {}
    failed = {"tracekit.done.status": "failed"} if rng.random() < 0.1 else {}
    traces = [rng.getrandbits(128) for _ in range(rng.randrange(1, 4) if key else 1)]
    ids = itertools.count(number << 16 | 1)
    parents = {trace: next(ids) for trace in traces}
    parts = []
    for part in range(rng.randrange(1, 6)):
        steps = [
            span(
                f"step {part}",
                {**key, "gen_ai.operation.name": "chat", "note": "x" * rng.randrange(400)},
                trace=trace,
                span_id=next(ids),
                parent=parents[trace].to_bytes(8, "big"),
                start=part,
                end=part + 1,
            )
            for trace in traces
            for _ in range(rng.randrange(1, 5))
        ]
        parts.append(request(steps, {"service.name": f"process-{part % 2}"}, "tests"))
    roots = [
        span("agent", {**key, **failed}, trace=trace, span_id=parents[trace], end=9)
        for trace in traces
    ]
    return [*parts, request(roots, {"service.name": "process-0"}, "tests")]


def spans_of(requests: Iterable[bytes]) -> Spans:
    """Return the spans of requests."""
    found: Spans = Counter()
    for data in requests:
        table = scan(data).table.select(["trace_id", "span_id"])
        found.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return found


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Sink:
    """An OTLP/gRPC target that keeps what it gets."""

    def __init__(self, port: int) -> None:
        self.requests: list[bytes] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        handler: Any = grpc.unary_unary_rpc_method_handler(self._take)
        service, method = EXPORT.removeprefix("/").split("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def _take(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        del context
        self.requests.append(data)
        return b""

    def close(self) -> None:
        """Stop."""
        self._server.stop(None).wait()


class Load:
    """Clients that send sessions until they are told to finish those they have begun."""

    def __init__(self, ports: dict[str, int], seed: int) -> None:
        self.sessions: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.repeated = 0
        self.requests = 0
        self.failed: list[BaseException] = []
        self._seed = seed
        self._numbers = itertools.count(1)
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(make(port),), daemon=True)
            for make, port in (
                (_grpc_sender, ports["grpc"]),
                (_http_sender, ports["http"]),
            )
            for _ in range(2)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> list[int]:
        """Begin no more sessions, finish those under way, return the numbers of all."""
        self._enough.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            if thread.is_alive():
                raise AssertionError("a client cannot get rid of its sessions")
        if self.failed:
            raise self.failed[0]
        return sorted(self.sessions.get() for _ in range(self.sessions.qsize()))

    def _run(self, sender: AbstractContextManager[Callable[[bytes], bool]]) -> None:
        try:
            with sender as send:
                self._send_sessions(send)
        except BaseException as error:  # noqa: BLE001 - told to who waits for the thread
            self.failed.append(error)

    def _send_sessions(self, send: Callable[[bytes], bool]) -> None:
        under_way: list[Iterator[bytes]] = []
        turn = 0
        while under_way or not self._enough.is_set():
            while len(under_way) < OPEN_SESSIONS and not self._enough.is_set():
                number = next(self._numbers)
                self.sessions.put(number)
                under_way.append(iter(session(number, self._seed)))
            turn = (turn + 1) % len(under_way)
            data = next(under_way[turn], None)
            if data is None:
                del under_way[turn]
                continue
            self.requests += 1
            while not send(data):
                self.repeated += 1
            time.sleep(PACE_SECONDS)


@contextmanager
def _grpc_sender(port: int) -> Iterator[Callable[[bytes], bool]]:
    options = (("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100))
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
    export: Any = channel.unary_unary(EXPORT)

    def send(data: bytes) -> bool:
        try:
            export(data, timeout=10)
        except grpc.RpcError as error:
            code = error.code()
            if code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}:
                raise
            time.sleep(0.1)
            return False
        return True

    with channel:
        yield send


@contextmanager
def _http_sender(port: int) -> Iterator[Callable[[bytes], bool]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)

    def send(data: bytes) -> bool:
        try:
            headers = {"Content-Type": "application/x-protobuf"}
            connection.request("POST", "/v1/traces", data, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            connection.close()
            time.sleep(0.1)
            return False
        if answer.status == 400:
            raise AssertionError("a request was taken for malformed")
        return answer.status == 200

    with closing(connection):
        yield send


class Process:
    """The collector as a process, on the same folder each time."""

    def __init__(self, config: Path) -> None:
        self._command = [
            *(sys.executable, "-c", "from tracekit.cli import main; main()"),
            *("collect", "-c", str(config)),
        ]
        self._process: subprocess.Popen[str] | None = None

    def start(self, kill_after: float | None = None) -> bool:
        """Start it and wait until it collects; false where it was killed before that."""
        self._process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        timer = threading.Timer(kill_after or PATIENCE, self._process.kill)
        timer.start()
        heard = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            heard.append(line)
            if line.startswith("collecting: "):
                timer.cancel()
                return True
        timer.cancel()
        if self._process.wait() != -signal.SIGKILL or kill_after is None:
            raise AssertionError("".join(heard))
        self._process.stderr.close()
        return False

    def end(self, how: signal.Signals) -> None:
        """End it by a signal, and make sure that this is what ended it."""
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.send_signal(how)
        with self._process.stderr as heard:
            said = heard.read()
        code = self._process.wait(PATIENCE)
        if code != (0 if how is signal.SIGTERM else -how) or "Traceback" in said:
            raise AssertionError(f"ended with {code}: {said}")
        self._process = None

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def undisturbed(folder: Path, numbers: Iterable[int], seed: int, policy: Path) -> Spans:
    """Return the spans an engine exports that gets the same sessions one after the other."""
    clock, box = Clock(), Box()
    clock.now = EPOCH_NS
    collector = Collector(folder, [load(policy)], clock, box, Limits())
    for number in numbers:
        for data in session(number, seed):
            if collector.engine.receive(data) != Accepted():
                raise AssertionError("the engine to compare with is full")
        if number % 500 == 0:
            clock.now += 60 * SECOND
            collector.engine.tick(clock.now)
    collector.finish()
    return spans_of(box.requests)


@dataclass
class Report:
    """What came of it.

    Attributes:
        kills: Times the process was killed.
        in_start: Of these, before it took requests.
        sessions: Sessions sent.
        requests: Requests acknowledged.
        repeated: Attempts that got no acknowledgement.
        spans: Spans acknowledged.
        kept: Spans to be exported.
        lost: By target, spans that did not arrive.
        foreign: By target, spans that should have been dropped.
        duplicates: By target, arrivals of spans beyond the first.
        ledger: Rows of the lake's sessions that should be there and are not, or the reverse.
    """

    kills: int = 0
    in_start: int = 0
    sessions: int = 0
    requests: int = 0
    repeated: int = 0
    spans: int = 0
    kept: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    ledger: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost and nothing decided otherwise."""
        return not any([*self.lost.values(), *self.foreign.values(), *self.ledger])

    def compare(self, target: str, arrived: Spans, expected: Spans) -> None:
        """Take in what arrived at a target."""
        self.lost[target] = len(expected.keys() - arrived.keys())
        self.foreign[target] = len(arrived.keys() - expected.keys())
        self.duplicates[target] = sum(arrived.values()) - len(arrived)

    def __str__(self) -> str:
        lines = [
            f"{self.kills} kills, {self.in_start} of them before it took requests",
            f"{self.sessions:,} sessions, {self.spans:,} spans",
            f"{self.requests:,} acknowledged requests, {self.repeated:,} attempts repeated",
            f"{self.kept:,} spans to export",
            *map(self._of_target, self.lost),
            f"ledger: {len(self.ledger)} rows missing, repeated or decided otherwise",
            *self.ledger[:_MOST_ROWS],
            "clean" if self.is_clean else "NOT CLEAN",
        ]
        return "\n".join(lines)

    def _of_target(self, target: str) -> str:
        return (
            f"  {target:5} {self.lost[target]:,} lost, {self.foreign[target]:,} that should have "
            f"been dropped, {self.duplicates[target]:,} duplicates"
        )


def run(folder: Path, kills: int, seed: int) -> Report:
    """Kill it so many times, then let it drain and compare."""
    names = ("grpc", "http", "health", "sink")
    ports = dict(zip(names, free_ports(4), strict=True))
    policy, config = folder / "policy.yaml", folder / "collector.yaml"
    policy.write_text(POLICY)
    config.write_text(SETTINGS.format(folder=folder, **ports))
    report, sink, load_, process = Report(), Sink(ports["sink"]), Load(ports, seed), Process(config)
    rng = random.Random(seed)
    try:
        load_.start()
        while report.kills < kills:
            in_start = rng.random() < 0.2
            if process.start(rng.uniform(0.5, 6) if in_start else None):
                time.sleep(rng.uniform(0.1, 6))
                process.end(signal.SIGKILL)
            else:
                report.in_start += 1
            report.kills += 1
        process.start()
        numbers = load_.finish()
        _drain(ports["health"])
        process.end(signal.SIGTERM)
    finally:
        process.kill()
        sink.close()
    sent = spans_of(data for number in numbers for data in session(number, seed))
    expected = undisturbed(folder / "undisturbed", numbers, seed, policy)
    report.sessions, report.spans, report.kept = len(numbers), len(sent), len(expected)
    report.requests, report.repeated = load_.requests, load_.repeated
    report.compare("file", spans_of(_framed((folder / "kept.pb").read_bytes())), expected)
    report.compare("otlp", spans_of(sink.requests), expected)
    report.ledger = _compare_ledgers(folder)
    return report


def _drain(health: int) -> None:
    """Wait until all sessions are decided, and all that was kept is delivered."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/metrics") as answer:
            text = answer.read().decode()
        waiting = re.findall(
            r"^tracekit_(?:journal_pending_spans|exporter_waiting\S*) (\S+)$", text, re.MULTILINE
        )
        if len(waiting) == 3 and not any(map(float, waiting)):  # journal, two queues
            return
        time.sleep(0.2)
    raise AssertionError(f"it does not drain: {waiting}")


def _framed(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def _compare_ledgers(folder: Path) -> list[str]:
    """Say what is in one of two lakes only, with when it was decided and from how many spans."""
    question = "SELECT session_id, kept, spans, stop_reason, weight FROM sessions"
    got, expected = (
        Counter(map(tuple, rows(Lake.open(path), question)))
        for path in (folder / "lake", folder / "undisturbed" / "lake")
    )
    decided = dict(
        rows(
            Lake.open(folder / "lake"),
            "SELECT session_id, (decided_at, decided_spans, trigger) FROM sessions",
        )
    )
    return sorted(
        f"  {sign} {row}, decided {decided.get(row[0])}"
        for sign, rest in (("+", got - expected), ("-", expected - got))
        for row in rest.elements()
    )


def main() -> None:
    """Run it and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), options.kills, options.seed)
    sys.stdout.write(f"{report}\n")
    sys.exit(not report.is_clean)


if __name__ == "__main__":
    main()
