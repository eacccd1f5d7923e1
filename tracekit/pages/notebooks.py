"""The notebooks that there are, and what they share: the lake they read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from tracekit.reports.query import Selection, fetch, literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.lake import Lake

VARIABLE: Final = "TRACEKIT_LAKE"
"""Environment variable that names the lake."""


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook.

    Attributes:
        name: Its file name without `.py`.
        title: What it is called.
        says: What it is for.
        path: Its file.
    """

    name: str
    title: str
    says: str
    path: Path


@cache
def notebooks() -> tuple[Notebook, ...]:
    """Return the notebooks, in the order they are listed."""
    folder = Path(str(resources.files("tracekit.notebooks")))
    listed = yaml.safe_load((folder / "notebooks.yaml").read_text("utf-8"))
    return tuple(
        Notebook(name, **words, path=folder / f"{name}.py") for name, words in listed.items()
    )


def can_run() -> bool:
    """Return whether marimo is installed."""
    return find_spec("marimo") is not None


def lake_path(argument: object = None) -> Path:
    """Return the lake a notebook reads: its argument `--lake`, TRACEKIT_LAKE, or `./.tracekit`."""
    return Path(str(argument or os.environ.get(VARIABLE) or ".tracekit"))


def where(equal: Mapping[str, str | None]) -> Selection:
    """Return what has these values in these columns; a column with None may have any."""
    conditions = [f"{column} = {literal(value)}" for column, value in equal.items() if value]
    return Selection(" AND ".join(conditions) or None)


def words(lake: Lake, view: str, column: str) -> list[str]:
    """Return the values of a column that occur, in order."""
    found = lake.read(lambda con: fetch(con, f"SELECT DISTINCT {column} AS word FROM {view}"))
    return sorted(str(row["word"]) for row in found if row["word"])
