"""`tracekit policy audit`."""

from __future__ import annotations

import click

from tracekit.cli import options
from tracekit.cli.output import emit
from tracekit.reports import audit


@click.command("audit")
@options.by_option(
    "Group by a column of `sessions` (rule, stratum, stop_category, ...), or agent, day, week, "
    "month; repeatable.  [default: rule]",
    default=("rule",),
)
@options.selecting_question
def command(question: options.Question, by: tuple[str, ...]) -> None:
    """What a collector kept, by which rule, and whether the kept sessions speak for all.

    "speak for" adds up the weights of the kept sessions: but for chance it is the number of
    sessions that could be kept. z is the difference in standard deviations. Exits with 1 where a
    row is biased (z beyond 3) or blind.

    \b
    tracekit policy audit
    tracekit policy audit --by stratum --since 2026-01-01
    """
    table = question.ask(lambda con: audit.audit(con, by, question.selection))
    emit(table, question.output_format)
    if audit.alarms(table):
        raise click.exceptions.Exit(1)
