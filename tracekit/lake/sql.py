"""DuckDB as the lake uses it: statements from files beside this one, literals, connections."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Collection


def statement(name: str) -> str:
    """Return the text of an SQL file of this package."""
    return resources.files("tracekit.lake").joinpath(name).read_text(encoding="utf-8")


def quoted(path: Path | str) -> str:
    """Return a path as an SQL string literal."""
    text = str(path).replace("'", "''")
    return f"'{text}'"


def listed(paths: Collection[str]) -> str:
    """Return paths as an SQL list literal."""
    return f"[{', '.join(quoted(path) for path in paths)}]"


def connection(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB that spills to the system's folder for temporary files.

    Args:
        threads: Threads it may use, the calling one included; all cores by default.
    """
    spill = Path(tempfile.gettempdir()) / "tracekit-spill"
    con = duckdb.connect(config={"python_enable_replacements": False, "temp_directory": str(spill)})
    if threads is not None:
        con.execute(f"SET threads = {threads}")
    return con


def count(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    """Return the one number of a statement's answer: a count, or how many rows it changed."""
    row = con.execute(sql).fetchone()
    return int(row[0]) if row else 0
