"""`tracekit session`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table as RichTable
from rich.text import Text

from tracekit.cli import options, terminal
from tracekit.cli.figures import duration, figure, tokens, usd
from tracekit.cli.output import emit
from tracekit.cli.waterfall import waterfall
from tracekit.reports import session
from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    for label, value in _lines(head):
        if value:
            card.add_row(label, Text(value, style=terminal.STYLES.get(value.split(",")[0], "")))
    return card


def _lines(head: Row) -> Iterator[tuple[str, str]]:
    yield "agent", _words(head, "agent_name", "workflow_name")
    yield "model", _words(head, "model", "provider")
    started = figure(head["started_at"], Kind.TIME)
    yield "started", f"{started} UTC, took {duration(head['duration_s'])}"
    yield "outcome", f"{head['outcome']}, {head['outcome_source']}"
    yield "stop", _stop(head)
    yield "also", ", ".join(filter(None, str(head["stop_contributing"] or "").split(",")))
    yield "raw", _words(head, "stop_raw", "stop_framework_raw")
    yield "work", _work(head)
    yield "cost", _cost(head)


def _words(head: Row, *names: str) -> str:
    return ", ".join(str(head[name]) for name in names if head[name])


def _stop(head: Row) -> str:
    fault = f", fault {head['stop_fault']}" if head["stop_fault"] not in {None, "-"} else ""
    return (
        f"{head['stop_reason']}{fault} (rule {head['stop_rule']}, evidence {head['stop_evidence']})"
    )


def _work(head: Row) -> str:
    failed = f" ({head['tool_errors']} failed)" if head["tool_errors"] else ""
    return (
        f"{head['llm_calls'] or 0} model calls, {head['tool_calls'] or 0} tool calls{failed}; "
        f"{tokens(head['input_tokens'])} tokens in, {tokens(head['output_tokens'])} out"
    )


def _cost(head: Row) -> str:
    unpriced = head["unpriced_calls"]
    cost = usd(head["cost_usd"], bound=bool(unpriced))
    wasted = f", of which {usd(head['wasted_cost_usd'])} wasted" if head["wasted_cost_usd"] else ""
    missing = (
        f"; {unpriced} calls have no price ({head['cost_missing_reason']})" if unpriced else ""
    )
    return cost + wasted + missing
