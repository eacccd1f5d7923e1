"""`tracekit collect`."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from samplers.collector.config import CollectorSettings

_FLUSH_SECONDS = 5.0


@click.command("collect")
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings. Without them: this machine only, preset keep-anomalies, lake ./.tracekit.",
)
@click.option(
    "--lake",
    type=click.Path(path_type=Path),
    envvar="TRACEKIT_LAKE",
    help="Folder of the ledger; also TRACEKIT_LAKE. The settings' own wins.",
)
def command(file: Path | None, lake: Path | None) -> None:
    """Take spans over OTLP, judge whole sessions, pass on those worth keeping.

    Listens on 127.0.0.1:4317 (gRPC) and :4318 (HTTP) unless the settings say otherwise. Ends on
    SIGTERM or Ctrl-C, after what is decided is written; SIGHUP reads the policy again.

    \b
    tracekit collect
    tracekit collect -c collector.yaml
    """
    from samplers.collector.config import load  # noqa: PLC0415 - only what is called is loaded
    from samplers.collector.service import Collector  # noqa: PLC0415

    settings = load(file)
    folder = lake if file is not None else lake or Path(".tracekit")
    if folder is not None:
        settings = _with_lake(settings, folder)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    stop, reload = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reload.set())
    click.echo("starting", err=True)
    collector = Collector(settings)
    recovered = collector.start()
    if recovered:
        click.echo(f"{recovered:,} spans of an earlier run are taken up", err=True)
    ports = ", ".join(f"{name} {port}" for name, port in collector.ports.items())
    where = "" if settings.lake.folder is None else f", ledger in {settings.lake.folder}"
    click.echo(f"collecting: {ports}; policy {collector.policy.name}{where}", err=True)
    collector.run(stop, reload)
    counts = collector.engine.counts
    click.echo(f"{counts['sessions']:,} sessions decided, {counts['kept']:,} kept", err=True)


def _with_lake(settings: CollectorSettings, folder: Path) -> CollectorSettings:
    """Write the ledger to a folder, often enough to watch it, unless the settings name another."""
    if settings.lake.folder is not None:
        return settings
    changes = {"folder": folder, "flush_interval": _FLUSH_SECONDS}
    return settings.model_copy(update={"lake": settings.lake.model_copy(update=changes)})
