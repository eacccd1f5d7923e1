"""The commands as a user calls them, on the demo's lake."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import golden
import pytest
from click.testing import CliRunner
from conftest import ROOT
from otlp_build import request, span

from tracekit.cli import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

PRINTING = [name for name in COMMANDS if name not in {"outcome", "demo", "collect", "keep", "ui"}]
"""Commands that print data."""

ASKING = {
    "report": ["--by", "agent_name"],
    "stops": [],
    "cost": [],
    "sessions": ["--limit", "5"],
    "session": ["sim-001"],
    "detect": [],
    "slo": ["replay", str(ROOT / "examples" / "slo.yaml")],
    "sql": ["SELECT session_id, cost_usd FROM sessions ORDER BY 1 LIMIT 3"],
    "schema": ["sessions"],
    "doctor": [],
}
"""A call of every command that asks the lake, or nothing but the declarations."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield what `tracekit demo` prints at 100 characters, inside the folder with its lake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("demo"))
        patch.setenv("COLUMNS", "100")
        patch.setenv("TRACEKIT_LAKE", ".tracekit-demo")
        result = CliRunner().invoke(main, ["demo"])
        assert result.exit_code == 0, result.output
        yield result.stdout


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def records(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    parsed: list[dict[str, Any]] = json.loads(result.stdout)
    return parsed


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


def options_of(found: click.Command) -> set[str]:
    """Return the options of a command, and of the commands below it."""
    below = found.commands.values() if isinstance(found, click.Group) else ()
    own = {option for param in found.params for option in param.opts}
    return own.union(*map(options_of, below))


def stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_the_demo_prints_what_it_always_prints(demo: str) -> None:
    """Report, stops and one failing session, readable at 100 characters."""
    golden.check("demo.txt", stripped(demo))
    assert "simulated sessions" in demo
    assert max(map(len, demo.splitlines())) <= 100


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("name", ASKING)
def test_tables_fit_the_terminal(
    demo: str, name: str, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command keeps to the terminal's width, and prints no colours into a pipe."""
    assert demo
    monkeypatch.setenv("COLUMNS", width)
    result = run(name, *ASKING[name])
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= int(width)
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """Each command has help, `--lake` where it uses one, and `--format` where it prints data."""
    options = options_of(command(name))
    assert run(name, "--help").exit_code == 0
    assert command(name).help
    assert ("--format" in options) == (name in PRINTING)
    assert ("--lake" in options) == (name != "keep")


@pytest.mark.parametrize("name", ASKING)
def test_json_and_csv_agree(demo: str, name: str) -> None:
    """Both parse back, with the same columns and the same number of rows."""
    assert demo
    parsed = records(name, *ASKING[name])
    text = run(name, *ASKING[name], "--format", "csv").stdout
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert parsed
    assert [list(record) for record in parsed] == [list(line) for line in lines]


def test_the_objectives_of_the_demo(demo: str) -> None:
    """Of the example file one objective is met, one undecided, and one missed, which fails."""
    assert demo
    at = ["examples/slo.yaml", "--lake", ".tracekit-demo", "--at", "2026-01-18"]
    result = run("slo", str(ROOT / at[0]), *at[1:])
    assert (result.exit_code, result.stderr) == (1, "Gate failed: coding-verified (missed)\n")
    lines = [f"$ tracekit slo {' '.join(at)}", "", *result.stdout.splitlines()]
    golden.check("slo.txt", stripped("\n".join([*lines, *result.stderr.splitlines()])))


def test_the_report_adds_up(demo: str) -> None:
    """Groups hold every task once, and the rate is that of the decided ones."""
    assert demo
    (whole,) = records("report")
    groups = records("report", "--by", "agent,model")
    assert sum(group["tasks"] for group in groups) == whole["tasks"] == 320
    assert whole["success_rate"] == whole["successes"] / (whole["successes"] + whole["failures"])
    assert whole["tasks"] == whole["successes"] + whole["failures"] + whole["undetermined"]


def test_the_demo_s_endings_get_their_codes(demo: str) -> None:
    """What is simulated is what is found: most codes of the taxonomy's categories appear."""
    assert demo
    found = {row["stop_reason"] for row in records("stops")}
    assert found >= {
        "completed.verified",
        "completed.unverified",
        "completed.declared",
        "completed.false_claim",
        "completed.rejected_by_verifier",
        "completed.declined_infeasible",
        "truncated.output_limit",
        "truncated.mid_artifact",
        "loop.repeat_call",
        "limit.steps",
        "tool.error_unrecovered",
        "provider.rate_limited",
        "provider.overloaded",
        "cancelled.user",
        "runtime.crash",
    }
    assert not {code for code in found if code.startswith("unknown")}


def test_commands_to_paste_stay_on_one_line(demo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow terminal, too, the demo's suggestions can be copied as they are."""
    assert demo
    monkeypatch.setenv("COLUMNS", "60")
    suggested = run("demo").stdout.split("Next\n")[1].splitlines()
    assert [line for line in suggested if not line.startswith("  tracekit ")] == []


def test_the_demo_runs_twice(demo: str) -> None:
    """A second run imports nothing and shows the same figures."""
    again = run("demo").stdout
    assert "are in .tracekit-demo already" in again
    assert again.splitlines()[1:] == demo.splitlines()[1:]


def test_a_session_is_found_by_the_beginning_of_its_id(demo: str) -> None:
    """`tracekit session` takes a prefix; for an ambiguous one it names the candidates."""
    assert demo
    steps = records("session", "sim-001")
    assert steps[0]["depth"] == 0
    ambiguous = run("session", "sim-0")
    assert ambiguous.exit_code == 2
    assert "sim-001-" in ambiguous.stderr


def test_an_outcome_counts_from_when_it_is_known(
    demo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict changes the session, and `--as-of` shows what was known before."""
    assert demo
    shutil.copytree(".tracekit-demo", tmp_path / "lake")
    monkeypatch.setenv("TRACEKIT_LAKE", str(tmp_path / "lake"))
    (before,) = records("sessions", "--where", "outcome = 'undetermined'", "--limit", "1")
    session_id = before["session_id"]
    said = run("outcome", session_id, "success", "--source", "a reviewer")
    assert said.exit_code == 0
    where = ("sessions", "--where", f"session_id = '{session_id}'")
    (after,) = records(*where)
    (past,) = records(*where, "--as-of", "2026-01-31")
    assert (after["outcome"], after["outcome_source"]) == ("success", "verified")
    assert past["outcome"] == "undetermined"
    assert "no such session" in run("outcome", "nobody", "failure", "--source", "x").stderr


@pytest.mark.parametrize("view", ["sessions", "tasks", "attempts", "outcomes", "spans"])
def test_the_schema_lists_every_column_of_the_views(demo: str, view: str) -> None:
    """What `tracekit schema` explains is what a query can name, no more and no less."""
    assert demo
    listed = {row["column"] for row in records("schema", view)}
    assert listed == {row["column_name"] for row in records("sql", f"DESCRIBE {view}")}


def test_a_query_comes_from_standard_input(demo: str) -> None:
    """`tracekit sql -` reads the query."""
    assert demo
    result = run("sql", "-", "--format", "csv", stdin="SELECT count(*) AS n FROM sessions")
    assert result.stdout.split() == ["n", "320"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "--where", "agent_nam = 'x'"], "did you mean agent_name"),
        (["report", "--by", "modle"], "did you mean model"),
        (["report", "--since", "yesterday"], "no date like"),
        (["cost", "--by", "agnt"], "did you mean"),
        (["sessions", "--sort", "cost"], "did you mean cost_usd"),
        (["sql", "SELECT nothing FROM nowhere"], "nowhere"),
        (["sql", "DROP VIEW sessions"], "only queries"),
        (["schema", "spams"], "did you mean spans"),
        (["report", "--format", "yaml"], "yaml"),
    ],
)
def test_a_wrong_call_is_told_in_a_line_and_ends_with_2(
    demo: str, arguments: list[str], message: str
) -> None:
    """Mistakes of the caller name what was wrong, without a traceback."""
    assert demo
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert "Error: " in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["report", "stops", "cost", "sessions", "doctor"])
def test_a_lake_that_is_not_there_ends_with_1(name: str, tmp_path: Path) -> None:
    """One line says where it was looked for and how to make one."""
    result = run(name, "--lake", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "tracekit import" in result.stderr


def test_import_says_what_it_did_and_does_it_once(tmp_path: Path) -> None:
    """The summary counts files, sessions and spans; a second import changes nothing."""
    path = tmp_path / "spans.pb"
    path.write_bytes(request([span("chat m", {"gen_ai.operation.name": "chat"})]))
    call = ("import", str(path), "--lake", str(tmp_path / "lake"))
    (first,) = records(*call)
    (second,) = records(*call)
    assert (first["files"], first["sessions"], first["spans"]) == (1, 1, 1)
    assert (second["files"], second["already"], second["spans"]) == (0, 1, 0)


def test_one_bad_file_does_not_spoil_the_others(tmp_path: Path) -> None:
    """The good file is imported, the bad one named, and the exit code is 1."""
    (tmp_path / "good.pb").write_bytes(request([span("chat m", {"gen_ai.operation.name": "chat"})]))
    (tmp_path / "bad.json").write_bytes(b"%PDF-1.7 is no JSON")
    result = run("import", str(tmp_path), "--lake", str(tmp_path / "lake"), "--format", "json")
    assert result.exit_code == 1
    (summary,) = json.loads(result.stdout)
    assert (summary["files"], summary["failed"]) == (1, 1)
    assert "bad.json" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("make", [None, "empty"])
def test_nothing_to_import_ends_with_1(tmp_path: Path, make: str | None) -> None:
    """A path that is absent, or a folder that holds nothing, is told in a line."""
    path = tmp_path / "folder"
    if make:
        path.mkdir()
    result = run("import", str(path), "--lake", str(tmp_path / "lake"))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(path) in result.stderr


def test_a_file_that_says_nothing_by_itself_is_told_with_the_reason(tmp_path: Path) -> None:
    """Annotations without the sessions they are about: the line says what to do."""
    path = tmp_path / "truth.json"
    failure = {"failure_id": 1, "step_number": 3}
    path.write_text(json.dumps([{"trajectory_id": 3, "failures": [failure]}]))
    result = run("import", str(path), "--lake", str(tmp_path / "lake"))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "have to come in one archive" in result.stderr


def test_help_loads_nothing_heavy() -> None:
    """`tracekit --help` answers without DuckDB, Numba, Arrow or rich."""
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from tracekit.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print(*sorted({'duckdb', 'numba', 'pyarrow', 'rich', 'pydantic'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_a_closed_pipe_is_silent(demo: str) -> None:
    """`tracekit ... | head -1` ends without a traceback."""
    assert demo
    code = "import sys; from tracekit.cli import main; main()"
    query = "SELECT * FROM range(100000)"
    shell = f'"{sys.executable}" -c "{code}" sql "{query}" --format csv | head -1'
    done = subprocess.run(["sh", "-c", shell], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "range"
    assert done.stderr == ""
