"""Transcripts of a team of agents, without times: who said what, in order.

Every message that is a step becomes a span below the root, named by its index, which is also its
`step_index`. Times are synthetic, one second a message, and marked so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.recording import (
    SYNTHETIC_TIME,
    Recording,
    json_text,
    output_messages,
    synthetic_times,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMED_OUT: Final = 124
"""Exit code of a command that was stopped, of timeout(1) and of AutoGen's executors."""


class Transcript(Recording):
    """One session of a team."""

    def __init__(self, fmt: str, team: str, identity: str) -> None:
        """Start a transcript.

        Args:
            fmt: Name of the format; part of every id.
            team: Name of the team, which is the agent of the session.
            identity: What tells the session from all others of the format.
        """
        super().__init__(fmt, identity, f"{team}:{identity}", {"service.name": team})
        self._team = team

    def root(self, last: int, ending: str | None, error: str | None = None) -> None:
        """Add the root span.

        Args:
            last: Index of the last message.
            ending: How the team stopped, in its own words; None where that is not recorded.
            error: `error.type` of a run that crashed.
        """
        start, _ = synthetic_times(0)
        _, end = synthetic_times(last)
        self.add(
            "root",
            f"invoke_agent {self._team}",
            (start, end),
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": self._team,
                "tracekit.stop.framework_raw": ending,
                SYNTHETIC_TIME: True,
            },
            parent=None,
            error=error,
        )

    def step(
        self,
        index: int,
        name: str,
        agent: str,
        attributes: Mapping[str, Any],
        error: str | None = None,
    ) -> None:
        """Add the step that a message is.

        Args:
            index: Index of the message.
            name: Span name.
            agent: Who wrote the message.
            attributes: Span attributes.
            error: `error.type` of a step that failed.
        """
        self.add(
            f"message {index}",
            name,
            synthetic_times(index),
            {
                **attributes,
                "gen_ai.agent.name": agent,
                "tracekit.step.index": index,
                SYNTHETIC_TIME: True,
            },
            error=error,
        )

    def chat(
        self, index: int, agent: str, content: str, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Add a message that a model wrote."""
        said = {
            "gen_ai.operation.name": "chat",
            "gen_ai.output.messages": output_messages(content),
            **(attributes or {}),
        }
        self.step(index, "chat", agent, said)

    def command(
        self, index: int, agent: str, output: str, exit_code: int, ran: list[str] | None = None
    ) -> None:
        """Add a message that is what a terminal printed.

        Args:
            index: Index of the message.
            agent: Name of the terminal.
            output: The message.
            exit_code: Exit code of the command.
            ran: The pieces of code it was given; None where that is not recorded as such.
        """
        error = None if exit_code == 0 else "nonzero_exit"
        if exit_code == _TIMED_OUT:
            error = "timeout"
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": agent,
            "gen_ai.tool.call.arguments": None if ran is None else json_text(ran),
            "gen_ai.tool.call.result": output,
            "process.exit.code": exit_code,
            "tracekit.tool.status": {None: "success", "timeout": "timeout"}.get(error, "error"),
        }
        self.step(index, f"execute_tool {agent}", agent, attributes, error)
