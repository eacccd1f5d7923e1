"""`tracekit ui`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracekit.cli import options
from tracekit.errors import TracekitError
from tracekit.lake.lake import Lake

if TYPE_CHECKING:
    from pathlib import Path


@click.command("ui")
@options.lake_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8321,
    show_default=True,
    help="Where to listen; 0 takes a free one.",
)
def command(lake: Path, port: int) -> None:
    """Look at sessions in the browser: a list to filter, and a page for each.

    Listens on 127.0.0.1 only, and answers who brings the token of the printed address.
    """
    from tracekit.pages.ui import notebooks  # noqa: PLC0415 - only this command serves
    from tracekit.pages.ui.server import Server  # noqa: PLC0415

    opened = Lake.open(lake, tell=lambda line: click.echo(f"Note: {line}", err=True))
    try:
        server = Server(opened, port)
    except OSError as error:
        raise TracekitError(
            f"cannot listen on 127.0.0.1:{port}: {error.strerror}; --port 0 takes a free one"
        ) from error
    with server, notebooks.served(server, opened.path):
        click.echo(f"Open {server.address}")
        click.echo("It is for this machine only; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")
