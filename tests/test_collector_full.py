"""No room on the disk, seen by clients: they are told to come again, and are taken when they do."""

from __future__ import annotations

import errno
import os
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from collector_build import PATIENCE
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from otlp_build import request, span

from samplers.collector.config import load
from samplers.collector.service import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LATER: Final = 1 << 61
"""A time at which every session is over, ns since 1970."""

SETTINGS = """
data: {folder}/data
receivers:
  grpc: {{endpoint: "127.0.0.1:0"}}
  http: {{endpoint: "127.0.0.1:0"}}
health: {{enabled: false}}
journal: {{segment: 64KiB, quota: 192KiB, lanes: 1, fsync: never, retry: 3s}}
policy: {{preset: keep-all}}
exporters:
  - {{type: file, path: {folder}/kept.pb}}
"""


@contextmanager
def collecting(folder: Path) -> Iterator[Collector]:
    """Run a collector whose rounds of decisions the test calls."""
    file = folder / "collector.yaml"
    file.write_text(SETTINGS.format(folder=folder))
    collector = Collector(load(file))
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()


def by_grpc(port: int, body: bytes) -> tuple[str, float | None]:
    """Return the status of a request, and in how many seconds to come again."""
    with closing(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
        export: Any = channel.unary_unary(EXPORT)
        try:
            export(body, timeout=PATIENCE)
        except grpc.RpcError as error:
            failed: Any = error
        else:
            return "OK", None
    details = Status.FromString(dict(failed.trailing_metadata())["grpc-status-details-bin"])
    info = RetryInfo()
    assert details.details[0].Unpack(info)
    return failed.code().name, info.retry_delay.ToMilliseconds() / 1e3


def by_http(port: int, body: bytes) -> tuple[str, float | None]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        headers = {"Content-Type": "application/x-protobuf"}
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        answer.read()
        wait = answer.getheader("Retry-After")
    return str(answer.status), None if wait is None else float(wait)


SENDERS = {"grpc": by_grpc, "http": by_http}
TAKEN = {"grpc": "OK", "http": "200"}
FULL = {"grpc": "RESOURCE_EXHAUSTED", "http": "503"}
KINDS = pytest.mark.parametrize("kind", ["grpc", "http"])


def body(trace: int) -> bytes:
    return request([span("root", {"pad": "x" * 16_000}, trace=trace)])


@KINDS
def test_a_full_quota_is_told_and_recovers(tmp_path: Path, kind: str) -> None:
    """What was taken before is kept; once its sessions are decided there is room again."""
    with collecting(tmp_path) as collector:
        port, send = collector.ports[kind], SENDERS[kind]
        taken = 0
        while (answer := send(port, body(taken + 1))) == (TAKEN[kind], None):
            taken += 1
        assert answer == (FULL[kind], 3.0)
        assert 8 <= taken <= 12
        assert collector.engine.counts["spans"] == taken
        collector.engine.tick(LATER)
        assert send(port, body(taken + 1)) == (TAKEN[kind], None)
        assert collector.engine.counts["spans"] == taken + 1
        assert collector.engine.exported_spans == taken


@KINDS
def test_a_full_disk_is_told_and_recovers(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a request that did not fit on the disk nothing is left, and it is not acknowledged."""
    with collecting(tmp_path) as collector:
        port, send = collector.ports[kind], SENDERS[kind]
        assert send(port, body(1)) == (TAKEN[kind], None)

        def full(fd: int, pieces: list[bytes], offset: int) -> None:
            os.pwrite(fd, pieces[0], offset)  # a part of it fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("samplers.lanes.write_all", full)
            assert send(port, body(2)) == (FULL[kind], 3.0)
        assert collector.engine.counts["spans"] == 1
        assert send(port, body(2)) == (TAKEN[kind], None)
        collector.engine.tick(LATER)
        assert collector.engine.exported_spans == 2
