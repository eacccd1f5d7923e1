"""Exporters: bytes as they are, retries as targets want them, and targets that are independent."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from email.utils import formatdate
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from collector_build import PATIENCE, Sink, authority
from hypothesis import given
from hypothesis import strategies as st
from otlp_build import request, span

from samplers.collector.exporters.delivery import Delivered, Postponed, Refused
from samplers.collector.exporters.fanout import Exporters
from samplers.collector.exporters.file import FileTarget
from samplers.collector.exporters.otlp_grpc import GrpcTarget
from samplers.collector.exporters.otlp_http import HttpTarget
from samplers.collector.exporters.queue import Queue, QueueFullError
from samplers.collector.exporters.sender import Sender, backoff, wait_after
from samplers.collector.exporters.stdout import StdoutTarget
from samplers.collector.metrics import Registry
from samplers.collector.outcome import Malformed, Rejected, RetryLater
from samplers.collector.receivers.grpc import GrpcServerReceiver
from samplers.collector.receivers.http import HttpServerReceiver
from samplers.collector.settings.exporters import (
    FileExporter,
    OtlpGrpcExporter,
    OtlpHttpExporter,
    QueueSettings,
    RetrySettings,
    StdoutExporter,
)
from samplers.collector.settings.receivers import GrpcReceiver, HttpReceiver, ServerTls
from samplers.collector.web.messages import Response
from samplers.collector.web.server import HttpServer, ServerLimits
from tracekit.importers.detect import open_sources
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from samplers.collector.exporters.delivery import Delivery, Target
    from samplers.collector.settings.exporters import AnyExporter

BODY = request([span("chat", {"gen_ai.request.model": "gpt-4o", "note": "Grüße"})])
ODD = BODY + b"\xfa\x3f\x03abc"
"""A request with a field that nobody knows."""


@contextlib.contextmanager
def target_of(kind: str, sink: Sink, **changes: Any) -> Iterator[Target]:
    """Yield an exporter's target connected to a receiver of ours."""
    tls = changes.pop("server_tls", None)
    tokens = changes.pop("server_tokens", [])
    shared: dict[str, Any] = {"endpoint": "127.0.0.1:0", "tls": tls, "tokens": tokens}
    server: GrpcServerReceiver | HttpServerReceiver
    target: Target
    if kind == "grpc":
        server = GrpcServerReceiver(GrpcReceiver(**shared), sink, Registry())
        plain: dict[str, Any] = {"insecure": tls is None, "endpoint": f"127.0.0.1:{server.port}"}
        target = GrpcTarget(OtlpGrpcExporter(type="otlp_grpc", **plain | changes))
    else:
        server = HttpServerReceiver(HttpReceiver(**shared), sink, Registry())
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
        target = HttpTarget(OtlpHttpExporter(type="otlp_http", url=url, **changes))
    server.start()
    try:
        yield target
    finally:
        target.close()
        server.stop(grace=PATIENCE)


