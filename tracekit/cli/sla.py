"""`tracekit sla`: what providers promised, what was kept, and what it took from tasks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.text import Text

from tracekit import sla
from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.documents import DocumentError
from tracekit.errors import UsageError
from tracekit.reports import query
from tracekit.reports.figures import nines, percent
from tracekit.sla import evidence, reading, tables
from tracekit.sla.chains import TARGET
from tracekit.sla.relations import FAR_NS
from tracekit.sla.verdict import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import duckdb

    from tracekit.reports.table import Table
    from tracekit.sla.terms import Terms

_FROM = click.option(
    "--from", "from_", type=options.Moment(), help="Only what started then or later."
)
_TO = click.option(
    "--to", type=options.Moment(end=True), help="Only what started before; a date is included."
)
_TERMS = click.option(
    "--terms",
    multiple=True,
    metavar="FILE|ID",
    help="Terms to judge by; repeatable.  [default: shipped ones that fit the traffic]",
)
_WHERE = click.option("--where", metavar="SQL", help="Only tasks for which this expression holds.")
_BY = options.by_option("Group by a column of `tasks`, or day, week, month; repeatable.")


@click.group("sla", invoke_without_command=True)
@_TERMS
@_FROM
@_TO
@click.option(
    "--fees", multiple=True, metavar="[ID=]USD", help="Fees of a period, for credits; repeatable."
)
@click.option(
    "--maintenance",
    multiple=True,
    metavar="FROM/TO",
    help="Announced maintenance, for terms that leave it out; repeatable.",
)
@click.option(
    "--evidence",
    "evidence_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the failed calls behind the verdicts to this CSV file.",
)
@options.question
@click.pass_context
def command(ctx: click.Context, /, question: options.Question, **given: Any) -> None:
    """What providers promised, what was kept, and what it took from tasks.

    Verdicts rest on the provider's own definition, replayed on every attempt in the ledger; what
    the source does not state makes them indeterminate.

    \b
    tracekit sla
    tracekit sla --terms contract.yaml --from 2026-03-01 --to 2026-03-31 --fees 12000
    tracekit sla --terms contract.yaml --evidence claim.csv
    tracekit sla waterfall --by agent_name
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    terms = [reading.load(name) for name in given["terms"]] or None
    window = Window(
        from_ns=_ns(given["from_"]),
        to_ns=_ns(given["to"]),
        now_ns=time.time_ns(),
        maintenance=[_interval(text) for text in given["maintenance"]],
    )
    fees = _fees(given["fees"], terms)
    rows = question.ask(lambda con: sla.verdicts(con, terms, window, fees))
    if given["evidence_file"] is not None:
        judged = terms or [
            reading.shipped()[name] for name in dict.fromkeys(r["terms"] for r in rows)
        ]
        question.ask(lambda con: _write(con, judged, window, given["evidence_file"]))
    table = tables.verdict_table(rows)
    if question.output_format != "table":
        emit(table, question.output_format)
        return
    terminal.show(table)
    bounds = (window.from_ns or 0, FAR_NS if window.to_ns is None else window.to_ns)
    _show_tasks(question, bounds, terms)


def _show_tasks(
    question: options.Question, bounds: tuple[int, int], terms: Sequence[Terms] | None
) -> None:
    slis, losses, chains = question.ask(
        lambda con: (
            sla.slis(con, *bounds),
            sla.waterfall(con, *bounds, terms=terms),
            sla.chains(con, *bounds),
        )
    )
    click.echo()
    terminal.show(tables.sli_table(slis))
    out = terminal.console()
    for row in chains:
        for line in _expected(row):
            out.print(Text(line, style="dim"))
    click.echo()
    terminal.show(tables.loss_table(row for row in losses if row["tasks"]))


def _expected(row: Mapping[str, Any]) -> list[str]:
    """Return what the chain of calls lets expect, in sentences."""
    lines = [
        (
            f"A task needs {row['calls_p50']} calls in the median, {row['calls_p95']} at the 95th "
            f"percentile. Were failures of attempts independent, and none tried again, "
            f"{nines(row['independent'])} of the tasks would live; were all of them in the "
            f"{row['outages']} outages found, {nines(row['clustered'])} or more. "
            f"Measured: {nines(row['measured'])}."
        ),
        f"For {nines(row['target'])} of the tasks a call would need {nines(row['needed'])}.",
    ]
    if row["rho"] is not None:
        lines.append(
            f"Of the failures {percent(row['rho'])} have a cause that a second attempt meets again "
            f"({row['second_attempts']:,} second attempts)."
        )
    return lines


def _refuse_options(ctx: click.Context) -> None:
    """Refuse options before a subcommand: they would be silently without effect."""
    for name in ctx.params:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"write the options behind {ctx.invoked_subcommand}, not before it")


