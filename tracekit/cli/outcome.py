"""`tracekit outcome`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracekit.cli import options
from tracekit.reports import session

if TYPE_CHECKING:
    from pathlib import Path


@click.command("outcome")
@click.argument("session_id", metavar="SESSION")
@click.argument("verdict", type=click.Choice(["success", "failure"]))
@click.option("--source", required=True, help="Who says so: a test, a reviewer, an evaluation.")
@click.option("--task", "task_id", help="Task of the session; without it, the whole session.")
@click.option(
    "--evidence",
    type=click.Choice(["verified", "declared"]),
    default="verified",
    show_default=True,
    help="Whether it was checked, or only said.",
)
@options.lake_option
def command(lake: Path, session_id: str, verdict: str, **details: str | None) -> None:
    """Record whether a session or one of its tasks succeeded.

    A later verdict of the same evidence replaces an earlier one; `--as-of` shows what was known
    before.
    """
    evidence, source = str(details["evidence"]), str(details["source"])
    opened = options.Question(lake, "table").opened()
    opened.add_outcome(session_id, verdict, evidence, source, task_id=details["task_id"])
    click.echo(f"{verdict} ({evidence} by {source}) recorded for {session_id}")
    if not opened.read(lambda con: session.exists(con, session_id, details["task_id"])):
        click.echo("The lake has no such session or task yet; the verdict waits for it.", err=True)
