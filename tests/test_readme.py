"""The README shows what the commands print, and names every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from conftest import ROOT
from golden import FOLDER
from lake_build import imported, new_lake, rows
from otlp_build import span

from tracekit.cli import COMMANDS
from tracekit.lake import Lake
from tracekit.testing.provider import ScriptedProvider, json_reply

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(mark: str) -> str:
    """Return the one Python example that holds a text."""
    (found,) = [
        text for text in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if mark in text
    ]
    return str(found)


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
    monkeypatch.chdir(tmp_path)
    exec(compile(example("Lake.open"), "README.md", "exec"), {})  # noqa: S102 - the text under test
    assert "completed.unverified" in capsys.readouterr().out


def test_the_two_lines_work_as_pasted(tmp_path: Path) -> None:
    """With nothing but a client's own settings, the call is in the lake of the working folder."""
    message = {"role": "assistant", "content": "It is on its way."}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4.1-mini-2025-04-14",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
    hidden = ("OTEL_", "TRACEKIT_", "OPENAI_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    with ScriptedProvider(json_reply(body)) as provider:
        environment |= {"OPENAI_BASE_URL": f"{provider.url}/v1", "OPENAI_API_KEY": "none"}
        script = [sys.executable, "-c", example("tracekit.wrap")]
        subprocess.run(script, cwd=tmp_path, env=environment, check=True)
    question = "SELECT session_id, agent_name, stop_reason, model, cost_usd FROM sessions"
    assert rows(Lake.open(tmp_path / ".tracekit"), question) == [
        ("chat-42", "support", "completed.unverified", "gpt-4.1-mini-2025-04-14", 0.00056)
    ]


def test_the_decorators_work_as_pasted(tmp_path: Path) -> None:
    """The functions of the second example can be called, and say how their task ended."""
    call = "import asyncio\nprint(refund('o-1', key='k', now=1.0), asyncio.run(support('?')))"
    code = f"import tracekit\ntracekit.configure()\n{example('tracekit.tool')}\n{call}"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    question = "SELECT task_name, stop_reason, outcome_declared FROM tasks WHERE task_name <> ''"
    assert rows(Lake.open(tmp_path / ".tracekit"), question) == [
        ("refund", "completed.declared", "success")
    ]


def test_the_readme_never_installs_the_other_tracekit() -> None:
    """The bare name belongs to an unrelated distribution."""
    assert "pip install tracekit" not in README.replace("tracekit-agents", "")
