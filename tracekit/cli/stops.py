"""`tracekit stops`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.reports import stops

if TYPE_CHECKING:
    from tracekit.reports.table import Table


@click.command("stops")
@click.option(
    "--by",
    default="stop_raw",
    show_default=True,
    metavar="COLUMN",
    help="Column of `tasks` to lay the codes out against: model, agent_name, outcome, ...",
)
@options.selecting_question
def command(question: options.Question, by: str) -> None:
    """Why sessions stopped: derived codes against what the provider said.

    Rows are the codes, columns the provider's last stop value, cells count tasks.

    \b
    tracekit stops
    tracekit stops --by model --where "stop_category = 'truncated'"
    """
    table = question.ask(lambda con: stops.stops(con, by, question.selection))
    if question.output_format == "table":
        show(table, question.ask(lambda con: stops.categories(con, question.selection)))
    else:
        emit(table, question.output_format)


def show(table: Table, categories: Table) -> None:
    """Print the codes as a matrix, and the categories below."""
    terminal.show(stops.matrix(table, width=terminal.console().width))
    click.echo()
    terminal.show(categories)
