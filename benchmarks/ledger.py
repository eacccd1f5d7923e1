"""A made-up ledger of many sessions, written as a lake without its spans."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tracekit.lake import Lake
from tracekit.lake.columns import stored_types
from tracekit.lake.commit import Commit

OWN = {"lake_trace_ids": "[]::VARCHAR[]", "lake_only_task": "TRUE", "lake_from_spans": "FALSE"}
"""Values of the columns the lake keeps for itself."""

DATE = "strftime(make_timestamp(start_ns // 1000), '%Y-%m-%d')"


def write(root: Path, sessions: int) -> None:
    """Write a lake of made-up sessions, one part per day and table: `ledger.sql`."""
    sources = {"sessions": "made", "tasks": "made", "outcomes": "judged"}
    _write(root, "ledger.sql", sources, sessions=sessions)


def write_month(root: Path, tasks: int) -> None:
    """Write a lake of a made-up month with every attempt: `month.sql`."""
    sources = {"sessions": "made", "tasks": "made", "attempts": "attempts_made"}
    _write(root, "month.sql", sources, tasks=tasks)


def _write(root: Path, name: str, sources: dict[str, str], **numbers: int) -> None:
    """Write a lake; `sources` are tables of the statements by table of the lake."""
    lake = Lake.open(root, create=True)
    statements = Path(__file__).with_name(name).read_text(encoding="utf-8")
    with duckdb.connect() as con:
        con.execute(f"SET temp_directory = '{root.parent / 'spilled'}'")
        con.execute(statements.format(**numbers))
        commit = Commit(root, lake.manifest())
        for table, source in sources.items():
            rows = f"SELECT {DATE} AS date, {_columns(con, table, source)} FROM {source}"
            commit.write(con, table, f"{rows} ORDER BY date, session_id")
        commit.publish()


def _columns(con: duckdb.DuckDBPyConnection, table: str, source: str) -> str:
    """Return the select list of a stored table: what the source has, and null for the rest."""
    have = {row[0] for row in con.execute(f"DESCRIBE {source}").fetchall()}
    return ", ".join(
        f"{name if name in have else OWN.get(name, 'NULL')}::{kind} AS {name}"
        for name, kind in stored_types(table).items()
    )
