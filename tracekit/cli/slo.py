"""`tracekit slo`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracekit.cli import options
from tracekit.cli.output import emit
from tracekit.documents import DocumentError, written
from tracekit.errors import UsageError
from tracekit.reports.figures import duration
from tracekit.reports.table import ColumnSpec, Kind, Table
from tracekit.slo import openslo, prometheus
from tracekit.slo.budget import adjusted, budget_s, rules
from tracekit.slo.durations import parsed, shorthand
from tracekit.slo.measure import ends
from tracekit.slo.objectives import MONTH, Objective, Objectives
from tracekit.slo.reading import load
from tracekit.slo.replay import replay as replayed
from tracekit.slo.status import failed
from tracekit.slo.status import status as measured

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

DEFAULT = Path("slo.yaml")

_CHECKED = (
    ColumnSpec("objective"),
    ColumnSpec("target", Kind.SHARE, title="target\n%"),
    ColumnSpec("window"),
    ColumnSpec("method"),
    ColumnSpec("budget", title="may be bad"),
    ColumnSpec("truth", rank=1),
    ColumnSpec("alerts", Kind.PROSE),
)


class _Group(click.Group):
    """A group whose first word may also be a file: then it is `status` that is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["status", *args]
        return super().parse_args(ctx, args)


def _file(function: Callable[..., None]) -> Callable[..., None]:
    return click.argument(
        "file", metavar="[FILE]", default=DEFAULT, type=click.Path(path_type=Path)
    )(function)


def _whole_minutes(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        seconds = int(parsed(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if seconds <= 0 or seconds % 60:
        raise click.BadParameter(f"{value} is no number of whole minutes")
    return seconds


_AT = click.option(
    "--at", type=options.Moment(end=True), help="The moment; a date is included.  [default: now]"
)
_AS_OF = click.option(
    "--as-of",
    type=options.Moment(end=True),
    help="With the outcomes known then; a date is included.",
)


@click.group("slo", cls=_Group)
def command() -> None:
    """Task objectives: error budgets, burn rates, verdicts. Fails where a gate does.

    FILE holds objectives, as this project or as OpenSLO writes them; slo.yaml by default.

    \b
    tracekit slo slo.yaml --at 2026-01-18
    tracekit slo replay slo.yaml --since 2026-01-05
    tracekit slo check slo.yaml
    """


@command.command("status")
@_file
@_AT
@_AS_OF
@options.question
def status(
    question: options.Question, file: Path, at: datetime | None, as_of: datetime | None
) -> None:
    """Every objective now: indicator with its interval, budget, burn, alerts, verdict.

    Exit code 1 where the gate of an objective failed, so that it can stand in a pipeline.

    \b
    tracekit slo slo.yaml
    tracekit slo slo.yaml --at 2026-01-31 --as-of 2026-02-07 --format json
    """
    objectives = _load(file)
    asked = options.Question(question.lake, question.output_format, as_of=as_of)
    moment = at or datetime.now(UTC)
    table = asked.ask(lambda con: measured(con, objectives, moment))
    emit(table, question.output_format)
    if found := failed(table):
        for name, reasons in found.items():
            click.echo(f"Gate failed: {name} ({', '.join(reasons)})", err=True)
        click.get_current_context().exit(1)


@command.command("replay")
@_file
@click.option("--since", type=options.Moment(), help="From then.  [default: the first task]")
@click.option(
    "--until",
    type=options.Moment(end=True),
    help="Until then; a date is included.  [default: the last task]",
)
@click.option(
    "--step", default="5m", show_default=True, callback=_whole_minutes, help="Between moments."
)
@_AS_OF
@options.question
def replay(
    question: options.Question, file: Path, step: int, as_of: datetime | None, **span: Any
) -> None:
    """When alerts would have fired, with the outcomes known today (or --as-of).

    \b
    tracekit slo replay slo.yaml --since 2026-01-05 --until 2026-01-18
    """
    objectives = _load(file)
    asked = options.Question(question.lake, question.output_format, as_of=as_of)

    def ask(con: duckdb.DuckDBPyConnection) -> Table:
        found = ends(con)
        if found is None:
            raise UsageError("the lake has no tasks")
        first, last = span["since"] or found[0], span["until"] or found[1]
        if first >= last:
            raise UsageError(f"--since {first:%Y-%m-%d %H:%M} is not before {last:%Y-%m-%d %H:%M}")
        return replayed(con, objectives, first, last, step)

    emit(asked.ask(ask), question.output_format)


@command.command("check")
@_file
@options.format_option
def check(file: Path, output_format: str) -> None:
    """Read a file, tell everything that is wrong with it, and show how it is understood.

    \b
    tracekit slo check slo.yaml
    """
    objectives = _load(file)
    rows = tuple(_checked(objective) for objective in objectives.objectives)
    notes = tuple(note for objective in objectives.objectives for note in adjusted(objective))
    emit(Table(f"Objectives of {file}", _CHECKED, rows, notes=notes), output_format)


def _checked(objective: Objective) -> dict[str, Any]:
    seconds = budget_s(objective.target, objective.period_s)
    share = f"{objective.budget * 100:.4g} %"
    method: str = objective.budgeting_method
    if method != "Occurrences":
        method += f" of {shorthand(objective.slice_s)}"
    month = objective.time_window == MONTH
    made = [f"{rule.name} at burn {rule.burn:.3g}" for rule in rules(objective)]
    return {
        "objective": objective.name,
        "target": objective.target,
        "window": f"month, {objective.time_zone}" if month else shorthand(objective.period_s),
        "method": method,
        "budget": f"{share}, {duration(seconds)}",
        "truth": objective.indicator.truth,
        "alerts": ", ".join(made) or "none",
    }


@command.command("export")
@_file
def export(file: Path) -> None:
    """Print objectives as OpenSLO v1.

    \b
    tracekit slo export slo.yaml > openslo.yaml
    """
    click.echo(openslo.dump(_load(file)), nl=False)


@command.command("import")
@_file
def import_(file: Path) -> None:
    """Print OpenSLO v1 as this project writes objectives; what is not supported is named.

    \b
    tracekit slo import openslo.yaml > slo.yaml
    """
    said = _load(file).model_dump(mode="json", exclude_defaults=True)
    click.echo(written(said), nl=False)


@command.command("rules")
@_file
def rules_(file: Path) -> None:
    """Print Prometheus recording and alerting rules, of counters the objectives name.

    \b
    tracekit slo rules slo.yaml > rules.yaml
    """
    click.echo(prometheus.dump(_load(file)), nl=False)


def _load(file: Path) -> Objectives:
    """Return the objectives of a file; print every mistake of it, the last one by failing."""
    try:
        return load(file)
    except DocumentError as error:
        for line in error.lines()[:-1]:
            click.echo(f"Error: {line}", err=True)
        raise type(error)(error.name, error.problems[-1:]) from error