@pytest.mark.parametrize("kind", ["grpc", "http"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_bytes_arrive_as_they_are(kind: str, compression: str) -> None:
    """A request arrives byte for byte, unknown fields included, compressed on the way or not."""
    sink = Sink()
    with target_of(kind, sink, compression=compression) as target:
        assert [target.send(ODD) for _ in range(3)] == [Delivered()] * 3
    assert sink.requests == [ODD] * 3


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_answers_are_told_apart(kind: str) -> None:
    """Rejected spans are counted, malformed is final, and full says when to come again."""
    sink = Sink(Rejected("too old", 2), Malformed("at byte 7"), RetryLater(2, "full"))
    with target_of(kind, sink) as target:
        assert target.send(BODY) == Delivered(2, "too old")
        refused, postponed = target.send(BODY), target.send(BODY)
    assert isinstance(refused, Refused)
    assert "at byte 7" in refused.reason
    assert isinstance(postponed, Postponed)
    assert postponed.seconds == 2


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_absent_target_is_waited_for(kind: str) -> None:
    """A target that does not listen postpones, and one that went away while connected as well."""
    with target_of(kind, Sink()) as target:
        assert target.send(BODY) == Delivered()
    gone: Target
    if kind == "grpc":
        gone = GrpcTarget(OtlpGrpcExporter(type="otlp_grpc", endpoint="127.0.0.1:1", insecure=True))
    else:
        gone = HttpTarget(OtlpHttpExporter(type="otlp_http", url="http://127.0.0.1:1"))
    with contextlib.closing(gone):
        assert isinstance(gone.send(BODY), Postponed)


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_tokens_are_sent(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token opens the receiver's door; without it a request is refused for good."""
    monkeypatch.setenv("TEST_TOKEN", "sesame")
    door = {"server_tokens": [{"env": "TEST_TOKEN"}]}
    sink = Sink()
    with target_of(kind, sink, token={"env": "TEST_TOKEN"}, **door) as target:
        assert target.send(BODY) == Delivered()
    with target_of(kind, sink, **door) as target:
        assert isinstance(target.send(BODY), Refused)
    assert sink.requests == [BODY]


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_certificates_are_checked_on_both_sides(kind: str, tmp_path: Path) -> None:
    """Over mTLS a request arrives; to a server nobody vouches for nothing is sent."""
    ours = authority(tmp_path)
    server, client = ours.issue("server"), ours.issue("client")
    door = ServerTls(certificate=server.certificate, key=server.key, client_ca=ours.ca)
    trusted = {"ca": ours.ca, "certificate": client.certificate, "key": client.key}
    sink = Sink()
    with target_of(kind, sink, server_tls=door, tls=trusted) as target:
        assert target.send(BODY) == Delivered()
    with target_of(kind, sink, server_tls=door) as target:
        assert isinstance(target.send(BODY), Postponed)
    assert sink.requests == [BODY]


@contextlib.contextmanager
def answering(responses: list[Response]) -> Iterator[str]:
    """Run a server that gives some answers in turn, and yield its URL."""
    left = iter(responses)
    server = HttpServer(
        "127.0.0.1",
        0,
        lambda _head, body, _lease: (body.read(), next(left))[1],
        ServerLimits(),
    )
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}/custom/path"
    finally:
        server.stop(grace=PATIENCE)


@pytest.mark.parametrize(
    ("status", "final"),
    [
        *((status, False) for status in (429, 502, 503, 504)),
        *((status, True) for status in (301, 400, 401, 403, 404, 408, 413, 500, 501)),
    ],
)
def test_statuses_are_final_or_not(status: int, final: bool) -> None:
    """Of the errors of HTTP, only 429, 502, 503 and 504 are tried again."""
    with answering([Response(HTTPStatus(status), b"because")]) as url:
        target = HttpTarget(OtlpHttpExporter(type="otlp_http", url=url))
        with contextlib.closing(target):
            delivery = target.send(BODY)
    assert isinstance(delivery, Refused if final else Postponed)
    assert delivery.reason == f"{status} {HTTPStatus(status).phrase}: because"


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("-5", 0),
        ("soon", None),
        ("inf", None),
        (formatdate(1_000_030, usegmt=True), 30),
        (formatdate(999_000, usegmt=True), 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(field: str, seconds: float | None) -> None:
    """Retry-After is read in both of its forms, and nonsense in it is no wish."""
    answer = Response(HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": field})
    with answering([answer]) as url:
        settings = OtlpHttpExporter(type="otlp_http", url=url)
        target = HttpTarget(settings, wall_clock=lambda: 1_000_000.0)
        with contextlib.closing(target):
            delivery = target.send(BODY)
    assert isinstance(delivery, Postponed)
    assert delivery.seconds == seconds


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_grows_to_its_limit(failures: int, draw: float) -> None:
    """Waits double up to the maximum, and jitter only ever shortens them by its share."""
    settings = RetrySettings(initial=1, maximum=60, jitter=0.5)
    whole = min(60.0, 2.0 ** (failures - 1)) if failures < 100 else 60.0
    assert whole * 0.5 <= backoff(settings, failures, draw) <= whole


@given(st.one_of(st.none(), st.floats(0, 1e9)), st.integers(1, 50), st.floats(0, 1))
def test_wishes_of_targets_are_honoured(wish: float | None, failures: int, draw: float) -> None:
    """A wait is as long as the target wants, but never none at all and never for ever."""
    settings = RetrySettings(initial=1, maximum=60, jitter=0.5)
    wait = wait_after(settings, failures, wish, draw)
    assert 0.5 <= wait <= 3600
    if wish is not None and 1 <= wish <= 3600:
        assert wait == wish


class Scripted:
    """A target that does what it is told, in turn, and then delivers."""

    def __init__(self, *deliveries: Delivery | Exception) -> None:
        self.deliveries = list(deliveries)
        self.sent: list[bytes] = []

    def send(self, request: bytes) -> Delivery:
        """Note a request."""
        self.sent.append(request)
        delivery = self.deliveries.pop(0) if self.deliveries else Delivered()
        if isinstance(delivery, Exception):
            raise delivery
        return delivery

    def close(self) -> None:
        """Do nothing."""


class Clock:
    """A clock that a pause moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> bool:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now += seconds
        return False


def run(folder: Path, target: Target, count: int) -> tuple[Clock, Registry, Queue]:
    """Send some requests through a queue to a target, without waiting for real."""
    clock, registry = Clock(), Registry()
    queue = Queue(folder, QueueSettings())
    for number in range(count):
        queue.put(b"%d" % number, spans=10)
    sender = Sender(
        "test",
        queue,
        target,
        RetrySettings(initial=1, maximum=8, jitter=0.5),
        registry,
        clock=lambda: clock.now,
        draw=lambda: 0.0,
        pause=clock.pause,
    )
    sender.start()
    sender.stop(drain=PATIENCE)
    return clock, registry, queue


def test_failures_are_retried_with_growing_waits(tmp_path: Path) -> None:
    """A request is sent until it is delivered, with the waits of the policy or of the target."""
    again = Postponed("down")
    target = Scripted(again, again, Postponed("busy", 30.0), RuntimeError("ours"), again, again)
    clock, registry, _ = run(tmp_path, target, 2)
    assert target.sent == [b"0"] * 7 + [b"1"]
    assert clock.pauses == [1, 2, 30, 8, 8, 8]
    text = registry.text()
    assert 'tracekit_exporter_failures_total{exporter="test"} 6\n' in text
    assert 'tracekit_exporter_sent_total{exporter="test"} 2\n' in text
    assert 'tracekit_exporter_sent_spans_total{exporter="test"} 20\n' in text


def test_refused_requests_hold_up_nothing(tmp_path: Path) -> None:
    """What a target refuses for good is parked and counted, and the next request goes out."""
    target = Scripted(Refused("too large"), Delivered(3, "too old"))
    clock, registry, queue = run(tmp_path, target, 2)
    assert target.sent == [b"0", b"1"]
    assert clock.pauses == []
    assert (queue.counts.parked, queue.counts.parked_spans) == (1, 10)
    text = registry.text()
    assert 'tracekit_exporter_parked_spans_total{exporter="test"} 10\n' in text
    assert 'tracekit_exporter_rejected_spans_total{exporter="test"} 3\n' in text
    assert 'tracekit_exporter_sent_spans_total{exporter="test"} 7\n' in text


def test_stop_ends_a_wait_and_keeps_the_request(tmp_path: Path) -> None:
    """A sender that waits for a dead target stops at once, and the request stays in the queue."""
    paused, stop = threading.Event(), threading.Event()

    def pause(_: float) -> bool:
        paused.set()
        return stop.wait(PATIENCE)

    queue = Queue(tmp_path, QueueSettings())
    queue.put(BODY, 1)
    target = Scripted(*itertools.repeat(Postponed("down"), 5))
    sender = Sender("test", queue, target, RetrySettings(), Registry(), pause=pause)
    sender.start()
    assert paused.wait(PATIENCE)
    assert sender.failing
    stop.set()
    sender.stop()
    with contextlib.closing(Queue(tmp_path, QueueSettings())) as again:
        assert again.waiting == 1


def test_targets_are_independent(tmp_path: Path) -> None:
    """A target that is down holds up no other, and gets everything after a restart."""
    living, dead = Sink(), Sink()
    servers = [
        HttpServerReceiver(HttpReceiver(endpoint="127.0.0.1:0"), sink, Registry())
        for sink in (living, dead)
    ]
    settings = [
        OtlpHttpExporter(type="otlp_http", name=name, url=f"http://127.0.0.1:{server.port}")
        for name, server in zip(("living", "dead"), servers, strict=True)
    ]
    servers[0].start()
    servers[1].stop(0)
    exporters = Exporters(settings, tmp_path, Registry())
    exporters.start()
    for number in range(20):
        exporters.put(b"%d" % number, 1)
    living.wait(20)
    exporters.stop()
    reborn = HttpServerReceiver(HttpReceiver(endpoint="127.0.0.1:0"), dead, Registry())
    reborn.start()
    moved = settings[1].model_copy(update={"url": f"http://127.0.0.1:{reborn.port}"})
    exporters = Exporters([settings[0], moved], tmp_path, Registry())
    exporters.start()
    exporters.stop(drain=PATIENCE)
    for server in (servers[0], reborn):
        server.stop(PATIENCE)
    expected = {b"%d" % number for number in range(20)}
    assert set(living.requests) == set(dead.requests) == expected


def test_request_goes_to_all_queues_or_none(tmp_path: Path) -> None:
    """Where one queue has no room, no queue takes the request, so that it can be put in again."""
    small = QueueSettings(quota=200, segment=100)  # type: ignore[arg-type]
    settings = [
        FileExporter(type="file", name="large", path=tmp_path / "a.pb"),
        FileExporter(type="file", name="small", path=tmp_path / "b.pb", queue=small),
    ]
    exporters = Exporters(settings, tmp_path / "queues", Registry())
    exporters.put(bytes(100), 1)
    with pytest.raises(QueueFullError):
        exporters.put(bytes(100), 1)
    assert [sender.queue.waiting for sender in exporters.senders] == [1, 1]
    exporters.sync()
    exporters.stop()


@pytest.mark.parametrize(("form", "name"), [("protobuf", "traces.pb"), ("json", "traces.jsonl")])
def test_files_are_rotated_and_can_be_imported(form: Any, name: str, tmp_path: Path) -> None:
    """Files end at their size, the oldest are removed, and each is one that import reads."""
    settings = FileExporter.model_validate(
        {"type": "file", "path": tmp_path / "out" / name, "format": form}
        | {"max_bytes": 1000, "max_files": 3}
    )
    target = FileTarget(settings)
    bodies = [request([span(f"step {number}")]) for number in range(40)]
    with contextlib.closing(target):
        assert [target.send(body) for body in bodies] == [Delivered()] * 40
    files = sorted((tmp_path / "out").iterdir())
    stem, suffix = name.split(".")
    assert [path.name for path in files] == [f"{stem}.1.{suffix}", f"{stem}.2.{suffix}", name]
    assert all(path.stat().st_size <= 1000 for path in files)
    assert names_in(files) <= {f"step {number}" for number in range(40)}
    assert "step 39" in names_in([tmp_path / "out" / name])


def names_in(files: list[Path]) -> set[str]:
    """Return the names of the spans that the importers find in some files."""
    return {
        str(row["name"])
        for path in files
        for source in open_sources([str(path)])
        for chunk in source.chunks()
        for row in scan(chunk).table.to_pylist()
    }


def test_file_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A new process appends to the file that is there."""
    settings = FileExporter(type="file", path=tmp_path / "traces.pb")
    for _ in range(2):
        target = FileTarget(settings)
        assert target.send(BODY) == Delivered()
        target.close()
    sized = len(BODY).to_bytes(4, "big") + BODY
    assert (tmp_path / "traces.pb").read_bytes() == sized * 2


def test_unwritable_file_is_waited_for(tmp_path: Path) -> None:
    """A file that cannot be written postpones: the operator may repair it."""
    (tmp_path / "file").write_text("")
    target = FileTarget(FileExporter(type="file", path=tmp_path / "file" / "traces.pb"))
    assert isinstance(target.send(BODY), Postponed)


def test_standard_output_gets_json_lines() -> None:
    """Each request is one line of OTLP/JSON with ids in hex; what is no request is refused."""
    output = BytesIO()
    target = StdoutTarget(lambda: output)
    assert target.send(BODY) == Delivered()
    assert isinstance(target.send(b"\xff"), Refused)
    document = json.loads(output.getvalue())
    (made,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert made["name"] == "chat"
    assert len(bytes.fromhex(made["traceId"])) == 16


def test_every_type_can_be_built(tmp_path: Path) -> None:
    """Every type of exporter of the settings has a target, and one that is broken breaks all."""
    settings: list[AnyExporter] = [
        OtlpGrpcExporter(type="otlp_grpc", endpoint="127.0.0.1:1"),
        OtlpHttpExporter(type="otlp_http", url="https://127.0.0.1:1"),
        FileExporter(type="file", path=tmp_path / "x.pb"),
        StdoutExporter(type="stdout"),
    ]
    registry = Registry()
    exporters = Exporters(settings, tmp_path / "queues", registry)
    assert sorted(path.name for path in (tmp_path / "queues").iterdir()) == [
        "file",
        "otlp_grpc",
        "otlp_http",
        "stdout",
    ]
    assert registry.text().count("tracekit_exporter_waiting{") == 4
    exporters.stop()
