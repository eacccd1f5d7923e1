"""The notebooks: each reads any lake, runs without a browser, and shows charts, not errors."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tracekit.pages.notebooks import VARIABLE, Notebook, lake_path, notebooks

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.lake import Lake

pytest.importorskip("marimo", reason="the notebooks need marimo: the extra `notebooks`")
NOTEBOOKS = pytest.mark.parametrize("notebook", notebooks(), ids=lambda notebook: notebook.name)


@NOTEBOOKS
def test_a_notebook_runs_headless(
    notebook: Notebook, simulated: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run over simulated sessions it shows charts with a title and a sentence, and no address."""
    from tracekit.notebooks.export import html  # noqa: PLC0415 - needs marimo

    monkeypatch.setenv(VARIABLE, str(simulated.path))
    monkeypatch.setattr("sys.argv", ["notebook"])
    text = html(notebook)
    assert len(re.findall(r"<figcaption><strong>.+?</strong>", text)) >= 2
    nothing = text.count("nothing to show")
    assert nothing == 0 or "No collector decided these sessions" in text
    assert re.findall(r"<script|<marimo-|https?:|url\((?!#)", text) == []


def test_every_notebook_is_listed() -> None:
    """The list names each notebook beside it, and nothing that is not there."""
    folder = notebooks()[0].path.parent
    apps = {path.stem for path in folder.glob("*.py") if "marimo.App" in path.read_text("utf-8")}
    assert {notebook.name for notebook in notebooks()} == apps
    assert all(notebook.title and notebook.says for notebook in notebooks())


@NOTEBOOKS
def test_a_notebook_is_what_marimo_writes(notebook: Notebook) -> None:
    """The file has the form that marimo keeps: cells only, which it can open, edit and save."""
    tree = ast.parse(notebook.path.read_text(encoding="utf-8"))
    cells = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert cells
    assert all("cell" in ast.unparse(cell.decorator_list[0]) for cell in cells)


def test_the_lake_is_the_argument_the_variable_or_the_usual_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--lake` goes before TRACEKIT_LAKE, which goes before ./.tracekit."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert str(lake_path()) == ".tracekit"
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert lake_path() == tmp_path
    assert lake_path(str(tmp_path / "other")) == tmp_path / "other"
