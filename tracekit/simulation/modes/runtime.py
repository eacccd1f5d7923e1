"""The process or the code around the agent fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.simulation.providers import VanishedError
from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play


@mode("runtime.exception", "failure", "stop", fault="A", cause="orchestration")
def exception(play: Play, *, error: str = "KeyError") -> None:
    """The application's own code raises."""
    play.work()
    raise play.error(error)


@mode("runtime.crash", "failure", "stop", fault="A", cause="orchestration", detectors=("lost_run",))
def crash(play: Play) -> None:
    """The process dies in the middle of the work: its open spans are never sent."""
    play.work()
    raise VanishedError


@mode(
    "cancelled.abandoned",
    "failure",
    "stop",
    fault="A",
    cause="orchestration",
    detectors=("lost_run",),
    hidden="an SDK sends a span when it ends: a run that hangs for ever looks like one that died",
)
def abandoned(play: Play) -> None:
    """The run never ends, though its process lives."""
    play.work()
    raise VanishedError
