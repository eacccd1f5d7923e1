"""The span table and the ledger tables, declared once in `schema.yaml`.

Everything that knows a column reads it from here: the wire scanner's key table, the importers, the
Parquet schemas, the DuckDB views and `tracekit schema`. Which attribute keys feed a column is data
too: `tracekit/dialects/*.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

import pyarrow as pa
import yaml


class Kind(StrEnum):
    """What a column holds; the Arrow and DuckDB types follow from it."""

    SYMBOL = "symbol"
    """Text of few distinct values (models, tools, codes): dictionary-encoded by the scanner."""
    TEXT = "text"
    """Text of many distinct values (ids)."""
    INT = "int"
    """64-bit signed integer."""
    DOUBLE = "double"
    """64-bit float."""
    BOOL = "bool"
    HASH = "hash"
    """Keyed 64-bit fingerprint of a text, as a signed integer."""
    CONTENT = "content"
    """Captured text: inspected before anything is written, then dropped."""


class Stage(StrEnum):
    """When a span column gets its value."""

    WIRE = "wire"
    """From a field of the OTLP span message."""
    ATTRIBUTE = "attribute"
    """From the first present attribute of the dialects' alias lists."""
    DERIVED = "derived"
    """By the models, the stop classifier or the price book."""


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column.

    Attributes:
        name: Column name, the same in Arrow, Parquet, DuckDB and the docs.
        kind: What it holds.
        meaning: One sentence.
        unit: Unit of a number, or None.
        stage: When a span column gets its value; DERIVED in every other table.
        internal: Whether the column exists only between scan and models.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str | None = None
    stage: Stage = Stage.DERIVED
    internal: bool = False


_SECTIONS = {
    "wire": (Stage.WIRE, False),
    "wire_raw": (Stage.WIRE, True),
    "attribute": (Stage.ATTRIBUTE, False),
    "raw": (Stage.ATTRIBUTE, True),
    "derived": (Stage.DERIVED, False),
}


def _columns(
    rows: dict[str, Any], stage: Stage = Stage.DERIVED, *, internal: bool = False
) -> tuple[Column, ...]:
    columns: list[Column] = []
    for name, row in rows.items():
        if name.startswith("<"):
            columns.extend(_columns(row))
        else:
            kind, meaning, *unit = row
            columns.append(
                Column(name, Kind(kind), meaning, unit[0] if unit else None, stage, internal)
            )
    return tuple(columns)


@cache
def _document() -> dict[str, Any]:
    text = resources.files("tracekit").joinpath("schema.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return document


SCHEMA_VERSION: int = _document()["version"]
"""Version of the lake's tables. A lake of a newer version is refused, an older one is read."""

SPAN_COLUMNS: tuple[Column, ...] = tuple(
    column
    for section, rows in _document()["spans"].items()
    for column in _columns(rows, _SECTIONS[section][0], internal=_SECTIONS[section][1])
)
"""Every span column, internal ones included."""

DERIVED: tuple[str, ...] = ("spans", "sessions", "tasks", "attempts", "outcomes")
"""Tables that the models make of spans."""

TABLES: dict[str, tuple[Column, ...]] = {
    "spans": tuple(column for column in SPAN_COLUMNS if not column.internal),
    **{name: _columns(_document()[name]) for name in (*DERIVED[1:], "detections", "baselines")},
}
"""Tables of the lake, by name. Views add columns computed on reading: `tracekit/lake/views.sql`."""

RECEIVED: tuple[Column, ...] = _columns(_document()["received"])
"""Columns of `sessions` that a collector knows before it decides, and that no spans tell."""

DECISION: tuple[Column, ...] = _columns(_document()["decision"])
"""Columns of `sessions` that say what a sampler decided: it may not ask for them when it does."""


@cache
def wire_columns() -> tuple[Column, ...]:
    """Return the span columns that are fields of the OTLP span message."""
    return tuple(column for column in SPAN_COLUMNS if column.stage is Stage.WIRE)


@cache
def attribute_columns() -> tuple[Column, ...]:
    """Return the span columns that are filled from attributes, in slot order of the scanner."""
    return tuple(column for column in SPAN_COLUMNS if column.stage is Stage.ATTRIBUTE)


@cache
def scanned_columns() -> tuple[Column, ...]:
    """Return the columns of the scanner's table, in order: wire columns, then attribute columns."""
    return wire_columns() + attribute_columns()


ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.SYMBOL: pa.dictionary(pa.int32(), pa.string()),
    Kind.TEXT: pa.string(),
    Kind.CONTENT: pa.string(),
    Kind.INT: pa.int64(),
    Kind.HASH: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.BOOL: pa.bool_(),
}
"""Arrow type of each kind."""

_SQL: dict[Kind, str] = {
    Kind.SYMBOL: "VARCHAR",
    Kind.TEXT: "VARCHAR",
    Kind.CONTENT: "VARCHAR",
    Kind.INT: "BIGINT",
    Kind.HASH: "BIGINT",
    Kind.DOUBLE: "DOUBLE",
    Kind.BOOL: "BOOLEAN",
}


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of some columns: symbols are dictionaries of int32 to string."""
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.kind]) for column in columns])


def sql_type(column: Column) -> str:
    """Return the DuckDB type of a column."""
    return _SQL[column.kind]
