"""`tracekit cost`."""

from __future__ import annotations

import click

from tracekit.cli import options
from tracekit.cli.output import emit
from tracekit.reports import cost


@click.command("cost")
@options.by_option(
    "Group by a column of `spans`, or agent, day, week, month; repeatable.",
    default=("provider", "model"),
)
@options.selecting_question
def command(question: options.Question, by: tuple[str, ...]) -> None:
    """Calls, tokens and money, by provider and model unless told otherwise.

    \b
    tracekit cost
    tracekit cost --by agent --by day --format csv
    tracekit cost --where "waste_reason IS NOT NULL"
    """
    table = question.ask(lambda con: cost.cost(con, by, question.selection))
    emit(table, question.output_format)
