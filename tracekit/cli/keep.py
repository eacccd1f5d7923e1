"""`tracekit keep`."""

from __future__ import annotations

import http.client
from pathlib import Path

import click

from tracekit.errors import TracekitError

_TIMEOUT_S = 10.0


@click.command("keep")
@click.argument("session_id", metavar="SESSION")
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings of the collector; by default those of `tracekit collect` without any.",
)
def command(session_id: str, file: Path | None) -> None:
    """Have the collector keep a session that it dropped, while its spans are in the journal.

    SESSION is the whole id. The collector must be running, its health endpoint on.

    \b
    tracekit keep chat-42
    """
    from samplers.collector.config import load  # noqa: PLC0415 - only what is called is loaded
    from samplers.collector.settings.base import split_address  # noqa: PLC0415

    endpoint = load(file).health.endpoint
    connection = http.client.HTTPConnection(*split_address(endpoint), timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/keep", session_id.encode())
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except OSError as error:
        raise TracekitError(
            f"no collector answers on {endpoint} ({error}): is it running, and health.endpoint "
            "this address?"
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise TracekitError(said)
    click.echo(said)
