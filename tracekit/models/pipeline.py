"""Run the models: `scanned` in, the tables of the lake out.

The work is in the `.sql` files beside this module, in the order of their names; each says in its
head what it reads and makes. Prices and stop codes come in between, from the packages that own
them.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import yaml

from tracekit import costs, stops
from tracekit.dialects import registry
from tracekit.schema import TABLES, Stage, sql_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import duckdb

_BEFORE_COSTS = ("10_identity", "12_vocabulary", "14_normalise", "16_billable")
_BEFORE_SPANS = ("20_retries", "30_waste", "40_spans")
_FILLED = {"agent_name", "tool_name", "task_id", "task_name", "tool_args_hash", "tool_result_hash"}
"""Scanned columns that the models fill from others."""
_LEDGER = ("50_tasks", "60_sessions", "70_outcomes")


def run(
    con: duckdb.DuckDBPyConnection,
    scanned: pa.Table | None = None,
    *,
    book: costs.PriceBook | None = None,
    recorded_ns: int | None = None,
    carried: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Make `spans`, `attempts`, `tasks`, `sessions` and `outcomes` from `scanned`.

    All five are temporary tables with the columns of `schema.TABLES`, in order; running again
    replaces them. Rows are in no particular order.

    Args:
        con: Connection to work in.
        scanned: Spans with the columns of `schema.scanned_columns()`; those that hold content are
            not read and may be absent. By default the table or view `scanned` of the connection,
            which is copied first unless it numbers its rows in a column `row_id`.
        book: Prices; by default those of `tracekit.costs.default_book`.
        recorded_ns: When the lake learned of the verdicts, UTC, ns since 1970; by default now.
        carried: Columns of view `complete` (40_spans.sql) that `numbered_spans` shall hold behind
            those of `spans`, by the name they get there.
    """
    now_ns = time.time_ns() if recorded_ns is None else recorded_ns
    register(con)
    _create(con, "config", pa.table({"recorded_ns": [now_ns]}))
    with _unordered(con), _numbered(con, scanned):
        _execute(con, _BEFORE_COSTS)
        costs.attach(con, book)
        _execute(con, _BEFORE_SPANS)
        _make_spans(con, carried)
        _execute(con, ("45_attempts",))
        stops.classify(con)
        _execute(con, _LEDGER)


def register(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of facts that the models read: words of the dialects and stop values."""
    words = registry.load()
    facts = _facts()
    _create_rows(con, "value_map", "column_name dialect raw canonical", words.value_map_rows())
    _create_rows(con, "name_prefixes", "prefix dialect operation", words.name_prefix_rows())
    _create_rows(con, "scope_names", "prefix dialect", words.scope_rows())
    normalisers = [(row.dialect, row.scope_name, row.gateway) for row in words.normaliser_rows()]
    _create_rows(con, "normalisers", "dialect scope_name gateway", normalisers)
    for name in ("exclusive_input", "named_by_span"):
        _create_rows(con, name, "dialect", [(dialect,) for dialect in facts[name]])
    _create_rows(con, "unbilled_failures", "code", [(code,) for code in facts["unbilled_failures"]])
    stops.register(con)


@contextmanager
def _unordered(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let DuckDB write rows in any order, which is twice as fast on two cores."""
    name = "preserve_insertion_order"
    (before,) = con.execute(f"SELECT current_setting('{name}')").fetchall()[0]
    con.execute(f"SET {name} = false")
    try:
        yield
    finally:
        con.execute(f"SET {name} = {before}")


@contextmanager
def _numbered(con: duckdb.DuckDBPyConnection, scanned: pa.Table | None) -> Iterator[None]:
    """Make view `numbered`: the scanned spans with a stable number per row, `row_id`.

    The models keep what they derive in narrow tables beside that number instead of copying the
    spans at every step. DuckDB cannot number an unordered scan twice in the same way, so that the
    number is a column.
    """
    source = "scanned"
    if scanned is not None:
        source = "scanned_numbered"
        numbers = pa.array(np.arange(scanned.num_rows, dtype=np.int64))
        con.register(source, scanned.append_column("row_id", numbers))
    elif "row_id" not in _columns(con, source):
        source = "scanned_copy"
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {source} AS "
            "SELECT row_number() OVER () AS row_id, * FROM scanned"
        )
    con.execute(f"CREATE OR REPLACE TEMP VIEW numbered AS SELECT * FROM {source}")
    try:
        yield
    finally:
        if scanned is not None:
            con.unregister(source)


def _make_spans(con: duckdb.DuckDBPyConnection, carried: Mapping[str, str]) -> None:
    """Make `spans`, and `numbered_spans` with `row_id` before its columns and `carried` behind.

    Most instrumentations fill a third of the columns. What is null in every scanned row is not
    stored but stated by the view, which saves half the time and memory of the copy.
    """
    columns = TABLES["spans"]
    scanned = _columns(con, "numbered")
    # A derived column of the same name may be filled from another one.
    as_scanned = [c for c in columns if c.stage is not Stage.DERIVED and c.name in scanned]
    counts = ", ".join(f"count({column.name}) > 0" for column in as_scanned)
    (seen,) = con.execute(f"SELECT {counts} FROM numbered").fetchall()
    absent = {column.name for column, some in zip(as_scanned, seen, strict=True) if not some}
    absent -= _FILLED
    stored = [column.name for column in columns if column.name not in absent]
    stated = [
        f"CAST(NULL AS {sql_type(column)}) AS {column.name}"
        if column.name in absent
        else column.name
        for column in columns
    ]
    names = [column.name for column in columns]
    stored += [f"{source} AS {name}" for name, source in carried.items()]
    stated += carried
    for statement in (
        f"TABLE stored_spans AS SELECT row_id, {', '.join(stored)} FROM complete",
        f"VIEW numbered_spans AS SELECT row_id, {', '.join(stated)} FROM stored_spans",
        f"VIEW spans AS SELECT {', '.join(names)} FROM numbered_spans",
    ):
        con.execute(f"CREATE OR REPLACE TEMP {statement}")


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    return {name for name, *_ in con.execute(f"DESCRIBE {table}").fetchall()}


def _execute(con: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
    for name in names:
        con.execute(_text(f"{name}.sql"))


def _create_rows(
    con: duckdb.DuckDBPyConnection, table: str, columns: str, rows: Sequence[Sequence[Any]]
) -> None:
    names = columns.split()
    arrays = [pa.array([row[at] for row in rows], pa.string()) for at in range(len(names))]
    _create(con, table, pa.Table.from_arrays(arrays, names))


def _create(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    con.register("tracekit_models_import", rows)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM tracekit_models_import")
    con.unregister("tracekit_models_import")


@cache
def _text(name: str) -> str:
    return resources.files("tracekit.models").joinpath(name).read_text(encoding="utf-8")


@cache
def _facts() -> dict[str, list[str]]:
    facts: dict[str, list[str]] = yaml.load(_text("facts.yaml"), Loader=yaml.CSafeLoader)
    return facts
