"""Several agents, and several calls at a time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tracekit.instrumentation.coordination import handoff
from tracekit.simulation.providers import SimulatedError
from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play


@mode("completed.verified", "success", "verdict")
def handed_off(play: Play, *, elsewhere: bool = True) -> None:
    """Another agent takes over, in a process of its own, and finishes."""
    play.work()
    handoff("specialist")
    if elsewhere:
        with play.elsewhere("specialists"), play.helper("specialist"):
            play.work(2)
            play.answer()
    else:
        with play.helper("specialist"):
            play.work(2)
            play.answer()
    play.verdict(passed=True)


@mode("waiting.handoff", "undetermined", "never", detectors=("handoff_lost",))
def handoff_lost(play: Play) -> None:
    """The work is handed to another agent, and nothing is heard of it."""
    play.work()
    play.ask()
    handoff("specialist")


@mode(
    "loop.ping_pong",
    "failure",
    "stop",
    fault="A",
    cause="orchestration",
    detectors=("handoff_pingpong",),
)
def handoff_pingpong(play: Play, *, times: int = 4) -> None:
    """Two agents hand the work to each other without end."""
    for _ in range(times):
        for name, other in (("billing", "triage"), ("triage", "billing")):
            handoff(name, other)
            with play.helper(name):
                play.ask()


@mode(
    "completed.unverified",
    "failure",
    "label",
    fault="A",
    cause="semantic",
    detectors=("fanout_partial", "swallowed_exception"),
)
def fanout_partial(play: Play, *, size: int = 5, failing: int = 1) -> None:
    """Of several tools called at the same time some fail, and the answer says nothing of it."""
    play.work(1)
    play.ask()
    with play.fanout("search") as members, play.beside() as branches:
        for number in range(size):
            with branches.next(), suppress(SimulatedError), members.child("search"):
                if number >= failing:
                    play.use(play.any_tool(("read",)))
                    continue
                play.use(play.any_tool(("read",)), error="UpstreamError", seconds=0.01)
                raise play.error("UpstreamError")
    play.answer()


@mode("completed.verified", "success", "verdict")
def fanout_race(play: Play, *, size: int = 3) -> None:
    """Several agents work on the same question; the first that is done cancels the others."""
    play.work(1)
    with play.fanout("race", policy="k_of_n", needed=1) as members, play.beside() as branches:
        with branches.next(), members.child("answer"):
            play.ask("clean", output=play.cast.agent.answer[0])
        end_ns = branches.end_ns
        for _ in range(size - 1):
            with branches.next(), suppress(SimulatedError), members.child("answer"):
                play.lose(end_ns)
    play.answer()
    play.verdict(passed=True)


@mode(
    "completed.unverified",
    "success",
    "never",
    detectors=("token_amplification",),
    hidden="that calls were bought by an injected instruction is no waste the models know",
)
def token_amplification(play: Play, *, depth: int = 3, width: int = 4, page: int = 12_000) -> None:
    """A page the agent reads tells it to look at everything three levels deep.

    The task succeeds, and the bill is a multiple of the usual one.
    """
    play.ask()
    play.use(play.any_tool(("read",)))
    play.grow(page)
    with play.wasting("amplified"):
        _deeper(play, depth, width)
    play.answer()


def _deeper(play: Play, depth: int, width: int) -> None:
    if not depth:
        return
    with play.helper(f"reader-{depth}"):
        for _ in range(width):
            play.ask(output=play.cast.agent.answer[1])
            play.use(play.any_tool(("read",)))
        _deeper(play, depth - 1, width)
        play.ask("clean", output=play.cast.agent.answer[1])
