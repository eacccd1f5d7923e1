"""The lake as tables to ask: an in-memory DuckDB with views over one version's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.lake.parts import rows_of
from tracekit.lake.sql import connection, listed, statement
from tracekit.schema import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from tracekit.lake.manifest import Manifest

_FAR = 2**63 - 1


def connect(
    root: Path, manifest: Manifest, as_of_ns: int | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of one version of a lake, and no other way out.

    Statements can read the version's files and nothing else of the machine: no other files, no
    network, no extensions, no Python variables; and the settings that say so are locked.

    Args:
        root: The lake.
        manifest: The version to show.
        as_of_ns: Show outcomes as they were known then, UTC, ns since 1970; None for all.
    """
    con = connection()
    con.execute("CREATE SCHEMA files")
    con.execute("CREATE SCHEMA lake")
    for table in TABLES:
        condition = "true"
        if table == "outcomes":
            condition = f"recorded_ns <= {_FAR if as_of_ns is None else int(as_of_ns)}"
        con.execute(
            f"CREATE VIEW files.{table} AS "
            f"SELECT * FROM ({rows_of(root, manifest.parts, table, 'DATE')}) WHERE {condition}"
        )
        con.execute(f"CREATE VIEW lake.{table} AS SELECT * FROM files.{table}")
    names = {
        table: ", ".join(column.name for column in columns) for table, columns in TABLES.items()
    }
    con.execute(statement("views.sql").format(**names))
    _confine(con, [path for table in TABLES for path in manifest.paths(root, table)])
    return con


def narrow(con: duckdb.DuckDBPyConnection, sessions: str) -> None:
    """Make all views of a connection show some sessions only; it may be called again.

    What a view says of a session follows from the rows of that session alone, so it stays the same,
    but is found without looking at the others: a view that resolves outcomes would read them all.

    Args:
        con: Connection from `connect`.
        sessions: SELECT of one column session_id. `files.sessions` holds the stored columns of all.
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE shown_sessions AS {sessions}")
    for table, columns in TABLES.items():
        if all(column.name != "session_id" for column in columns):
            continue  # baselines are of cohorts, not of sessions
        con.execute(
            f"CREATE OR REPLACE VIEW lake.{table} AS SELECT * FROM files.{table} "
            "WHERE session_id IN (SELECT session_id FROM shown_sessions)"
        )


def _confine(con: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
    con.execute(f"SET allowed_paths = {listed(paths)}")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
