"""`tracekit slo`: status, replay, check, import, export and rules, as a user calls them."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import ROOT
from lake_build import imported, new_lake
from otlp_build import span

from tracekit.cli import main

if TYPE_CHECKING:
    from pathlib import Path

OBJECTIVES = """objectives:
  - name: answers
    service: shop
    target: 50%
    time_window: 1d
    min_coverage: 0
    alerts: [{severity: page, budget: 0.1, long: 1h, short: 5m}]
"""
AT = "2026-01-01T01:00"
"""Within the hour after the spans, which end within the first minute of 2026."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder: a lake of 20 sessions that were cut off, and objectives."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "slo.yaml").write_text(OBJECTIVES, encoding="utf-8")
    spans = [
        span(
            "chat",
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.conversation.id": f"chat-{number}",
                "gen_ai.response.finish_reasons": ["length"],
            },
            trace=number,
        )
        for number in range(1, 21)
    ]
    imported(new_lake(tmp_path / ".tracekit"), tmp_path, one=spans)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["slo", *arguments])


def rows(*arguments: str) -> list[dict[str, Any]]:
    parsed: list[dict[str, Any]] = json.loads(run(*arguments, "--format", "json").stdout)
    return parsed


def test_a_missed_objective_fails_the_pipeline(folder: Path) -> None:
    """Exit code 1 and the reason on standard error; 0 where the gate is off."""
    result = run("--at", AT)
    assert result.exit_code == 1
    assert result.stdout.startswith("Objectives at 2026-01-01 01:00 UTC")
    assert result.stderr == "Gate failed: answers (missed)\n"
    assert max(map(len, result.stdout.splitlines())) <= 80
    (folder / "off.yaml").write_text(OBJECTIVES + "    gate: []\n", encoding="utf-8")
    result = run("off.yaml", "--at", AT)
    assert (result.exit_code, result.stderr) == (0, "")
    (row,) = rows("status", "--at", AT)
    assert (row["verdict"], row["bad"], row["alert"]) == ("missed", 20, "ok")


def test_json_and_csv_agree(folder: Path) -> None:
    """Every column is there, numbers as they are."""
    assert folder
    (row,) = rows("--at", AT)
    text = run("--at", AT, "--format", "csv").stdout
    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    assert list(line) == list(row)
    assert float(line["exact_high"]) == row["exact_high"]


def test_no_data_is_no_pass(folder: Path) -> None:
    """Where nothing was measured the verdict is indeterminate, and says where data ends."""
    assert folder
    result = run()
    assert result.exit_code == 0
    assert "indeterminate, no data" in result.stdout
    assert "--at 2026-01-01 asks" in " ".join(result.stdout.split())
    (row,) = rows()
    assert (row["sli"], row["alert"], row["gate"]) == (None, "no data", "passed")


def test_replay(folder: Path) -> None:
    """Alerts have their start and end; nothing is looked at without time to look at."""
    assert folder
    (row,) = rows("replay", "--since", "2026-01-01T00:00", "--until", "2026-01-01T01:00")
    assert (row["severity"], row["start"]) == ("page", "2026-01-01T00:05:00Z")
    assert (row["bad"], row["rules"]) == (20, ["page 1h/5m"])
    result = run("replay", "--since", "2026-01-02", "--until", "2025-12-31")
    assert (result.exit_code, result.stdout) == (2, "")
    assert run("replay", "--step", "90s").exit_code == 2


def test_check_tells_every_mistake(folder: Path) -> None:
    """A good file is shown as it is understood; a wrong one fails with all its lines."""
    result = run("check")
    assert result.exit_code == 0
    assert "50 %, 12.0 h" in result.stdout
    (folder / "slo.yaml").write_text(OBJECTIVES.replace("name", "nam"), encoding="utf-8")
    result = run("check")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "Error: slo.yaml:2: objectives[1].name: this setting is required",
        "Error: slo.yaml:2: objectives[1].nam: unknown setting; did you mean name?",
    ]


def test_a_missing_file_is_a_wrong_call(folder: Path) -> None:
    """Exit code 2, and where to look."""
    assert folder
    result = run("nowhere.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: no file of objectives 'nowhere.yaml'")


def test_there_and_back(folder: Path) -> None:
    """Exported to OpenSLO and imported again, objectives are the same, and work as either."""
    (folder / "open.yaml").write_text(run("export").stdout, encoding="utf-8")
    (folder / "back.yaml").write_text(run("import", "open.yaml").stdout, encoding="utf-8")
    assert run("export", "back.yaml").stdout == run("export").stdout
    assert rows("open.yaml", "--at", AT) == rows("back.yaml", "--at", AT) == rows("--at", AT)


def test_rules(folder: Path) -> None:
    """Rules of one objective are printed as a file Prometheus loads."""
    assert folder
    result = run("rules")
    assert result.exit_code == 0
    assert [len(group["rules"]) for group in yaml.safe_load(result.stdout)["groups"]] == [8, 1]


def test_help_names_the_commands(folder: Path) -> None:
    """`tracekit slo --help` is help, not a file."""
    assert folder
    text = run("--help").stdout
    for name in ("check", "export", "import", "replay", "rules", "status"):
        assert f"  {name} " in text


def test_the_documentation_shows_true_output() -> None:
    """What docs/slo.md shows of the demo is in the golden file the demo's lake is held to."""
    docs = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
    golden = (ROOT / "tests" / "golden" / "slo.txt").read_text(encoding="utf-8")
    assert f"```console\n{golden}```" in docs
