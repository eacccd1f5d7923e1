"""`tracekit sql`."""

from __future__ import annotations

import sys

import click

from tracekit.cli import options
from tracekit.cli.output import emit
from tracekit.reports import free


@click.command("sql")
@click.argument("text", metavar="QUERY")
@options.question
def command(question: options.Question, text: str) -> None:
    """Run a query over the views sessions, tasks, attempts, outcomes and spans.

    QUERY may be `-`, and is then read from standard input. Nothing can be written.

    \b
    tracekit sql "SELECT model, count(*) FROM sessions GROUP BY ALL"
    """
    sql = sys.stdin.read() if text == "-" else text
    table = question.ask(lambda con: free.run(con, sql))
    emit(table, question.output_format)
