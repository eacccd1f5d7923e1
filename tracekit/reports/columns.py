"""What the tables hold: every column, its unit and meaning, and the attributes it is read from."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from importlib import resources
from typing import Any

import yaml

from tracekit import schema
from tracekit.dialects import registry
from tracekit.errors import UsageError
from tracekit.reports.query import suggestion
from tracekit.reports.table import ColumnSpec, Kind, Row, Table

_COLUMNS = (
    ColumnSpec("table", rank=2),
    ColumnSpec("column"),
    ColumnSpec("kind", rank=3),
    ColumnSpec("unit", rank=1),
    ColumnSpec("meaning", Kind.PROSE),
    ColumnSpec("read_from", Kind.LIST, hidden=True),
)


def columns(name: str | None = None) -> Table:
    """Return the declared columns of all tables, of one table, or of one name.

    Args:
        name: A table, a column, or table.column; None is everything.

    Raises:
        UsageError: If it is none of them.
    """
    every = [
        _row(table, column, facts)
        for table, declared in schema.TABLES.items()
        for column, facts in (*map(_facts, declared), *_added(table))
    ]
    # A table's name is also a column of another: the table is meant.
    by_table = [row for row in every if row["table"] == name]
    rows = by_table or [
        row for row in every if name in {None, row["column"], f"{row['table']}.{row['column']}"}
    ]
    if not rows:
        known = [*schema.TABLES, *(str(row["column"]) for row in every)]
        raise UsageError(f"no table or column {name!r}{suggestion(name or '', known)}")
    return Table(title=name or "Tables", columns=_COLUMNS, rows=tuple(rows))


def _row(table: str, column: str, facts: tuple[str, str | None, str]) -> Row:
    kind, unit, meaning = facts
    keys = _keys().get(column, []) if table == "spans" else []
    row: Row = {
        "table": table,
        "column": column,
        "kind": kind,
        "unit": unit,
        "meaning": meaning,
        "read_from": list(keys),
    }
    return row


def _facts(column: schema.Column) -> tuple[str, tuple[str, str | None, str]]:
    return column.name, (column.kind.value, column.unit, column.meaning)


def _added(table: str) -> list[tuple[str, tuple[str, str | None, str]]]:
    """Return the columns a view adds to its table: name, and kind, unit, meaning."""
    return [
        (name, (kind, None, meaning))
        for name, (kind, meaning, views) in _document("view_columns").items()
        if table in views
    ]


@cache
def _keys() -> dict[str, list[str]]:
    """Return the attributes each span column is read from, best first, with their dialect."""
    ranked: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    known = registry.load()
    for alias in known.aliases:
        event = f" of event {alias.event}" if alias.event else ""
        ranked[alias.column].append((alias.rank, f"{alias.key}{event} ({alias.dialect})"))
    for unpack in known.unpacks:
        for place, (path, column) in enumerate(unpack.fields.items()):
            text = f"{unpack.key} > {path} ({unpack.dialect})"
            ranked[column].append((unpack.rank + place, text))
    keys = {column: [text for _, text in sorted(found)] for column, found in ranked.items()}
    for column, sources in _document("derived").items():
        keys[column] = [key for source in sources for key in keys.get(source, [])]
    return keys


@cache
def _document(name: str) -> dict[str, Any]:
    text = resources.files("tracekit.reports").joinpath(f"{name}.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document
