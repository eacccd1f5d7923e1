"""What the page on instrumentation says is so."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING

from conftest import ROOT
from host import run

import tracekit
from tracekit.instrumentation import options
from tracekit.instrumentation.content import LIMIT
from tracekit.instrumentation.frameworks import INTEGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "instrumentation.md").read_text(encoding="utf-8")
PACKAGES = {
    "openai_agents": "openai-agents",
    "langgraph": "langgraph",
    "pydantic_ai": "pydantic-ai-slim",
    "claude_agent_sdk": "claude-agent-sdk",
}


def test_its_python_runs_as_written(tmp_path: Path) -> None:
    """The examples of the page run, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    run("\n".join(blocks), cwd=tmp_path)


def test_it_names_every_variable() -> None:
    """The table of variables has each that is read, and none that is not."""
    known = {option.variable for option in [*options.ALL.values(), options.DISABLED]}
    named = set(re.findall(r"^\| `(TRACEKIT_\w+)`", PAGE, re.MULTILINE))
    assert named == {name for name in known if name and name.startswith("TRACEKIT_")}


def test_it_names_every_framework_with_the_version_tested() -> None:
    """The table of frameworks has each integration, with the version the tests run against."""
    named = dict(re.findall(r"^\| `(\w+)` (\d+\.\d+) \|", PAGE, re.MULTILINE))
    assert named.keys() == INTEGRATIONS.keys()
    installed = {name: version(package) for name, package in PACKAGES.items()}
    assert {
        name: found for name, found in named.items() if not installed[name].startswith(found)
    } == {}


def test_it_names_every_counter() -> None:
    """The table of counters has each thing that is counted as lost."""
    folder = ROOT / "tracekit" / "instrumentation"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    counted = set(re.findall(r'(?<![._])(?:runtime\.)?\bcount\(\s*"(\w+)"', source))
    counted |= set(re.findall(r'runtime\.count\("(\w+)"', source))
    assert set(re.findall(r"`tracekit\.drop\.(\w+)`", PAGE)) == counted


def test_every_function_it_names_is_public() -> None:
    """What the page calls `tracekit.something(...)` is there."""
    named = set(re.findall(r"`?tracekit\.(\w+)\(", PAGE))
    assert named <= set(tracekit.__all__), named - set(tracekit.__all__)
    assert f"{LIMIT:,} characters" in PAGE