def _write(
    con: duckdb.DuckDBPyConnection, terms: Sequence[Terms], window: Window, path: Path
) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            calls = evidence.write_csv(evidence.evidence(con, terms, window), file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    click.echo(f"{calls:,} calls written to {path}", err=True)


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp()) * 1_000_000_000


def _interval(text: str) -> tuple[int, int]:
    parts = text.split("/")
    try:
        first, last = (options.Moment().convert(part, None, None) for part in parts)
    except (ValueError, click.BadParameter) as error:
        raise UsageError(
            f"--maintenance {text!r}: expected FROM/TO, as 2026-03-01T02:00/2026-03-01T04:00"
        ) from error
    if last <= first:
        raise UsageError(f"--maintenance {text!r} ends before it begins")
    return int(first.timestamp()) * 1_000_000_000, int(last.timestamp()) * 1_000_000_000


def _fees(given: Sequence[str], terms: Sequence[Terms] | None) -> dict[str, float]:
    fees: dict[str, float] = {}
    for text in given:
        name, sign, amount = text.rpartition("=")
        if not sign and (terms is None or len(terms) != 1):
            raise UsageError(f"--fees {text}: say of which terms, as ID={text}")
        try:
            fees[name or (terms or [])[0].id] = _amount(amount)
        except ValueError as error:
            raise UsageError(f"--fees {text}: expected an amount in USD, as ID=12000") from error
    return fees


def _amount(text: str) -> float:
    amount = float(text)
    if not 0 <= amount < float("inf"):
        raise ValueError(text)
    return amount


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question about tasks."""

    question: options.Question
    by: tuple[str, ...]
    where: str | None
    bounds: tuple[int, int]

    def print(
        self,
        ask: Callable[[duckdb.DuckDBPyConnection], list[dict[str, Any]]],
        table: Callable[[list[dict[str, Any]], list[str]], Table],
    ) -> None:
        """Print the answer of a function as a table, with the names of the keys in front."""

        def both(con: duckdb.DuckDBPyConnection) -> tuple[list[dict[str, Any]], list[str]]:
            return ask(con), [*query.grouping(con, "tasks", self.by).keys]

        emit(table(*self.question.ask(both)), self.question.output_format)


def _about_tasks(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a question about tasks, and hand them over as one `_Asked`."""

    @wraps(function)
    def asked(
        question: options.Question, by: tuple[str, ...], where: str | None, **others: Any
    ) -> None:
        since, until = _ns(others.pop("from_")), _ns(others.pop("to"))
        bounds = since or 0, FAR_NS if until is None else until
        function(_Asked(question, by, where, bounds), **others)

    command: Callable[..., None] = asked
    for option in reversed((_BY, _WHERE, _FROM, _TO)):
        command = option(command)
    return options.question(command)


@command.command("slis")
@_about_tasks
def slis(asked: _Asked) -> None:
    """How many attempts, calls and tasks were good.

    An attempt is one try; a call is what is left after retries and fallbacks; a task is judged by
    its outcome.
    """
    asked.print(
        lambda con: sla.slis(con, *asked.bounds, asked.by, where=asked.where), tables.sli_table
    )


@command.command("waterfall")
@_TERMS
@_about_tasks
def waterfall(asked: _Asked, terms: tuple[str, ...]) -> None:
    """What failed tasks were lost to: each to exactly one cause, so that they add up.

    \b
    tracekit sla waterfall --by agent_name
    tracekit sla waterfall --terms contract.yaml --format csv
    """
    known = [reading.load(name) for name in terms] or None
    for_people = asked.question.output_format == "table"

    def ask(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
        rows = sla.waterfall(con, *asked.bounds, asked.by, where=asked.where, terms=known)
        return [row for row in rows if row["tasks"] or not for_people]

    asked.print(ask, tables.loss_table)


@command.command("chain")
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=TARGET,
    show_default=True,
    help="Task availability to say what a call would need for.",
)
@_about_tasks
def chain(asked: _Asked, target: float) -> None:
    """What the availability of calls lets expect of tasks, beside what was measured."""
    asked.print(
        lambda con: sla.chains(con, *asked.bounds, asked.by, where=asked.where, target=target),
        tables.chain_table,
    )


@command.command("terms")
@options.format_option
def terms_command(output_format: str) -> None:
    """The terms that come along: what each promises, and what its source does not state."""
    emit(tables.terms_table(), output_format)


@command.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@options.format_option
@click.pass_context
def check(ctx: click.Context, files: tuple[str, ...], output_format: str) -> None:
    """Check terms of your own: every mistake with its line, and what is allowed there."""
    good: list[Terms] = []
    for name in files:
        try:
            good.append(reading.load(name))
        except DocumentError as error:
            for line in error.lines():
                click.echo(f"Error: {line}", err=True)
    if good:
        emit(tables.terms_table(good), output_format)
    if len(good) < len(files):
        ctx.exit(1)


@command.command("template")
def template() -> None:
    """Print a file to start terms of your own from, with a comment for every field."""
    click.echo(reading.template(), nl=False)
