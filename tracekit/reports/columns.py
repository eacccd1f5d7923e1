"""What the tables hold: every column, its unit and meaning, and the attributes it is read from."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from importlib import resources

import yaml

from tracekit import schema
from tracekit.dialects import registry
from tracekit.errors import UsageError
from tracekit.reports.query import suggestion
from tracekit.reports.table import ColumnSpec, Kind, Row, Table

_COLUMNS = (
    ColumnSpec("table", rank=1),
    ColumnSpec("column"),
    ColumnSpec("kind", rank=3),
    ColumnSpec("unit", rank=2),
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
    keys = _keys()
    rows = tuple(
        _row(table, column, keys if table == "spans" else {})
        for table, declared in schema.TABLES.items()
        for column in declared
        if name in {None, table, column.name, f"{table}.{column.name}"}
    )
    if not rows:
        known = [*schema.TABLES, *(c.name for cs in schema.TABLES.values() for c in cs)]
        raise UsageError(f"no table or column {name!r}{suggestion(name or '', known)}")
    return Table(title=name or "Tables", columns=_COLUMNS, rows=rows)


def _row(table: str, column: schema.Column, keys: dict[str, list[str]]) -> Row:
    return {
        "table": table,
        "column": column.name,
        "kind": column.kind.value,
        "unit": column.unit,
        "meaning": column.meaning,
        "read_from": keys.get(column.name, []),
    }


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
    for column, sources in _derived().items():
        keys[column] = [key for source in sources for key in keys.get(source, [])]
    return keys


@cache
def _derived() -> dict[str, list[str]]:
    text = resources.files("tracekit.reports").joinpath("derived.yaml").read_text("utf-8")
    sources: dict[str, list[str]] = yaml.safe_load(text)
    return sources
