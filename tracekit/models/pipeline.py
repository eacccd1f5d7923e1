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
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import yaml

from tracekit import costs, scripts, stops
from tracekit.dialects import registry
from tracekit.schema import TABLES, Stage, sql_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_BEFORE_COSTS = ("10_identity", "12_vocabulary", "14_normalise", "16_billable")
_BEFORE_SPANS = ("20_retries", "30_waste", "40_spans")
_LEDGER = ("50_tasks", "60_sessions", "70_outcomes")

REPLACED = frozenset(
    (
        *("agent_name", "tool_name", "task_id", "task_name"),
        *("tool_args_hash", "tool_result_hash", "approval_status", "side_effect"),
    )
)
"""Scanned columns that the models fill or rewrite; all others pass them as they are."""


def run(
    con: duckdb.DuckDBPyConnection,
    scanned: pa.Table | None = None,
    *,
    book: costs.PriceBook | None = None,
    recorded_ns: int | None = None,
    reading: Collection[str] = (),
) -> None:
    """Make `spans`, `attempts`, `tasks`, `sessions` and `outcomes` from `scanned`.

    All five are temporary tables or views with the columns of `schema.TABLES`, in order; running
    again replaces them. Rows are in no particular order.

    Args:
        con: Connection to work in; it holds on to `scanned`.
        scanned: Spans with the columns of `schema.scanned_columns()`; those that hold content are
            not read and may be absent. By default the table or view `scanned` of the connection.
        book: Prices; by default those of `tracekit.costs.default_book`.
        recorded_ns: When the lake learned of the verdicts, UTC, ns since 1970; by default now.
        reading: Scanned columns that `ledger_spans` shall have besides those the models read.
    """
    if scanned is None:
        scanned = con.sql("SELECT * FROM scanned").to_arrow_table()
    run_spans(con, scanned, book=book, reading=reading)
    run_ledger(con, recorded_ns=recorded_ns)


def run_spans(
    con: duckdb.DuckDBPyConnection,
    scanned: pa.Table,
    *,
    book: costs.PriceBook | None = None,
    reading: Collection[str] = (),
) -> None:
    """Make `spans` and `attempts`, the first half of `run`: nothing after it changes them.

    Also makes `ledger_spans`: `row_id`, the place of a span in `scanned`, and the columns that the
    models made or read again. What else `spans` has is there as it was scanned.
    """
    register(con)
    with _unordered(con):
        _number(con, scanned)
        _execute(con, _BEFORE_COSTS)
        costs.attach(con, book)
        _execute(con, _BEFORE_SPANS)
        _make_spans(con, scanned, reading)
        _execute(con, ("45_attempts",))


def run_ledger(con: duckdb.DuckDBPyConnection, *, recorded_ns: int | None = None) -> None:
    """Make `tasks`, `sessions` and `outcomes` after `run_spans`: the second half of `run`."""
    now_ns = time.time_ns() if recorded_ns is None else recorded_ns
    _create(con, "config", pa.table({"recorded_ns": [now_ns]}))
    with _unordered(con):
        stops.classify(con, "ledger_spans", registered=True)
        _execute(con, _LEDGER)


def register(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of facts that the models read: words of the dialects and stop values.

    Does nothing where they are made already: they are the same for every batch of a connection.
    """
    if _is_registered(con):
        return
    words = registry.load()
    facts = _facts()
    _create_rows(con, "value_map", "column_name dialect raw canonical", words.value_map_rows())
    _create_rows(con, "name_prefixes", "prefix dialect operation", words.name_prefix_rows())
    _create_rows(con, "scope_names", "prefix dialect", words.scope_rows())
    normalisers = [(row.dialect, row.scope_name, row.gateway) for row in words.normaliser_rows()]
    _create_rows(con, "normalisers", "dialect scope_name gateway", normalisers)
    for name in ("exclusive_input", "named_by_span"):
        _create_rows(con, name, "dialect", [(dialect,) for dialect in facts[name]])
    _create(con, "limits", pa.table({"largest_count": [facts["largest_count"]]}))
    _create_rows(con, "unbilled_failures", "code", [(code,) for code in facts["unbilled_failures"]])
    stops.register(con)


def _is_registered(con: duckdb.DuckDBPyConnection) -> bool:
    try:
        con.execute("SELECT 1 FROM unbilled_failures, stop_rules LIMIT 0")
    except duckdb.CatalogException:
        return False
    return True


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


def _number(con: duckdb.DuckDBPyConnection, scanned: pa.Table) -> None:
    """Register `numbered`: the scanned spans with a stable number per row, `row_id`.

    The models keep what they derive in narrow tables beside that number instead of copying the
    spans at every step. DuckDB cannot number an unordered scan twice in the same way, so that the
    number is a column.
    """
    if "row_id" not in scanned.column_names:
        numbers = pa.array(np.arange(scanned.num_rows, dtype=np.int64))
        scanned = scanned.append_column("row_id", numbers)
    con.register("numbered", scanned)


def _make_spans(
    con: duckdb.DuckDBPyConnection, scanned: pa.Table, reading: Collection[str]
) -> None:
    """Make `ledger_spans`, the one wide copy of the models, and `spans` from both it and `scanned`.

    Only what the ledger reads is copied. Most instrumentations fill a third of those columns: what
    is null in every scanned row is not stored but stated by a view.
    """
    columns = TABLES["spans"]
    passing = {c.name for c in columns if c.stage is not Stage.DERIVED} - REPLACED
    empty = {name for name in passing if scanned[name].null_count == scanned.num_rows}
    unread = set(_facts()["unread"]) - set(reading)
    read = [column for column in columns if column.name not in unread]
    stored = ", ".join(column.name for column in read if column.name not in empty)
    stated = ", ".join(
        f"CAST(NULL AS {sql_type(column)}) AS {column.name}"
        if column.name in empty
        else column.name
        for column in read
    )
    every = ", ".join(
        f"{'n' if column.name in passing else 's'}.{column.name}" for column in columns
    )
    joined = "stored_spans AS s JOIN numbered AS n ON n.row_id = s.row_id"
    for statement in (
        f"TABLE stored_spans AS SELECT row_id, {stored} FROM complete",
        f"VIEW ledger_spans AS SELECT row_id, {stated} FROM stored_spans",
        f"VIEW spans AS SELECT {every} FROM {joined}",
    ):
        con.execute(f"CREATE OR REPLACE TEMP {statement}")


def _execute(con: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
    for name in names:
        scripts.run(con, _text(f"{name}.sql"))


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
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = yaml.load(_text("facts.yaml"), Loader=yaml.CSafeLoader)
    return facts
