"""From scanned rows to the rows of the lake: the models over whole sessions.

One `Derivation` is one batch: the incoming spans, the spans of the sessions they touch, the tables
the models make of both, and the part files these replace. See `columns.py` for why that is exact.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from tracekit import models
from tracekit.lake import decided
from tracekit.lake.columns import (
    FROM_SPANS,
    SESSION_ORDER,
    made_columns,
    received_columns,
    stored_name,
)
from tracekit.lake.derived import add_attempts, add_ledger
from tracekit.lake.parts import ROW_GROUP, rows_of
from tracekit.lake.sql import connection, count, listed, statement
from tracekit.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from tracekit.lake.commit import Commit
    from tracekit.lake.derived import Derived
    from tracekit.lake.manifest import Manifest, Part


_NAMES: Final = {table: [column.name for column in TABLES[table]] for table in TABLES}
_CARRIED: Final = frozenset(column.name for column in decided.CARRIED)


class Derivation:
    """A batch of scanned spans, merged with what the lake holds of their sessions.

    Args:
        root: The lake.
        manifest: The version to build on; hold the write lock.
        incoming: Scanned spans without content: `columns.received_columns()`.
        labels: Verdicts recorded by themselves, with the columns of `outcomes`.
        decisions: What a sampler decided about the incoming sessions, `decided.DECISIONS`; None
            where nobody did.
        detections: What detectors found in them then, `decided.DETECTIONS`.
        derived: Rows of other sessions that were derived before, see `derived.alone`.
        spans: Whether spans of kept sessions are stored; without, the ledger alone is.
    """

    def __init__(  # noqa: PLR0913 - the last four are what only a sampler says
        self,
        root: Path,
        manifest: Manifest,
        incoming: pa.Table,
        labels: pa.Table,
        *,
        decisions: pa.Table | None = None,
        detections: pa.Table | None = None,
        derived: Derived | None = None,
        spans: bool = True,
    ) -> None:
        # A sampler writes small batches, beside receivers that need the other cores.
        self.con = connection(None if decisions is None else 1)
        self.touched_parts: tuple[Part, ...] = ()
        self._root = root
        self._manifest = manifest
        self._incoming = incoming
        self._decisions = decisions
        self._detections = detections
        self._derived = derived
        self._with_spans = spans
        self._scanned = incoming
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._written: dict[str, Future[None]] = {}
        self.con.register("incoming", incoming)
        self.con.register("labels", labels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        wait(self._written.values())  # nothing may write when the lock on the lake is let go
        # Giving back a batch's memory takes a while: the next batch need not wait for it.
        self._pool.submit(self.con.close)
        self._pool.shutdown(wait=False)

    def derive(self, recorded_ns: int, commit: Commit) -> None:
        """Find the touched sessions and run the models over them and the incoming spans.

        Spans and attempts are final when the ledger is not begun: unless they have to be merged
        with parts of the lake, which takes this connection, their files are written meanwhile.

        Args:
            recorded_ns: When the lake learned of new verdicts, UTC, ns since 1970.
            commit: Where to write.
        """
        self._find_touched()
        self._scanned = self._merge()
        decided.settle(self.con, self._root, self.touched_parts, self._decisions, self._detections)
        models.run_spans(self.con, self._scanned)
        self.con.execute(statement("places.sql"))
        add_attempts(self.con, self._derived)
        self._make_rows("span_rows.sql", spans=made_columns(), attempts=None)
        if not self.touched_parts:
            self._start(commit, "spans", self._spans())
            attempts = self.con.sql(self._query("attempts")).to_arrow_table()
            self._start(commit, "attempts", _pieces(attempts))
        models.run_ledger(self.con, recorded_ns=recorded_ns)
        add_ledger(self.con, self._derived)

    def write(self, commit: Commit) -> None:
        """Write what is not written yet: derived rows, those of the touched parts that stay."""
        self._make_known()
        self.con.execute(statement("labels.sql"))
        derived = [name for name in _NAMES["sessions"] if name not in _CARRIED]
        self._make_rows("rows.sql", tasks=None, sessions=derived, detections=None)
        if self.touched_parts:
            self.con.execute(statement("stay.sql"))
            self.con.register("new_spans", self._stored_spans())
        for table in TABLES:
            if table not in self._written:
                commit.write(self.con, table, self._query(table))
        for written in self._written.values():
            written.result()

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
        self.con.execute(f"CREATE TEMP VIEW together AS {together}")
        repeated = count(self.con, statement("repeated.sql"))
        scanned = self._incoming
        if repeated or parts:
            scanned = self.con.sql(statement("merge.sql")).to_arrow_table()
        return scanned

    def _start(self, commit: Commit, table: str, batches: Iterator[pa.RecordBatch]) -> None:
        self._written[table] = self._pool.submit(commit.add, table, batches)

    def _spans(self) -> Iterator[pa.RecordBatch]:
        """Return the rows of the spans' files in order; the connection is not used after this call.

        What the models made is sorted in DuckDB, what passed them is gathered from the scanned
        rows: most of a span's text never enters the database.
        """
        sessions = "session_id NOT IN (SELECT session_id FROM standing_decisions WHERE NOT kept)"
        if not self._with_spans:  # of what has its spans here they stay
            sessions = "session_id IN (SELECT session_id FROM stored_sessions WHERE kept)"
        order = f"ORDER BY date, {SESSION_ORDER['spans']}"
        made = self.con.sql(f"SELECT * FROM made_spans WHERE {sessions} {order}").to_arrow_table()
        return _gathered(made, self._scanned)

    def _stored_spans(self) -> pa.Table:
        batches = list(self._spans())
        if batches:
            return pa.Table.from_batches(batches)
        return self.con.sql("FROM made_spans LIMIT 0").to_arrow_table()

    def _make_rows(self, file: str, **columns: Collection[str] | None) -> None:
        """Run an SQL file with its column lists: those named, or all that a table declares."""
        lists = {
            table: ", ".join(f"t.{name}" for name in names or _NAMES[table])
            for table, names in columns.items()
        }
        self.con.execute(statement(file).format(**lists, carried=decided.joined()))

    def _make_known(self) -> None:
        names = ", ".join(_NAMES["outcomes"])
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
        if table == "baselines":  # of no session: those of the replaced parts stay
            return f"{rows_of(self._root, parts, table)} {order}"
        if not parts:
            return f"SELECT * FROM new_{table} {order}"
        gone = "session_id IN (SELECT session_id FROM touched)"
        if table == "outcomes":
            gone = f"({FROM_SPANS} AND {gone})"
        return (
            f"SELECT * FROM new_{table} UNION ALL BY NAME "
            f"SELECT * FROM ({rows_of(self._root, parts, table)}) WHERE NOT {gone} {order}"
        )


def _gathered(made: pa.Table, scanned: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield what the models made of some spans beside what was scanned of them."""
    kept = {
        stored_name(column): column.name
        for column in received_columns()
        if scanned[column.name].null_count < scanned.num_rows
        and stored_name(column) not in made.column_names
    }
    # Dictionaries of many scans become one, or each piece below would join them again.
    passed = scanned.select([*kept.values()]).rename_columns([*kept]).unify_dictionaries()
    passed = passed.combine_chunks()
    for piece in _pieces(made):
        rows = passed.take(piece["row_id"])
        arrays = [*piece.columns, *(column.combine_chunks() for column in rows.columns)]
        yield pa.RecordBatch.from_arrays(arrays, [*piece.schema.names, *rows.column_names])


def _pieces(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield a table in row groups."""
    for start in range(0, table.num_rows, ROW_GROUP):
        (piece,) = table.slice(start, ROW_GROUP).combine_chunks().to_batches()
        yield piece
