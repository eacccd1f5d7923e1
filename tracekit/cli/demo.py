"""`tracekit demo`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from tracekit.cli import report, session, stops, terminal
from tracekit.cli.options import Question
from tracekit.errors import InputError
from tracekit.lake.lake import Lake
from tracekit.reports import session as session_report
from tracekit.reports import sessions as sessions_report
from tracekit.reports import stops as stops_report
from tracekit.reports import success
from tracekit.reports.query import Selection
from tracekit.simulation.run import Run
from tracekit.simulation.scenario import load
from tracekit.simulation.targets import SimulatedSource

_SHOWN = "stop_reason = 'truncated.mid_artifact' AND llm_errors > 0"
"""The session that is shown: the provider says it ended well, the customer got half a file. On the
way a call failed and was tried again."""

_SHORTEST = sessions_report.Order("spans", descending=False, limit=1)


@click.command("demo")
@click.option(
    "--lake",
    type=click.Path(path_type=Path),
    default=Path(".tracekit-demo"),
    show_default="./.tracekit-demo",
    help="Folder of the demo's lake.",
)
def command(lake: Path) -> None:
    """Import simulated sessions into a lake of their own, show its answers, and write a page."""
    _fill(lake)
    question = Question(lake, "table")
    heading(f"tracekit report --lake {lake}")
    table = question.ask(success.report)
    report.show(table, question.ask(stops_report.codes))
    heading(f"tracekit stops --lake {lake}")
    stops.show(question.ask(stops_report.stops), question.ask(stops_report.categories))
    found = question.ask(lambda con: sessions_report.sessions(con, Selection(_SHOWN), _SHORTEST))
    session_id = str(found.rows[0]["session_id"])
    heading(f"tracekit session {session_id} --lake {lake}")
    session.show(question.ask(lambda con: session_report.session(con, session_id)))
    page = lake.with_name(f"{lake.name}.html")
    heading(f"tracekit report --html {page} --lake {lake}")
    report.write_page(question, page)
    _next(lake)


def _fill(lake: Path) -> None:
    """Bring the simulated sessions in the way every recording comes in."""
    source = SimulatedSource(Run(load("default"), jobs=1), lambda _: None)
    summary = Lake.open(lake, create=True).ingest([source])
    for failed in summary.failed:
        raise InputError(f"the simulated sessions cannot be imported: {failed.why}")
    out = terminal.console()
    if summary.files:
        count = f"{summary.sessions:,} simulated sessions ({summary.spans:,} spans)"
        out.print(Text(f"Imported {count} into {lake}. They are made up: no agent ran."))
    else:
        out.print(Text(f"The simulated sessions are in {lake} already. No agent ran."))


def heading(command_line: str) -> None:
    """Print a command as it would be typed."""
    out = terminal.console()
    out.print()
    out.print(Text(f"$ {command_line}", style="bold cyan"))
    out.print()


def _next(lake: Path) -> None:
    out = terminal.console()
    out.print()
    out.print(Text("Next", style="bold"))
    for words in (
        f"tracekit report --by agent_name --lake {lake}",
        f"tracekit cost --by agent,model --lake {lake}",
        f"tracekit ui --lake {lake}",
        f"tracekit sessions --where \"outcome = 'failure'\" --sort cost_usd --lake {lake}",
        "tracekit import PATH...          your own recordings, into ./.tracekit",
    ):
        out.print(Text(f"  {words}"), soft_wrap=True)  # to be pasted: never broken into lines
