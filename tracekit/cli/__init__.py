"""The command line: thin commands over library calls.

Commands are imported when they are called, so that `tracekit --help` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from tracekit.errors import TracekitError

COMMANDS = {
    "import": ("tracekit.cli.importing", "Read recordings into the lake."),
    "report": ("tracekit.cli.report", "Task success, cost per success and waste."),
    "stops": ("tracekit.cli.stops", "Why sessions stopped, against what the provider said."),
    "cost": ("tracekit.cli.cost", "Calls, tokens and money by model, agent, day, ..."),
    "sessions": ("tracekit.cli.sessions", "List sessions: filter, sort."),
    "session": ("tracekit.cli.session", "One session's steps on a time axis."),
    "sla": ("tracekit.cli.sla", "What providers promised, what was kept, what it took from tasks."),
    "ui": ("tracekit.cli.ui", "Look at sessions in the browser."),
    "detect": ("tracekit.cli.detect", "Failure modes found by rule, with their evidence."),
    "outcome": ("tracekit.cli.outcome", "Record whether a session or task succeeded."),
    "slo": ("tracekit.cli.slo", "Task objectives: budgets, burn rates, verdicts, gates."),
    "sql": ("tracekit.cli.sql", "Run a query over the views of the lake."),
    "schema": ("tracekit.cli.schema", "What the views' columns mean."),
    "doctor": ("tracekit.cli.doctor", "Check the lake, and what its answers rest on."),
    "policy": ("tracekit.cli.policy", "Which sessions to keep: check, show, explain."),
    "collect": ("tracekit.cli.collect", "Take spans, keep the sessions worth keeping."),
    "keep": ("tracekit.cli.keep", "Keep a session the collector dropped."),
    "simulate": ("tracekit.cli.simulate", "Scripted sessions with known truth, to test against."),
    "demo": ("tracekit.cli.demo", "Try it on simulated sessions."),
}
"""Module and one line of every command, in the order of the help. The module has `command`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TracekitError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tracekit-agents", prog_name="tracekit")
def main() -> None:
    """Why agent sessions really stop, what they cost, and whether the task succeeded."""
