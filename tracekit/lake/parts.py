"""Part files: rows that come sorted by date become one Parquet file per date.

Arrow writes them rather than DuckDB's COPY: half of the declared columns are empty in most lakes,
and a column without values costs COPY as much as one with values. Here it never enters the query.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracekit.lake.columns import layout, stored_types
from tracekit.lake.sql import listed
from tracekit.schema import TABLES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from tracekit.lake.manifest import Part

ROW_GROUP = 122_880
"""Rows of a row group: what DuckDB reads as one unit of parallel work."""

_REPEATED = ("session_id", "task_id", "trace_id", "call_id", "scanned_session_key")
"""Ids that stand on many rows of a session: a dictionary holds them once."""

_ARROW = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR[]": pa.list_(pa.string()),
}


class PartFile:
    """One file while it is written.

    Attributes:
        rows: Rows so far.
        min_start_ns: Least `start_ns` so far, where the table has one.
        max_end_ns: Greatest `end_ns` so far, where the table has one.
    """

    def __init__(self, path: Path, table: str) -> None:
        self.rows = 0
        self.min_start_ns: int | None = None
        self.max_end_ns: int | None = None
        self._path = path
        self._schema = parquet_schema(table)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", **_encodings(table))

    def append(self, rows: pa.RecordBatch) -> None:
        """Write rows; columns that they lack are null."""
        names = set(rows.schema.names)
        columns = [
            # Symbols come as dictionaries of all the words around them: a file holds its own only.
            rows.column(field.name).cast(field.type)
            if field.name in names
            else pa.nulls(len(rows), field.type)
            for field in self._schema
        ]
        table = pa.Table.from_arrays(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        self.rows += len(rows)
        self.min_start_ns = _extreme(min, self.min_start_ns, rows, "start_ns")
        self.max_end_ns = _extreme(max, self.max_end_ns, rows, "end_ns")

    def close(self) -> None:
        """Finish the file and wait until it is on disk; again does nothing."""
        if not self._writer.is_open:
            return
        self._writer.close()
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_parts(
    table: str, batches: Iterable[pa.RecordBatch], path_of: Callable[[str], Path]
) -> dict[str, PartFile]:
    """Write rows to the files of their dates.

    Args:
        table: Table of the lake whose columns the rows have; absent ones are null.
        batches: The rows, with `date` beside those columns, sorted by it first.
        path_of: Returns the file of a date.

    Returns:
        The finished file of each date.
    """
    files: dict[str, PartFile] = {}
    # One thread encodes the rows before while this one computes the next; neither holds the GIL.
    with ThreadPoolExecutor(max_workers=1) as pool:
        step: Future[object] = pool.submit(int)
        for date, rows in _by_date(batches):
            step.result()
            if date not in files:
                for finished in files.values():
                    finished.close()
                files[date] = PartFile(path_of(date), table)
            step = pool.submit(files[date].append, rows)
        step.result()
    for finished in files.values():
        finished.close()
    return files


def rows_of(root: Path, parts: Collection[Part], table: str, date_type: str = "VARCHAR") -> str:
    """Return a query for the rows of a table in some parts, with their `date`.

    Columns that were added after a part was written are null there.

    Args:
        root: The lake.
        parts: The parts; those without rows in the table are left out.
        table: The table.
        date_type: Type of `date`, DATE or VARCHAR.
    """
    types = stored_types(table)
    held = [part for part in parts if table in part.rows]
    nulls = ", ".join(f"NULL::{type_} AS {name}" for name, type_ in types.items())
    empty = f"SELECT {nulls}, NULL::{date_type} AS date WHERE false"
    if not held:
        return empty
    paths = listed([str(root / part.path(table)) for part in held])
    options = f"hive_partitioning = true, hive_types = {{'date': {date_type}}}"
    rows = f"SELECT * FROM read_parquet({paths}, {options})"
    if any(part.layout != layout() for part in held):
        # DuckDB takes the columns from the first file unless it has to look into all of them.
        rows = (
            f"SELECT * FROM ({empty} UNION ALL BY NAME "
            f"SELECT * FROM read_parquet({paths}, {options}, union_by_name = true))"
        )
    return f"SELECT {', '.join(types)}, date FROM ({rows})"


def parquet_schema(table: str) -> pa.Schema:
    """Return the schema of a table's files."""
    return pa.schema([pa.field(name, _ARROW[type_]) for name, type_ in stored_types(table).items()])


def _by_date(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    for batch in batches:
        at = 0
        for run in pc.run_end_encode(batch.column("date")).run_ends if len(batch) else ():
            end = run.as_py()
            yield batch.column("date")[at].as_py(), batch.slice(at, end - at)
            at = end


@cache
def _encodings(table: str) -> dict[str, Any]:
    symbols = {column.name for column in TABLES[table] if column.kind is Kind.SYMBOL}
    numbers = {column.name for column in TABLES[table] if column.kind is Kind.INT}
    names = parquet_schema(table).names
    return {
        "use_dictionary": [
            name for name in names if name in _REPEATED or name.removeprefix("scanned_") in symbols
        ],
        "column_encoding": {name: "DELTA_BINARY_PACKED" for name in names if name in numbers},
    }


def _extreme(
    choose: Callable[..., int], known: int | None, rows: pa.RecordBatch, name: str
) -> int | None:
    if name not in rows.schema.names:
        return known
    found = getattr(pc, choose.__name__)(rows.column(name)).as_py()
    values = [value for value in (known, found) if value is not None]
    return choose(values) if values else None
