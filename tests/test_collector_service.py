"""`tracekit collect` as a process: real exporters send to it, it drains, the lake answers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from click.testing import CliRunner
from collector_build import PATIENCE
from lake_build import rows
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from samplers.collector.service import PolicyWatch
from samplers.collector.settings.storage import PolicySettings
from tracekit.cli import main
from tracekit.lake import Lake
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

SETTINGS = """
data: {folder}/data
receivers:
  grpc: {{endpoint: "127.0.0.1:0"}}
  http: {{endpoint: "127.0.0.1:0"}}
health: {{endpoint: "127.0.0.1:0"}}
policy: {{preset: {preset}}}
exporters:
  - type: file
    path: {folder}/kept.pb
lake: {{folder: {folder}/lake, flush_interval: 1h}}
"""


@contextmanager
def collecting(
    folder: Path, preset: str = "errors-only", end: signal.Signals = signal.SIGTERM
) -> Iterator[dict[str, int]]:
    """Run the command, yield its ports, end it by a signal."""
    (folder / "collector.yaml").write_text(SETTINGS.format(folder=folder, preset=preset))
    code = "from tracekit.cli import main; main()"
    command = [sys.executable, "-c", code, "collect", "-c", str(folder / "collector.yaml")]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=folder, env=dict(os.environ)
    ) as process:
        assert process.stderr is not None
        heard = []
        for line in process.stderr:
            heard.append(line)
            if line.startswith("collecting: "):
                break
        else:
            raise AssertionError("".join(heard))
        try:
            yield {name: int(port) for name, port in re.findall(r"(\w+) (\d+)", line)}
        finally:
            process.send_signal(end)
            said = process.stderr.read()
        assert process.wait(PATIENCE) == (0 if end is signal.SIGTERM else -end), said
        assert "Traceback" not in said, said


def sessions(exporter: SpanExporter, names: list[str]) -> None:
    """Play sessions of two spans; those whose name begins with bad fail."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    for name in names:
        declared = {"tracekit.done.status": "failed"} if name.startswith("bad") else {}
        with (
            tracer.start_as_current_span("agent", attributes={"session.id": name, **declared}),
            tracer.start_as_current_span(
                "chat",
                attributes={
                    "gen_ai.operation.name": "chat",
                    "gen_ai.response.finish_reasons": ["content_filter" if declared else "stop"],
                },
            ),
        ):
            pass
    provider.shutdown()


def asked(port: int, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Return status and text of a page; with a body, of sending it there."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}{path}", body, timeout=PATIENCE
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_sessions_sent_by_the_sdk_are_reported_after_a_drain(tmp_path: Path) -> None:
    """Over gRPC and HTTP; the failed one is kept, exported and stored, all are in the ledger."""
    with collecting(tmp_path) as ports:
        grpc = GrpcExporter(endpoint=f"http://127.0.0.1:{ports['grpc']}", insecure=True)
        sessions(grpc, ["good-1", "bad-1"])
        sessions(HttpExporter(f"http://127.0.0.1:{ports['http']}/v1/traces"), ["good-2"])
        assert asked(ports["health"], "/ready") == (200, "ok\n")
        assert asked(ports["health"], "/keep", b"nobody")[0] == 409
        assert "tracekit_spans_total 6\n" in asked(ports["health"], "/metrics")[1]
    lake = Lake.open(tmp_path / "lake")
    question = "SELECT session_id, kept, spans FROM sessions ORDER BY 1"
    assert rows(lake, question) == [("bad-1", True, 2), ("good-1", False, 2), ("good-2", False, 2)]
    assert set(rows(lake, "SELECT session_id FROM spans")) == {"bad-1"}
    result = CliRunner().invoke(main, ["report", "--lake", str(lake.path), "--format", "json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["tasks"] == 3
    kept = (tmp_path / "kept.pb").read_bytes()
    table = scan(kept[4:]).table
    assert table.num_rows == 2
    assert set(table["sampling_policy"].to_pylist()) == {None, "errors-only"}


def test_a_second_run_takes_up_the_folder(tmp_path: Path) -> None:
    """What the first run decided is not exported again, and new sessions are."""
    for number in (1, 2):
        with collecting(tmp_path, "keep-all") as ports:
            grpc = GrpcExporter(endpoint=f"http://127.0.0.1:{ports['grpc']}", insecure=True)
            sessions(grpc, [f"run-{number}"])
    lake = Lake.open(tmp_path / "lake")
    assert rows(lake, "SELECT session_id FROM sessions ORDER BY 1") == ["run-1", "run-2"]
    assert rows(lake, "SELECT count(*), count(DISTINCT span_id) FROM spans") == [(4, 4)]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Killed at once after the last answer, and started again, it exports and stores all of it."""
    with collecting(tmp_path, "keep-all", signal.SIGKILL) as ports:
        grpc = GrpcExporter(endpoint=f"http://127.0.0.1:{ports['grpc']}", insecure=True)
        sessions(grpc, [f"session-{number}" for number in range(20)])
    with collecting(tmp_path, "keep-all") as ports:
        assert asked(ports["health"], "/live")[0] == 200
    lake = Lake.open(tmp_path / "lake")
    assert rows(lake, "SELECT count(*), count(DISTINCT session_id) FROM spans") == [(40, 20)]


def test_a_bad_policy_is_refused_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A changed file is taken over when it is right, and told about when it is not."""
    file = tmp_path / "policy.yaml"
    file.write_text("name: first\nbaseline: 0.5\n")
    watch = PolicyWatch(PolicySettings(file=file))
    assert not watch.changed(asked=False)
    file.write_text("name: second\nbaselin: 0.5\n")
    assert not watch.changed(asked=False)
    assert watch.live.name == "first"
    assert "baseline" in caplog.text
    file.write_text("name: third\nbaseline: 0.25\n")
    assert watch.changed(asked=False)
    assert [policy.name for policy in watch.policies] == ["third"]
