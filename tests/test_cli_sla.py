"""`tracekit sla` as a user calls it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest
import sla_month
from click.testing import CliRunner
from test_sla_month import day

from tracekit.cli import main
from tracekit.sla import reading

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

TERMS = str(sla_month.ROOT / "examples" / "terms" / "openai.yaml")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cli")
    sla_month.play(folder, day(), 60, seed=4)
    return str(folder / "lake")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sla", *arguments], env={"COLUMNS": "110"})


def records(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_verdicts_indicators_and_losses_are_one_answer(lake: str) -> None:
    """For people: promises first, then from calls to tasks, then what was lost to what."""
    result = run("--lake", lake, "--terms", TERMS)
    assert result.exit_code == 0
    parts = ("Promises of providers", "From calls to tasks", "What failed tasks were lost to")
    places = [result.stdout.index(part) for part in parts]
    assert places == sorted(places)
    assert "Were failures of attempts independent" in result.stdout
    assert all(len(line) <= 110 for line in result.stdout.splitlines())


def test_verdicts_as_data_with_credits(lake: str) -> None:
    """Every field of a verdict, and the credit of the fees that were named."""
    (row,) = records("--lake", lake, "--terms", TERMS, "--fees", "1000")
    assert row["terms"] == "incident-openai"
    assert row["verdict"] in {"met", "missed", "indeterminate"}
    assert row["credit_usd"] == row["credit_percent"] * 10
    assert row["low"] < row["measured"] <= row["high"]


def test_a_part_of_a_month_is_no_verdict(lake: str) -> None:
    """--from and --to choose the calls, and the reason says that the month is not whole."""
    (row,) = records("--lake", lake, "--terms", TERMS, "--from", "2026-03-01", "--to", "2026-03-01")
    assert row["verdict"] == "indeterminate"
    assert "only a part of the period is looked at" in row["reason"]


def test_without_fitting_terms_it_says_so(lake: str) -> None:
    """The simulated calls name no service tier, so none of the shipped terms speaks of them."""
    result = run("--lake", lake)
    assert result.exit_code == 0
    assert "No terms that come along speak of these calls" in result.stdout


def test_evidence_is_a_file_of_calls(lake: str, tmp_path: Path) -> None:
    """One line per failed or left-out call, as many as the verdict counts."""
    path = tmp_path / "claim.csv"
    (row,) = records("--lake", lake, "--terms", TERMS, "--evidence", str(path))
    with path.open(encoding="utf-8", newline="") as file:
        calls = list(csv.DictReader(file))
    classes = [call["class"] for call in calls]
    for name in ("counted", "excluded", "uncounted"):
        assert classes.count(name) == row[name]
    assert all(call["utc_time"].startswith("2026-03-") for call in calls)


@pytest.mark.parametrize(
    ("part", "output"), [("slis", "table"), ("waterfall", "csv"), ("chain", "json")]
)
def test_each_part_by_itself_and_grouped(lake: str, part: str, output: str) -> None:
    """Per agent, in each format; the keys come first."""
    result = run(part, "--lake", lake, "--by", "agent", "--format", output)
    assert result.exit_code == 0, result.output
    assert "back-office-agent" in result.stdout
    if output == "csv":
        assert result.stdout.startswith("agent_name,")


def test_losses_add_up_in_every_group(lake: str) -> None:
    """As data all causes have a row, also those without a loss."""
    losses = records("waterfall", "--lake", lake, "--by", "agent")
    slis = records("slis", "--lake", lake, "--by", "agent")
    for agent in ("support-agent", "back-office-agent"):
        lost = [row["tasks"] for row in losses if row["agent_name"] == agent]
        (bad,) = (r["bad"] for r in slis if r["agent_name"] == agent and r["sli"] == "task")
        assert (len(lost), sum(lost)) == (9, bad)


def test_the_shipped_terms_are_listed() -> None:
    """With source, confidence and what is not stated."""
    rows = records("terms")
    assert [row["terms"] for row in rows] == [*reading.shipped()]
    assert all(row["source"] and row["confidence"] for row in rows)


def test_terms_of_ones_own_are_checked(tmp_path: Path) -> None:
    """The template passes; a mistake is told with its line, and the exit code says so."""
    path = tmp_path / "mine.yaml"
    path.write_text(run("template").stdout, encoding="utf-8")
    assert run("check", str(path)).exit_code == 0
    path.write_text(
        path.read_text(encoding="utf-8").replace("objective: 0.999", "objective: 99.9"),
        encoding="utf-8",
    )
    result = run("check", str(path))
    assert result.exit_code == 1
    line = next(line for line in result.stderr.splitlines() if "availability.objective" in line)
    assert line.startswith(f"Error: {path}:")
    assert "a number above 0 and at most 1" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--terms", "nowhere.yaml"], "no file and no shipped terms 'nowhere.yaml'"),
        (["--fees", "12"], "--fees 12: say of which terms, as ID=12"),
        (["--terms", TERMS, "--fees", "many"], "expected an amount in USD"),
        (["--maintenance", "tonight"], "expected FROM/TO, as 2026-03-01T02:00/2026-03-01T04:00"),
        (["--maintenance", "2026-03-02/2026-03-01"], "ends before it begins"),
        (["slis", "--by", "agnet"], "tasks has no column 'agnet'"),
        (["waterfall", "--where", "outcome = "], "--where"),
        (["--fees", "1", "slis"], "write the options behind slis, not before it"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(lake: str, arguments: list[str], message: str) -> None:
    """What was wrong and what to write; exit code 2, never a traceback."""
    given = arguments if "slis" in arguments[2:] else [*arguments, "--lake", lake]
    result = run(*given)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)
