"""The truth as a file beside the spans: CSV or Parquet, one row per task."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from tracekit.errors import UsageError
from tracekit.simulation.truth import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), int | None: pa.int64()}

SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in get_type_hints(Row).items()])
"""Columns of the file."""


@contextmanager
def truth_file(path: Path) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Yield what takes rows; the file is there, whole, at the end.

    Args:
        path: The file; its ending says which kind.

    Raises:
        UsageError: The ending is neither .csv nor .parquet.
    """
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Row._fields)
            yield writer.writerows
    elif path.suffix == ".parquet":
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as parquet:
            yield lambda rows: parquet.write_table(_table(rows))
    else:
        raise UsageError(f"{path}: the truth is written as .csv or .parquet")


def _table(rows: Sequence[Row]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[] for _ in Row._fields]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
