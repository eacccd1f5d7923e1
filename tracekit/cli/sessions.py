"""`tracekit sessions`."""

from __future__ import annotations

import click

from tracekit.cli import options
from tracekit.cli.output import emit
from tracekit.reports import sessions


@click.command("sessions")
@click.option(
    "--sort",
    default="started_at",
    show_default=True,
    metavar="COLUMN",
    help="Column of `sessions` to order by.",
)
@click.option("--desc/--asc", "descending", default=True, help="Largest first, or smallest first.")
@click.option("--limit", default=20, show_default=True, help="How many to list.")
@options.selecting_question
def command(question: options.Question, sort: str, limit: int, *, descending: bool) -> None:
    """List sessions, the latest first.

    \b
    tracekit sessions --where "outcome = 'failure'" --sort cost_usd
    tracekit sessions --where "stop_reason = 'loop.repeat_call'" --limit 5
    """
    order = sessions.Order(sort, descending=descending, limit=limit)
    table = question.ask(lambda con: sessions.sessions(con, question.selection, order))
    emit(table, question.output_format)
