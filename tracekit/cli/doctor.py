"""`tracekit doctor`."""

from __future__ import annotations

import click

from tracekit.cli import options
from tracekit.cli.output import emit
from tracekit.reports import doctor


@click.command("doctor")
@options.question
def command(question: options.Question) -> None:
    """Check the lake, and what its answers rest on."""
    emit(doctor.doctor(question.opened()), question.output_format)
