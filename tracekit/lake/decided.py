"""What a sampler decided, beside what is derived from spans: carried from version to version.

Spans of a decided session may come later, and then its rows are derived again. No span says which
policy kept it, by which threshold, or what its detectors found, so that is taken from the rows that
are replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from tracekit.lake.parts import rows_of
from tracekit.lake.sql import statement
from tracekit.schema import ARROW_TYPES, DECISION, RECEIVED, TABLES, Kind

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import duckdb

    from tracekit.lake.manifest import Part
    from tracekit.schema import Column

CARRIED: Final = (*RECEIVED, *DECISION)
"""Columns of `sessions` that come from the decision, not from spans."""


def _schema(columns: Collection[Column]) -> pa.Schema:
    types = {**ARROW_TYPES, Kind.SYMBOL: pa.string()}
    return pa.schema([(column.name, types[column.kind]) for column in columns])


DECISIONS: Final = _schema([TABLES["sessions"][0], *CARRIED])
"""Columns of a table of decisions: session_id and `CARRIED`, a row per session."""

DETECTIONS: Final = _schema(TABLES["detections"])
"""Columns of a table of detectors' verdicts, a row per session and detector."""


def settle(
    con: duckdb.DuckDBPyConnection,
    root: Path,
    touched: Collection[Part],
    decisions: pa.Table | None,
    detections: pa.Table | None,
) -> None:
    """Make tables `standing_decisions` and `standing_detections`: see `decided.sql`.

    Args:
        con: Connection with table `touched`.
        root: The lake.
        touched: Parts that hold the touched sessions.
        decisions: Decisions on the batch's sessions, `DECISIONS`; None where spans are imported.
        detections: What detectors found in them, `DETECTIONS`.
    """
    con.register("decided", DECISIONS.empty_table() if decisions is None else decisions)
    con.register("detected", DETECTIONS.empty_table() if detections is None else detections)
    for table in ("sessions", "detections"):
        rows = rows_of(root, [part for part in touched if table in part.rows], table)
        con.execute(
            f"CREATE TEMP TABLE stored_{table} AS "
            f"FROM ({rows}) WHERE session_id IN (SELECT session_id FROM touched)"
        )
    names = ", ".join(column.name for column in CARRIED)
    found = ", ".join(column.name for column in TABLES["detections"])
    if decisions is None:
        # Whoever imports the spans of a dropped session has them; it still speaks for nobody else.
        con.execute("UPDATE stored_sessions SET kept = true, weight = NULL WHERE NOT kept")
    con.execute(statement("decided.sql").format(columns=names, detections=found))


def joined() -> str:
    """Return the carried columns for a SELECT of `sessions AS t` joined to decisions `AS c`."""
    return ", ".join(
        f"CASE WHEN c.session_id IS NULL THEN t.{column.name} ELSE c.{column.name} END "
        f"AS {column.name}"
        for column in CARRIED
    )
