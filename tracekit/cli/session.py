"""`tracekit session`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table as RichTable
from rich.text import Text

from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.cli.waterfall import waterfall
from tracekit.reports import session
from tracekit.reports.facts import session_facts

if TYPE_CHECKING:
    from tracekit.reports.table import Row


@click.command("session")
@click.argument("session_id", metavar="ID")
@options.question
def command(question: options.Question, session_id: str) -> None:
    """One session: how it ended, what it cost, and its steps on a time axis.

    ID is a session's id or its beginning; `tracekit sessions` lists them.
    """
    found = question.ask(lambda con: session.session(con, session_id))
    if question.output_format == "table":
        show(found)
    else:
        emit(found.steps, question.output_format)


def show(found: session.Session) -> None:
    """Print a session's head, its tasks where it has several, and its waterfall."""
    out = terminal.console()
    terminal.title(out, f"Session {found.head['session_id']}")
    out.print(_head(found.head))
    out.print()
    if len(found.tasks.rows) > 1:
        out.print(terminal.grid(found.tasks, out.width))
        out.print()
    if not found.steps.rows:
        out.print("its steps were not kept", style="dim")
        return
    for line in waterfall(found.steps.rows, out.width):
        out.print(line, no_wrap=True, overflow="crop")


def _head(head: Row) -> RichTable:
    card = RichTable.grid(padding=(0, 2, 0, 0))
    card.add_column(style="dim")
    card.add_column(overflow="fold")
    for label, value in session_facts(head):
        card.add_row(label, Text(value, style=terminal.STYLES.get(value.split(",")[0], "")))
    return card
