"""`tracekit simulate`: targets, the truth beside them, and wrong calls."""

from __future__ import annotations

import csv
import gzip
import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit.cli import main
from tracekit.lake.lake import Lake
from tracekit.simulation.registry import modes
from tracekit.simulation.scenario import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["simulate", *map(str, arguments)])


def played(*arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_files_hold_the_same_spans(tmp_path: Path) -> None:
    """Protobuf, compressed protobuf and JSON lines import as the same spans."""
    contents = []
    for name in ("spans.pb", "spans.pb.gz", "spans.jsonl"):
        played("failures", "--sessions", 90, "--to", tmp_path / name)
        lake = Lake.open(tmp_path / f"{name}.lake", create=True)
        done = CliRunner().invoke(main, ["import", str(tmp_path / name), "--lake", str(lake.path)])
        assert done.exit_code == 0, done.output
        contents.append(lake.query("SELECT * FROM spans ORDER BY trace_id, span_id").to_pylist())
    assert len(contents[0]) > 900
    assert contents[0] == contents[1] == contents[2]


def test_the_truth_lies_beside_the_spans(tmp_path: Path) -> None:
    """CSV by default, Parquet where asked for, with one row per task; the summary adds them up."""
    played("failures", "--sessions", 90, "--to", tmp_path / "a.pb")
    rows = played(
        *("failures", "--sessions", 90, "--to", tmp_path / "b.pb"),
        *("--truth", tmp_path / "truth.parquet"),
    )
    with (tmp_path / "a.pb.truth.csv").open(newline="", encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    assert [row["task_id"] for row in told] == [row["task_id"] for row in table]
    assert sum(row["tasks"] for row in rows) == len(table) > 90
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(
        sum(row["cost_usd"] for row in table)
    )


def test_a_lake_knows_the_labels(tmp_path: Path) -> None:
    """Labels that come later are outcomes of the lake; the same run is not taken in twice."""
    lake = tmp_path / "lake"
    played("failures", "--sessions", 90, "--to", lake)
    with (tmp_path / "lake.truth.csv").open(newline="", encoding="utf-8") as file:
        labelled = {row["task_id"] for row in csv.DictReader(file) if row["label_ns"]}
    query = "SELECT coalesce(task_id, session_id) AS id FROM outcomes WHERE source = 'label'"
    assert set(Lake.open(lake).query(query)["id"].to_pylist()) == labelled
    again = run("failures", "--sessions", 90, "--to", lake)
    assert again.exit_code == 2
    assert "the lake has these sessions" in again.stderr


def test_what_there_is_to_play_is_listed() -> None:
    """Scenarios and modes, each with a sentence, modes with their truth."""
    rows = played("--list")
    assert {row["name"] for row in rows if row["kind"] == "scenario"} == set(SHIPPED)
    assert {row["name"] for row in rows if row["kind"] == "mode"} == modes().keys()
    assert all(row["summary"] for row in rows)
    assert all(row["code"] and row["known"] for row in rows if row["kind"] == "mode")


class _Collector(http.server.BaseHTTPRequestHandler):
    """Takes OTLP; the first request is to be sent again."""

    received: list[bytes]
    statuses: list[int]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            assert self.path == "/v1/traces"
            self.received.append(gzip.decompress(data))
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collector(*statuses: int) -> Iterator[tuple[str, list[bytes]]]:
    received: list[bytes] = []
    handler = type("Handler", (_Collector,), {"received": received, "statuses": [*statuses]})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_endpoint_gets_every_span_once(tmp_path: Path) -> None:
    """What the endpoint refuses for the moment is sent again, and nothing twice."""
    with collector(503, 429) as (url, received):
        played("--sessions", 40, "--to", url, "--truth", tmp_path / "t.csv", "--rate", 1e9)
    spans = [
        span.span_id
        for data in received
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == len(set(spans)) > 300


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere"], 2, "nowhere: no such file, and no scenario of that name"),
        (["--rate", "10"], 2, "--rate is for an endpoint"),
        (["--to", "x.pb", "--truth", "truth.txt"], 2, "written as .csv or .parquet"),
        (["--to", "http://"], 2, "no URL like"),
        (["--to", "no/such/folder/x.pb"], 2, "cannot be written"),
        (["--sessions", "0"], 2, "--sessions"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mistakes of the caller are named, without a traceback."""
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status
    assert message in result.stderr


def test_an_endpoint_that_refuses_ends_the_run(tmp_path: Path) -> None:
    """A status that asks for no second try is an error of one line."""
    with collector(400) as (url, _):
        result = run("--sessions", 5, "--to", url, "--truth", tmp_path / "t.csv")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {url}: the endpoint answered 400"
