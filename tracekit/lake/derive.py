"""From scanned rows to the rows of the lake: the models over whole sessions.

One `Derivation` is one batch: the incoming spans, the spans of the sessions they touch, the tables
the models make of both, and the part files these replace. See `columns.py` for why that is exact.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from tracekit import models
from tracekit.lake.columns import (
    FROM_SPANS,
    REWRITTEN,
    SESSION_ORDER,
    received_columns,
    stored_name,
)
from tracekit.lake.parts import rows_of
from tracekit.lake.sql import connection, count, listed, statement
from tracekit.schema import TABLES, Stage

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tracekit.lake.commit import Commit
    from tracekit.lake.manifest import Manifest, Part


class Derivation:
    """A batch of scanned spans, merged with what the lake holds of their sessions.

    Args:
        root: The lake.
        manifest: The version to build on; hold the write lock.
        incoming: Scanned spans without content: `columns.received_columns()`.
        labels: Verdicts recorded by themselves, with the columns of `outcomes`.
    """

    def __init__(
        self, root: Path, manifest: Manifest, incoming: pa.Table, labels: pa.Table
    ) -> None:
        self.con = connection()
        self.touched_parts: tuple[Part, ...] = ()
        self._root = root
        self._manifest = manifest
        self._incoming = incoming
        self._received = {
            name for name in incoming.column_names if incoming[name].null_count < len(incoming)
        }
        self.con.register("incoming", incoming)
        self.con.register("labels", labels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.con.close()

    def derive(self, recorded_ns: int) -> None:
        """Find the touched sessions and run the models over them and the incoming spans.

        Args:
            recorded_ns: When the lake learned of new verdicts, UTC, ns since 1970.
        """
        self._find_touched()
        scanned = self._merge()
        models.run(self.con, scanned, recorded_ns=recorded_ns, carried=self._kept())

    def write(self, commit: Commit) -> None:
        """Write the derived rows, and those of the touched parts that stay."""
        self._make_rows()
        for table in TABLES:
            commit.write(self.con, table, self._query(table))

    def rows(self, table: str, condition: str) -> int:
        """Return how many rows of a table of the derivation meet a condition."""
        return count(self.con, f"SELECT count(*) FROM {table} WHERE {condition}")

    def rows_by(self, column: str, table: str, condition: str) -> Counter[str]:
        """Return how many rows meet a condition, by the value of a column."""
        rows = self.con.execute(
            f"SELECT {column}, count(*) FROM {table} WHERE {condition} GROUP BY {column}"
        ).fetchall()
        return Counter(dict(rows))

    def _find_touched(self) -> None:
        paths = self._manifest.paths(self._root, "sessions")
        self.con.execute(
            "CREATE TEMP TABLE touched "
            "(session_id VARCHAR, lake_trace_ids VARCHAR[], filename VARCHAR)"
        )
        if not paths:
            return
        self.con.execute(
            "CREATE TEMP VIEW lake_sessions AS SELECT session_id, lake_trace_ids, filename "
            f"FROM read_parquet({listed(paths)}, filename = true);"
            "CREATE TEMP TABLE touched_traces AS SELECT DISTINCT trace_id FROM incoming;"
            "CREATE TEMP TABLE touched_keys AS SELECT DISTINCT session_key FROM incoming "
            "WHERE session_key <> ''"
        )
        while count(self.con, statement("touched.sql")):
            pass
        files = {row[0] for row in self.con.sql("SELECT DISTINCT filename FROM touched").fetchall()}
        self.touched_parts = tuple(
            part
            for part in self._manifest.parts
            if "sessions" in part.rows and str(self._root / part.path("sessions")) in files
        )

    def _merge(self) -> pa.Table:
        names = ", ".join(column.name for column in received_columns())
        together = f"SELECT {names} FROM incoming"
        parts = [part for part in self.touched_parts if "spans" in part.rows]
        if parts:
            stored = ", ".join(
                f"{stored_name(column)} AS {column.name}" for column in received_columns()
            )
            together += (
                f" UNION ALL SELECT {stored} FROM ({rows_of(self._root, parts, 'spans')}) "
                "WHERE session_id IN (SELECT session_id FROM touched)"
            )
            self._received = {column.name for column in received_columns()}
        self.con.execute(f"CREATE TEMP VIEW together AS {together}")
        repeated = count(
            self.con,
            "CREATE TEMP TABLE repeated AS SELECT trace_id, span_id FROM together "
            "GROUP BY trace_id, span_id HAVING count(*) > 1",
        )
        scanned = self._incoming
        if repeated or parts:
            scanned = self.con.sql(statement("merge.sql")).to_arrow_table()
        return scanned

    def _make_rows(self) -> None:
        self._make_known()
        self.con.execute(statement("labels.sql"))
        lists = {
            table: ", ".join(f"t.{column.name}" for column in columns)
            for table, columns in TABLES.items()
        }
        lists["spans"] = ", ".join(self._span_columns())
        self.con.execute(statement("rows.sql").format(**lists))

    def _kept(self) -> dict[str, str]:
        """Return what the files hold of the scanned columns beside `spans`, by its name there."""
        rewritten = {name: f"scanned_{name}" for name in REWRITTEN}
        return {
            stored_name(column): rewritten.get(column.name, column.name)
            for column in received_columns()
            if column.name in self._received and stored_name(column) != column.name
        }

    def _span_columns(self) -> list[str]:
        """Return the span columns with values: one that nobody wrote need not be sorted."""
        derived = {column.name for column in TABLES["spans"] if column.stage is Stage.DERIVED}
        written = {*derived, *REWRITTEN, *self._received}
        names = [column.name for column in TABLES["spans"] if column.name in written]
        return [f"t.{name}" for name in (*names, *self._kept())]

    def _make_known(self) -> None:
        names = ", ".join(column.name for column in TABLES["outcomes"])
        parts = [part for part in self.touched_parts if "outcomes" in part.rows]
        source = "SELECT * FROM labels WHERE false"
        if parts:
            source = (
                f"SELECT {names} FROM ({rows_of(self._root, parts, 'outcomes')}) "
                f"WHERE {FROM_SPANS} AND session_id IN (SELECT session_id FROM touched)"
            )
        self.con.execute(f"CREATE TEMP TABLE known AS {source}")

    def _query(self, table: str) -> str:
        order = f"ORDER BY date, {SESSION_ORDER[table]}"
        parts = [part for part in self.touched_parts if table in part.rows]
        if not parts:
            return f"SELECT * FROM new_{table} {order}"
        gone = "session_id IN (SELECT session_id FROM touched)"
        if table == "outcomes":
            gone = f"({FROM_SPANS} AND {gone})"
        return (
            f"SELECT * FROM new_{table} UNION ALL BY NAME "
            f"SELECT * FROM ({rows_of(self._root, parts, table)}) WHERE NOT {gone} {order}"
        )
