"""`tracekit detect`."""

from __future__ import annotations

import click

from tracekit.cli import options
from tracekit.cli.output import emit
from tracekit.detectors import VERDICTS
from tracekit.errors import UsageError
from tracekit.reports import detections


@click.command("detect")
@click.option("--detector", metavar="NAME", help="List the sessions this one found.")
@click.option(
    "--verdict",
    type=click.Choice(VERDICTS),
    help="With --detector: sessions with this verdict.  [default: hit]",
)
@click.option("--limit", type=int, help="With --detector: how many to list.  [default: 20]")
@options.selecting_question
def command(
    question: options.Question, detector: str | None, verdict: str | None, limit: int | None
) -> None:
    """Failure modes found by rule: how many sessions each detector hits, clears, or cannot judge.

    A detector that misses its input says so: not evaluable is not clear.

    \b
    tracekit detect
    tracekit detect --detector retry_storm --where "agent_name = 'support'"
    """
    if detector is None:
        if verdict is not None or limit is not None:
            raise UsageError("--verdict and --limit list sessions: name a --detector")
        table = question.ask(lambda con: detections.summary(con, question.selection))
    else:
        table = question.ask(
            lambda con: detections.sessions(
                con,
                detector,
                question.selection,
                verdict=verdict or "hit",
                limit=20 if limit is None else limit,
            )
        )
    emit(table, question.output_format)
