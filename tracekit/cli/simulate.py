"""`tracekit simulate`."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.errors import InputError, UsageError
from tracekit.lake.lake import Lake
from tracekit.simulation import scenario as scenarios
from tracekit.simulation import summary as tables
from tracekit.simulation.run import Run
from tracekit.simulation.targets import Endpoint, SimulatedSource, is_file, write_file
from tracekit.simulation.truth_file import truth_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tracekit.simulation.truth import Row

    Tell = Callable[[Sequence[Row]], None]

_DEFAULT = ".tracekit-simulated"


@click.command("simulate")
@click.argument("scenario", default="default", metavar="[SCENARIO]")
@click.option("--sessions", type=click.IntRange(1), help="How many; else as the scenario says.")
@click.option("--seed", type=int, help="Another seed: other sessions of the same kind.")
@click.option("--jobs", type=click.IntRange(1), help="Processes; by default one per core.")
@click.option(
    "--to",
    "--lake",
    "target",
    default=_DEFAULT,
    show_default=f"./{_DEFAULT}",
    metavar="LAKE|FILE|URL",
    help="A lake; a file of OTLP (.pb, .jsonl, also .gz); an OTLP endpoint (http://host:4318).",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the truth about every task goes, .csv or .parquet; by default beside the target.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="To an endpoint: so many times faster than in life; else as fast as it takes them.",
)
@click.option("--derive", is_flag=True, help="Let agents compute stops and costs in process, too.")
@click.option("--list", "listing", is_flag=True, help="List scenarios and failure modes.")
@options.format_option
def command(
    scenario: str, target: str, truth: Path | None, output_format: str, **others: Any
) -> None:
    """Play scripted agents through the real instrumentation, with the truth beside it.

    SCENARIO is the name of one that comes along, or a YAML file; see docs/simulation.md. The same
    scenario and seed give the same sessions, whatever the number of processes.

    \b
    tracekit simulate --list
    tracekit simulate failures --to failures.pb
    tracekit simulate incident --sessions 100000 --to http://127.0.0.1:4318 --rate 3600
    """
    listing, rate = others.pop("listing"), others.pop("rate")
    if listing:
        emit(tables.listing(), output_format)
        return
    if rate is not None and not _is_url(target):
        raise UsageError("--rate is for an endpoint: --to http://host:4318")
    plan = scenarios.load(scenario)
    run = Run(plan, **others)
    summary = tables.Summary()
    path = truth or _beside(target)
    started = time.perf_counter()
    with _written(path, summary) as tell, _progress(run.sessions) as (told, tick):
        _play(run, target, rate, lambda rows: (tell(rows), told(rows)), tick)
    took = time.perf_counter() - started
    if summary.tasks:
        emit(summary.table(plan.name), output_format)
    out = terminal.console(stderr=True)
    out.print(f"{run.sessions:,} sessions in {took:.1f} s into {target}; the truth is in {path}")


def _play(
    run: Run,
    target: str,
    rate: float | None,
    tell: Callable[[Sequence[Row]], object],
    tick: Callable[[int], None],
) -> None:
    def told(rows: Sequence[Row]) -> None:
        tell(rows)

    if _is_url(target):
        Endpoint(target, rate=rate).send(run, told, tick)
    elif is_file(target):
        write_file(run, Path(target), told, tick)
    else:
        summary = Lake.open(target, create=True).ingest([SimulatedSource(run, told)])
        for failed in summary.failed:
            raise InputError(f"the simulated sessions cannot be imported: {failed.why}")
        if summary.already:
            raise UsageError(
                f"{target}: the lake has these sessions; choose another --seed or lake"
            )


def _is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def _beside(target: str) -> Path:
    """Return where the truth goes if nobody says."""
    return Path("truth.csv") if _is_url(target) else Path(f"{target.rstrip('/')}.truth.csv")


@contextmanager
def _written(path: Path, summary: tables.Summary) -> Iterator[Tell]:
    """Yield what takes the truth: into its file, and into the summary."""
    try:
        with truth_file(path) as write:

            def tell(rows: Sequence[Row]) -> None:
                write(rows)
                summary.add(rows)

            yield tell
    except OSError as error:
        raise UsageError(
            f"{error.filename or path}: cannot be written ({error.strerror})"
        ) from error


@contextmanager
def _progress(sessions: int) -> Iterator[tuple[Tell, Callable[[int], None]]]:
    """Yield what to tell of played sessions and of spans sent; it draws where a person watches."""
    out = terminal.console(stderr=True)
    columns = (
        TextColumn("simulating"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("sessions, {task.fields[spans]:,} spans"),
        TimeElapsedColumn(),
    )
    spans = 0
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=sessions, spans=0)

        def told(rows: Sequence[Row]) -> None:
            bar.advance(task, len({row.session_id for row in rows}))

        def tick(more: int) -> None:
            nonlocal spans
            spans += more
            bar.update(task, spans=spans)

        yield told, tick
