"""The README shows what the commands print, and names every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conftest import ROOT
from golden import FOLDER
from lake_build import imported, new_lake
from otlp_build import span

from tracekit.cli import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_terminal_sessions_are_true_output() -> None:
    """What the README shows of the demo is in its golden file, which the demo is tested against."""
    demo = (FOLDER / "demo.txt").read_text(encoding="utf-8")
    shown = re.findall(r"```console\n(\$ tracekit (?:report|session) .*?)```", README, re.DOTALL)
    assert len(shown) == 2
    assert [block for block in shown if block not in demo] == []


def test_every_command_is_in_the_readme() -> None:
    """The table of questions, and the text around it, name each command and none that is not."""
    named = set(re.findall(r"`?tracekit ([a-z]+)\b(?=[ `])", README))
    assert set(COMMANDS) - named <= {"demo"}, "commands the README does not show"
    assert "tracekit demo" not in README or "demo" in COMMANDS


def test_the_python_example_runs_as_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library call of the README answers from the lake in the working folder."""
    call = span(
        "chat", {"gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": ["stop"]}
    )
    imported(new_lake(tmp_path / ".tracekit"), tmp_path, one=[call])
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - the text under test
    assert "completed.unverified" in capsys.readouterr().out


def test_the_readme_never_installs_the_other_tracekit() -> None:
    """The bare name belongs to an unrelated distribution."""
    assert "pip install tracekit" not in README.replace("tracekit-agents", "")
