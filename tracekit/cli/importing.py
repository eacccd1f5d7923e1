"""`tracekit import`."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.importers.detect import open_sources
from tracekit.lake.lake import Lake
from tracekit.reports.imports import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tracekit.lake import sources


@click.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@options.question
def command(question: options.Question, paths: tuple[str, ...]) -> None:
    """Read recordings into the lake, and make it where there is none.

    PATH is a file, a folder, a glob, or `-` for standard input. Formats are recognised: OTLP
    (protobuf, JSON, JSON lines; .gz, .zst), and the recordings of several tools. Each file is
    imported whole or not at all, and importing it again changes nothing.

    \b
    tracekit import traces/ recording.tar.gz
    """
    with _progress() as tell:
        lake = Lake.open(question.lake, create=True)
        summary = lake.ingest(open_sources(paths), progress=tell)
    found = summary.files or summary.already
    if found or question.output_format != "table":
        emit(table(summary), question.output_format)
    for failed in summary.failed:
        named = failed.why.startswith(failed.name)
        click.echo(f"Error: {failed.why if named else f'{failed.name}: {failed.why}'}", err=True)
    if not found and not summary.failed:
        first = next((f": {item.what}: {item.why}" for item in summary.skipped), "")
        click.echo(f"Error: nothing to import in {', '.join(paths)}{first}", err=True)
    if summary.failed or not found:
        raise SystemExit(1)


@contextmanager
def _progress() -> Iterator[Callable[[sources.Progress], None]]:
    """Yield what to call with each step; it draws only where a person watches."""
    out = terminal.console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, pulse_style="cyan"),
        TextColumn("{task.fields[spans]:,} spans"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("reading", total=None, spans=0)
        guard, done = Lock(), 0

        def tell(step: sources.Progress) -> None:
            nonlocal done
            with guard:
                finished = step.state == "imported"
                done += step.spans if finished else 0
                shown = done if finished else done + step.spans
                bar.update(task, description=f"{step.state} {step.source}", spans=shown)

        yield tell
