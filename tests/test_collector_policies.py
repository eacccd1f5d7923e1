"""Policies in the running collector: reloads, shadows in the metrics, whose word counts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collector_build import PATIENCE
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from samplers.collector.metrics import Registry
from samplers.collector.policy_counts import describe_budgets
from samplers.pacing import Pace
from samplers.terms import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = """
data: {folder}/data
receivers:
  grpc: {{endpoint: "127.0.0.1:0"}}
  http: {{enabled: false}}
health: {{endpoint: "127.0.0.1:0"}}
sessions: {{root_delay: 1h, keyed_root_delay: 1h}}
policy: {{file: {folder}/policy.yaml}}
exporters: [{{type: file, path: {folder}/kept.pb}}]
"""

POLICY = """
name: first
baseline: 1
sessions: {keyed_root_delay: 1ms}
shadow:
  - {preset: errors-only}
"""


class Running:
    """A collector's process.

    Attributes:
        ports: Its ports by name.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        found = re.findall(r"(\w+) (\d+)", self.heard("collecting: "))
        self.ports = {name: int(port) for name, port in found}

    def heard(self, wanted: str) -> str:
        """Read what it says up to a line with a text; return the line."""
        assert self._process.stderr is not None
        before = []
        for line in self._process.stderr:
            before.append(line)
            if wanted in line:
                return line
        raise AssertionError("".join(before))

    def reload(self) -> None:
        """Have it read the policy again."""
        self._process.send_signal(signal.SIGHUP)

    def metrics(self, wanted: str) -> str:
        """Ask for the metrics until a line is among them; return them."""
        while True:
            url = f"http://127.0.0.1:{self.ports['health']}/metrics"
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                text: str = answer.read().decode()
            if wanted in text:
                return text
            assert self._process.poll() is None


@contextmanager
def collecting(folder: Path, policy: str) -> Iterator[Running]:
    """Run the command on a policy file."""
    (folder / "policy.yaml").write_text(policy)
    (folder / "collector.yaml").write_text(SETTINGS.format(folder=folder))
    code = "from tracekit.cli import main; main()"
    command = [sys.executable, "-c", code, "collect", "-c", str(folder / "collector.yaml")]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=folder, env=dict(os.environ)
    ) as process:
        try:
            yield Running(process)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            said = process.stderr.read()
            assert process.wait(PATIENCE) == 0, said


def test_policies_of_a_running_collector(tmp_path: Path) -> None:
    """Its sessions win over the settings, shadows are counted, reloads are taken or refused."""
    with collecting(tmp_path, POLICY) as running:
        provider = TracerProvider(shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{running.ports['grpc']}", insecure=True)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        attributes = {"session.id": "s", "tracekit.done.status": "ok"}
        with provider.get_tracer("t").start_as_current_span("agent", attributes=attributes):
            pass
        provider.shutdown()
        live = 'policy="first",role="live",rule="baseline",decision="keep"} 1\n'
        text = running.metrics(f"tracekit_policy_sessions_total{{{live}")
        assert 'policy="errors-only",role="shadow",rule="baseline",decision="drop"} 1\n' in text
        spans = 'tracekit_policy_spans_total{policy="errors-only",role="shadow",decision="drop"} 1'
        assert spans in text
        file = tmp_path / "policy.yaml"
        file.write_text("name: second\nbaselin: 1\nrules: 3\n")
        running.reload()
        assert f"{file}:2: baselin: unknown key; did you mean baseline?" in running.heard(":2:")
        assert f"{file}:3: rules: " in running.heard(":3:")
        assert "tracekit_policy_refused_total 1\n" in running.metrics("tracekit_policy_refused")
        file.write_text("name: third\nbaseline: 0.5\n")
        assert "policy third is taken over" in running.heard("taken over")


def test_metrics_of_budgets() -> None:
    """Pressure, level and what is spent of all together; of tenants how many are short."""
    registry = Registry()
    paces = {
        "overall/bytes": Pace(pressure=2.5, level=1, spent=7),
        "tenant/a/spans": Pace(pressure=3),
        "tenant/b/spans": Pace(pressure=0.5),
    }
    describe_budgets(registry, {"p": State(paces=paces)})
    text = registry.text()
    for line in (
        'tracekit_budget_pressure{policy="p",budget="bytes"} 2.5',
        'tracekit_budget_level{policy="p",budget="bytes"} 1',
        'tracekit_budget_spent{policy="p",budget="bytes"} 7',
        'tracekit_tenant_budgets_short{policy="p"} 1',
    ):
        assert f"{line}\n" in text
    assert "tenant/" not in text
