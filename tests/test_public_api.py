"""What `import tracekit` offers: all of it, typed, and nothing loaded before it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tracekit

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", tracekit.__all__)
def test_every_name_is_there(name: str) -> None:
    """Each public name can be had, is documented, and says where it comes from."""
    value = getattr(tracekit, name)

    assert inspect.getdoc(value)
    assert value.__module__.startswith("tracekit.instrumentation.")
    assert value.__name__ == name


def test_types_and_names_agree() -> None:
    """Type checkers see exactly the names that are loaded on use, from the same modules."""
    tree = ast.parse((ROOT / "tracekit" / "__init__.py").read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tracekit.")
        for alias in node.names
    }

    assert sorted(seen) == sorted(tracekit.__all__) == tracekit.__all__
    for name, module in seen.items():
        assert f"tracekit.instrumentation.{tracekit._HOMES[name]}" == module  # noqa: SLF001


def test_no_name_is_a_module() -> None:
    """A submodule, once imported, would stand in the place of a function of its name."""
    modules = {path.stem for path in (ROOT / "tracekit").iterdir()}

    assert modules.isdisjoint(tracekit.__all__)


def test_dir_and_unknown_names() -> None:
    """What is not loaded yet is listed too; what is unknown is an ordinary mistake."""
    assert set(tracekit.__all__) <= set(dir(tracekit))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tracekit.nonsense


def test_import_loads_nothing() -> None:
    """Importing tracekit loads nothing else of it, and none of its dependencies."""
    code = "import sys, tracekit; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert {name for name in loaded if name.startswith("tracekit")} == {"tracekit"}
    assert loaded.isdisjoint({"opentelemetry", "yaml", "orjson", "duckdb", "numpy", "pyarrow"})
