"""`tracekit schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.text import Text

from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.lake.lake import Lake
from tracekit.reports import columns

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.reports.table import Table

_FEW = 3
"""Rows up to which the attributes of each are listed below the table."""


@click.command("schema")
@click.argument("name", required=False)
@options.lake_option
@options.format_option
def command(name: str | None, lake: Path, output_format: str) -> None:
    """What the columns of the views mean, and which attributes they are read from.

    NAME is a table, a column, or table.column. Without a lake it works as well; one of a newer
    version has columns that this version cannot tell of, and is refused.

    \b
    tracekit schema spans
    tracekit schema spans.input_tokens
    """
    if lake.exists():
        Lake.open(lake)
    table = columns.columns(name)
    emit(table, output_format)
    if output_format == "table" and len(table.rows) <= _FEW:
        _attributes(table)


def _attributes(table: Table) -> None:
    out = terminal.console()
    for row in table.rows:
        keys = row["read_from"]
        if isinstance(keys, list) and keys:
            out.print(Text(f"\n{row['table']}.{row['column']} is the first present of", "bold"))
            for number, key in enumerate(keys, 1):
                out.print(Text(f"{number:4}  {key}"))
