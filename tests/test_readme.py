"""The README shows what the commands print, and names every command."""

from __future__ import annotations

import re

from conftest import ROOT
from golden import FOLDER

from tracekit.cli import COMMANDS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_terminal_session_is_true_output() -> None:
    """The session in the README is the demo's golden file, which the demo is tested against."""
    block = re.search(r"<!-- demo: .* -->\n```console\n(.*?)```", README, re.DOTALL)
    assert block is not None
    assert block.group(1) == "$ make demo\n" + (FOLDER / "demo.txt").read_text(encoding="utf-8")


def test_every_command_is_in_the_readme() -> None:
    """The table of questions, and the text around it, name each command and none that is not."""
    named = set(re.findall(r"`?tracekit ([a-z]+)\b(?=[ `])", README))
    assert set(COMMANDS) - named <= {"demo"}, "commands the README does not show"
    assert "tracekit demo" not in README or "demo" in COMMANDS


def test_the_readme_never_installs_the_other_tracekit() -> None:
    """The bare name belongs to an unrelated distribution."""
    assert "pip install tracekit" not in README.replace("tracekit-agents", "")
