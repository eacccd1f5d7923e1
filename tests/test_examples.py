"""The examples run as they stand, without a key, and `tracekit` then answers from their lake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from host import clean_environment

from tracekit.cli import main

EXAMPLES = Path(__file__).parents[1] / "examples"
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


def play(name: str, folder: Path) -> str:
    """Run an example as a newcomer would, in a folder of its own, and return what it printed."""
    variables = {name: value for name, value in clean_environment().items() if name not in KEYS}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracekit(folder: Path, *arguments: str) -> str:
    """Return what a command of tracekit prints about the lake an example left."""
    done = CliRunner().invoke(main, [*arguments, "--lake", str(folder / ".tracekit")])
    assert done.exit_code == 0, done.output
    return done.stdout


EXPECTED = {
    "openai_agent": ("completed.declared", "gpt-4o-mini", 3 * (120 * 0.15e-6 + 18 * 0.6e-6)),
    "anthropic_agent": ("completed.declared", "claude-haiku-4-5", 3 * (120 * 1e-6 + 18 * 5e-6)),
    "langgraph_agent": ("completed.unverified", "gpt-4o-mini", 3 * (120 * 0.15e-6 + 18 * 0.6e-6)),
}
"""Example -> stop, model, cost in USD of the three calls the stand-in answers."""


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_leaves_a_session_that_explains_itself(name: str, tmp_path: Path) -> None:
    """An example prints where to look, and there is its session: stop, tokens, tools and cost."""
    printed = play(name, tmp_path)
    assert "You get your 40 USD back." in printed
    session_id = printed.split("tracekit session ")[-1].strip()
    (session,) = json.loads(tracekit(tmp_path, "sessions", "--format", "json"))
    stop, model, cost = EXPECTED[name]
    assert (session["session_id"], session["stop_reason"]) == (session_id, stop)
    assert session["cost_usd"] == pytest.approx(cost)
    columns = "agent_name, model, service_name, llm_calls, tool_calls, input_tokens, output_tokens"
    sql = f"SELECT {columns} FROM sessions"
    (found,) = json.loads(tracekit(tmp_path, "sql", sql, "--format", "json"))
    assert list(found.values()) == ["support", model, "examples", 3, 2, 360, 54]
    assert stop in tracekit(tmp_path, "report")


def test_every_example_is_in_their_readme() -> None:
    """The folder's README names every agent in it."""
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    agents = sorted(path.name for path in EXAMPLES.glob("*_agent.py"))
    assert agents == sorted(f"{name}.py" for name in EXPECTED)
    assert all(f"`{name}`" in text for name in agents)
