"""Printing tables: for people, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING

import click

from tracekit.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tracekit.reports.table import Table, Value

FORMATS = ("table", "json", "csv")


def emit(table: Table, output_format: str) -> None:
    """Print a table on standard output in one of `FORMATS`."""
    if output_format == "table":
        terminal.show(table)
        return
    for line in json_lines(table) if output_format == "json" else csv_lines(table):
        click.echo(line, nl=False)


def json_lines(table: Table) -> Iterator[str]:
    """Yield a JSON array of objects, one object per line; numbers as they are, not rounded."""
    names = [column.name for column in table.columns]
    yield "["
    for number, row in enumerate(table.rows):
        record = {name: _json_value(row[name]) for name in names}
        yield (",\n " if number else "\n ") + json.dumps(record, ensure_ascii=False)
    yield "\n]\n" if table.rows else "]\n"


def _json_value(value: Value) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN and no infinity
    return value


def csv_lines(table: Table) -> Iterator[str]:
    """Yield CSV by RFC 4180: a header, CRLF, quotes where needed; unknown values are empty."""
    names = [column.name for column in table.columns]
    yield _csv_line(names)
    for row in table.rows:
        yield _csv_line([_csv_value(row[name]) for name in names])


def _csv_line(cells: Sequence[str | int | float]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()


def _csv_value(value: Value) -> str | int | float:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return "; ".join(value)
        case _:
            return value
