"""`tracekit report`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table as RichTable
from rich.text import Text

from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.errors import TracekitError, UsageError
from tracekit.reports import stops, success
from tracekit.reports.headline import headline, is_estimated
from tracekit.reports.table import Table

if TYPE_CHECKING:
    from tracekit.reports.table import Row

_TOP = 8
"""Stop codes below the figures."""


@click.command("report")
@options.by_option("Group by a column of `tasks`, or day, week, month; repeatable.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one HTML file with charts instead; it opens offline.",
)
@options.selecting_question
def command(question: options.Question, by: tuple[str, ...], html: Path | None) -> None:
    """Task success with its interval, cost per success and waste.

    Success is successes / (successes + failures); tasks nobody can vouch for are undetermined and
    stand beside it.

    \b
    tracekit report
    tracekit report --by agent_name --by model
    tracekit report --by week --where "environment = 'production'"
    tracekit report --html report.html
    """
    if html is not None:
        if by or question.output_format != "table":
            raise UsageError("--html writes a page of its own: leave out --by and --format")
        write_page(question, html)
        return
    table = question.ask(lambda con: success.report(con, by, question.selection))
    if question.output_format != "table" or by:
        emit(table, question.output_format)
    elif is_estimated(table.rows[0]):
        show(table)  # stop codes are counted, and counts of kept tasks are no shares of all
    else:
        show(table, question.ask(lambda con: stops.codes(con, question.selection)))


def write_page(question: options.Question, path: Path) -> None:
    """Write the report as one HTML file, and print where.

    Raises:
        LakeError: If the lake cannot be read.
        TracekitError: If the file cannot be written.
    """
    from tracekit.pages import report as page  # noqa: PLC0415 - templates load for pages only

    now = datetime.now(UTC)
    about = str(question.lake)
    text = question.ask(lambda con: page.report(con, question.selection, lake=about, made=now))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TracekitError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"Wrote {path}: open it in a browser.")


def show(table: Table, codes: Table | None = None) -> None:
    """Print the figures over all selected tasks, and the most frequent stops."""
    out = terminal.console()
    terminal.title(out, table.title)
    (row,) = table.rows
    if not row["tasks"]:
        out.print("no tasks selected", style="dim")
        return
    out.print(_card(row))
    out.print()
    notes = table.notes
    if codes is not None:
        shown = Table(codes.title, codes.columns, codes.rows[:_TOP], notes=_more(codes))
        out.print(terminal.grid(shown, out.width))
        notes = (*shown.notes, *notes)
    for note in notes:
        out.print(Text(note, style="dim"))


def _more(codes: Table) -> tuple[str, ...]:
    more = len(codes.rows) - _TOP
    return (f"{more} more codes: `tracekit stops` lists them.",) if more > 0 else ()


def _card(row: Row) -> RichTable:
    card = RichTable.grid(padding=(0, 2, 0, 0))
    for style, justify in (("dim", "left"), ("bold", "right"), ("", "left")):
        card.add_column(style=style, justify=justify, no_wrap=style != "")  # type: ignore[arg-type]
    for label, value, remark in headline(row):
        card.add_row(label, value, remark)
    return card
