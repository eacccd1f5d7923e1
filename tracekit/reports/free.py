"""A user's own query, read-only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import duckdb

from tracekit.errors import UsageError
from tracekit.reports.query import explain, fetch, plain_value
from tracekit.reports.table import ColumnSpec, Kind, Table

if TYPE_CHECKING:
    from tracekit.reports.table import Value

_NUMBERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT", "BIGNUM"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
_VIEWS = ("sessions", "tasks", "attempts", "outcomes", "spans")


def run(con: duckdb.DuckDBPyConnection, text: str) -> Table:
    """Return the result of one query.

    Args:
        con: Connection with the lake's views.
        text: One SELECT (or WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN).

    Raises:
        UsageError: If it is wrong, several statements, or one that does not only read.
    """
    _check(con, text)
    try:
        cursor = con.execute(text)
        described = cursor.description or []
        rows = cursor.fetchall()
    except duckdb.IOException:
        raise  # a writer replaced files: `Lake.read` asks again, of the new ones
    except duckdb.Error as error:
        raise explain(error, _known(con)) from error
    names = _distinct([column[0] for column in described])
    specs = [
        ColumnSpec(name, _kind(str(column[1])), title=name)
        for name, column in zip(names, described, strict=True)
    ]
    return Table(
        title=f"{len(rows):,} row{'s' if len(rows) != 1 else ''}",
        columns=tuple(specs),
        rows=tuple(dict(zip(names, (_value(value) for value in row), strict=True)) for row in rows),
    )


def _check(con: duckdb.DuckDBPyConnection, text: str) -> None:
    try:
        statements = con.extract_statements(text)
    except duckdb.Error as error:
        raise explain(error) from error
    if len(statements) != 1:
        raise UsageError(f"one query at a time, but there are {len(statements)}")
    if statements[0].type not in {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}:
        kind = statements[0].type.name
        raise UsageError(f"only queries are allowed (SELECT, WITH, DESCRIBE, ...), not {kind}")


def _known(con: duckdb.DuckDBPyConnection) -> list[str]:
    views = ", ".join(f"'{view}'" for view in _VIEWS)
    columns = fetch(
        con,
        "SELECT DISTINCT column_name FROM information_schema.columns "
        f"WHERE table_name IN ({views})",
    )
    return [*_VIEWS, *(row["column_name"] for row in columns)]


def _distinct(names: list[str]) -> list[str]:
    """Return names that differ: the second `x` becomes `x_2`, for a row is keyed by them."""
    seen: list[str] = []
    for name in names:
        number, free = 1, name
        while free in seen:
            number += 1
            free = f"{name}_{number}"
        seen.append(free)
    return seen


def _kind(sql_type: str) -> Kind:
    if sql_type in _NUMBERS or sql_type.startswith("DECIMAL"):
        return Kind.NUMBER
    return {"BOOLEAN": Kind.BOOL}.get(sql_type, Kind.TEXT)


def _value(value: Any) -> Value:
    plain = plain_value(value)
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
