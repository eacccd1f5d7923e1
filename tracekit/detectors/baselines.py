"""Frozen cohort baselines: what a session of an agent and task usually costs, day by day.

A row, once made, never changes, so that a verdict that rests on it can be replayed. The table is
temporary: who needs it longer (the collector) keeps its rows and hands them back with `restore`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa

from tracekit.detectors import specification
from tracekit.errors import TracekitError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_DAY_NS: Final = 86_400_000_000_000
_FIRST: Final = -(2**31)

SCHEMA: Final = pa.schema(
    [
        ("agent_name", pa.string()),
        ("task_name", pa.string()),
        ("day", pa.date32()),
        ("median_cost_usd", pa.float64()),
        ("median_tokens", pa.int64()),
        ("n_priced", pa.int64()),
        ("n", pa.int64()),
        ("frozen_ns", pa.int64()),
    ]
)
"""Columns of `baselines`.

A cohort is `agent_name` and `task_name` (empty: none). `day` is the UTC date that the row was
complete with; `n` the sessions behind it, `n_priced` those of them whose cost is known. `frozen_ns`
says when a collector froze it; null where it is made of a lake afterwards.
"""

_LAKE: Final = """
SELECT * EXCLUDE (date) REPLACE (DATE '1970-01-01' + CAST(day AS INTEGER) AS day)
FROM memory.main.baselines
"""
"""What a lake has of them, in days since 1970; a name alone would mean the temporary table."""


def restore(con: DuckDBPyConnection, rows: pa.Table | None = None) -> None:
    """Make table `baselines` of rows that were frozen before, none by default.

    Raises:
        TracekitError: The rows have other columns.
    """
    found = SCHEMA.empty_table() if rows is None else rows
    try:
        found = found.select(SCHEMA.names).cast(SCHEMA)
    except (KeyError, pa.ArrowInvalid) as error:
        raise TracekitError(f"baselines: expected the columns {SCHEMA.names}: {error}") from error
    con.register("tracekit_baselines_import", found)
    con.execute("CREATE OR REPLACE TEMP TABLE baselines AS FROM tracekit_baselines_import")
    con.unregister("tracekit_baselines_import")


def to_lake(rows: pa.Table) -> pa.Table:
    """Return baselines as the lake stores them: days as numbers."""
    place = rows.schema.get_field_index("day")
    return rows.set_column(place, "day", rows["day"].cast(pa.int32()).cast(pa.int64()))


def freeze(
    con: DuckDBPyConnection, *, before_ns: int | None = None, frozen_ns: int | None = None
) -> int:
    """Add the rows of the days that are over, and not there yet, to table `baselines`.

    A day's row speaks of the sessions that ended on it or in the days before; it holds for sessions
    that start on a later day.

    Args:
        con: Connection with `sessions` and `tasks`; `baselines` is made where it is not there.
        before_ns: Days that were over then count, UTC, ns since 1970. By default all days before
            the one on which the last session ended.
        frozen_ns: When it is done, for a collector that decides by them.

    Returns:
        How many rows were added.
    """
    ensure(con)
    (frozen,) = _row(con, "SELECT max(day) - DATE '1970-01-01' FROM baselines")
    (last_ns,) = _row(con, "SELECT max(end_ns) FROM sessions")
    end_day = (before_ns if before_ns is not None else last_ns or 0) // _DAY_NS
    days = pa.table({"first_day": [_FIRST if frozen is None else frozen + 1], "end_day": [end_day]})
    con.register("tracekit_days_import", days)
    con.execute("CREATE OR REPLACE TEMP TABLE baseline_days AS FROM tracekit_days_import")
    con.unregister("tracekit_days_import")
    con.execute(specification.shared("baselines.sql"))
    ((added,),) = con.execute(
        "INSERT INTO baselines BY NAME SELECT *, ?::BIGINT AS frozen_ns FROM new_baselines",
        [frozen_ns],
    ).fetchall()
    return int(added)


def ensure(con: DuckDBPyConnection) -> None:
    """Make table `baselines` unless it is there: those a lake has, else empty."""
    if not _has(con, "temp.main.baselines"):
        restore(
            con, con.sql(_LAKE).to_arrow_table() if _has(con, "memory.main.baselines") else None
        )


def _has(con: DuckDBPyConnection, table: str) -> bool:
    try:
        con.execute(f"SELECT 1 FROM {table} LIMIT 0")
    except duckdb.CatalogException:
        return False
    return True


def _row(con: DuckDBPyConnection, sql: str) -> tuple[int | None, ...]:
    (row,) = con.execute(sql).fetchall()
    return tuple(row)
