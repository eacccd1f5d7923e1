"""`tracekit policy`: check, show and explain, as a user calls them."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from lake_build import imported, new_lake
from otlp_build import span

from tracekit.cli import main
from tracekit.otlp.tracestate import encode_randomness, session_randomness

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """name: shop
rules:
  - {name: cut, when: stop_category = 'truncated', keep: all, reasons: [cut off]}
drop:
  - {name: probes, when: "starts_with(session_id, 'probe')"}
baseline: 0.000001
strata: [{by: [model], floor: 2}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a lake of three sessions and a policy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    spans = []
    for number, (session, stop) in enumerate(
        [("chat-1", "length"), ("chat-2", "stop"), ("probe-3", "length")], 1
    ):
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": session,
            "gen_ai.response.finish_reasons": [stop],
        }
        spans.append(span("chat", attributes, trace=number))
    imported(new_lake(tmp_path / ".tracekit"), tmp_path, one=spans)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", *arguments])


def explained(session: str, *arguments: str) -> list[dict[str, Any]]:
    result = run("explain", session, "--policy", "policy.yaml", "--format", "json", *arguments)
    assert result.exit_code == 0, result.output
    parsed: list[dict[str, Any]] = json.loads(result.stdout)
    return parsed


def cells(rows: list[dict[str, Any]], part: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows if row["part"] == part}


def test_explain_what_is_kept(folder: Path) -> None:
    """A session that a rule matches: its R, its T, the rule, and the features it was judged by."""
    assert folder
    rows = explained("chat-1")
    decision = cells(rows, "decision")
    assert decision["keep"]["matches"] is True
    assert decision["keep"]["detail"] == "cut off"
    assert decision["R"]["th"] == encode_randomness(session_randomness("chat-1"))
    assert (decision["T"]["th"], decision["T"]["probability"]) == ("0", 1)
    assert cells(rows, "rule")["cut"]["matches"] is True
    assert cells(rows, "drop")["probes"]["matches"] is False
    assert cells(rows, "feature")["stop_category"]["detail"] == "truncated"


def test_explain_what_is_not_kept(folder: Path) -> None:
    """A session below its threshold, and one that a drop rule matches, say which it was."""
    assert folder
    decision = cells(explained("chat-2"), "decision")
    assert decision["keep"]["matches"] is False
    assert decision["T"]["detail"].startswith("baseline; weight 9999")
    dropped = cells(explained("probe"), "decision")
    assert (dropped["keep"]["matches"], dropped["keep"]["detail"]) == (False, "probes")
    assert dropped["T"]["probability"] == 0


def test_explain_for_people(folder: Path) -> None:
    """The table fits the terminal, says why, and what it leaves out."""
    assert folder
    result = run("explain", "chat-1", "--policy", "policy.yaml")
    assert result.stdout.startswith("Session chat-1: kept by shop")
    assert "T is that of cut. Kept for: cut off." in result.stdout
    assert "Left out: strata" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_explain_as_csv(folder: Path) -> None:
    """CSV has the rows of JSON."""
    assert folder
    text = run("explain", "chat-1", "--policy", "policy.yaml", "--format", "csv").stdout
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["name"] for line in lines] == [row["name"] for row in explained("chat-1")]


def test_explain_needs_a_session(folder: Path) -> None:
    """A session the lake does not have is a wrong call."""
    assert folder
    result = run("explain", "nobody")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no session begins with 'nobody'" in result.stderr


def test_check(folder: Path) -> None:
    """A good policy is said to be one, with what its estimates will not cover."""
    result = run("check", "policy.yaml")
    assert result.exit_code == 0
    assert "policy shop is fine: 2 rules" in result.stdout
    assert "what a drop rule matches is in no estimate" in result.stdout
    (folder / "policy.yaml").write_text("name: p\nbaselin: 1\nruls: []\n", encoding="utf-8")
    result = run("check", "policy.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "Error: policy.yaml:2: baselin: unknown key; did you mean baseline?",
        "Error: policy.yaml:3: ruls: unknown key; did you mean rules?",
    ]


def test_show(folder: Path) -> None:
    """A policy is shown as it is understood, the default one where none is named."""
    rows = json.loads(run("show", "policy.yaml", "--format", "json").stdout)
    assert [(row["part"], row["name"]) for row in rows][:4] == [
        ("drop", "probes"),
        ("rule", "cut"),
        ("baseline", "baseline"),
        ("strata", "model"),
    ]
    assert run("show").stdout.startswith("Policy keep-anomalies")
    text = POLICY + (
        "budgets: {bytes_per_day: 1GB, tenants: {acme: {spans_per_second: 5}}}\n"
        "degrade: [{name: d, above: 2, steps: [{redact: [a, b]}, {truncate: {attributes: [c]}},"
        " {skeleton: true}]}]\nshadow: [{preset: keep-all}]\n"
    )
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    result = run("show", "policy.yaml", "--format", "csv").stdout
    for words in (
        '"1,000,000,000 bytes per UTC day"',
        "tenant acme",
        "redact a, b",
        "skeleton",
        "shadow,keep-all",
    ):
        assert words in result
