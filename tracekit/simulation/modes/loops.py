"""The agent repeats itself, or does not notice that it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.simulation.play import EFFECTS
from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play


@mode(
    "loop.repeat_call",
    "failure",
    "stop",
    fault="A",
    cause="orchestration",
    detectors=("loop_no_progress",),
)
def repeat_call(play: Play, *, times: int = 6) -> None:
    """The same tool is called with the same arguments again and again, until the run is ended."""
    play.work()
    name, arguments = play.any_tool(("read", "none")), play.arguments()
    play.ask()
    play.use(name, arguments, result="nothing new")
    with play.wasting("duplicate"):
        for _ in range(times - 1):
            play.ask()
            play.use(name, arguments, result="nothing new")


@mode(
    "loop.no_progress",
    "failure",
    "stop",
    fault="A",
    cause="orchestration",
    detectors=("loop_no_progress",),
)
def no_progress(play: Play, *, times: int = 9) -> None:
    """Every call is a new one, and every result is the same."""
    play.work(1)
    name = play.any_tool(("read", "none"))
    for _ in range(times):
        play.ask()
        play.use(name, result={"results": []})


@mode(
    "loop.ping_pong",
    "failure",
    "stop",
    fault="A",
    cause="orchestration",
    detectors=("loop_no_progress",),
)
def alternate_calls(play: Play, *, times: int = 4) -> None:
    """Two calls take turns without end."""
    play.work(1)
    tools = [*play.cast.agent.tools][:2]
    calls = [(name, play.arguments()) for name in (tools * 2)[:2]]
    for turn in range(times):
        for name, arguments in calls:
            if not turn:
                play.ask()
                play.use(name, arguments, result=f"as {name} left it")
                continue
            with play.wasting("duplicate"):
                play.ask()
                play.use(name, arguments, result=f"as {name} left it")


@mode("loop.unaware_done", "undetermined", "never", fault="A")
def work_after_done(play: Play, *, calls: int = 4) -> None:
    """The agent has signed off, and goes on working."""
    play.work()
    play.ask()
    play.use(play.any_tool(EFFECTS))
    play.run.done("success")
    play.instead(outcome="success", known="declared")
    with play.wasting("after_done"):
        play.work(calls - 1)
        play.answer()


@mode(
    "completed.unverified",
    "failure",
    "label",
    fault="A",
    cause="semantic",
    detectors=("duplicate_effect",),
    needs=("effect",),
)
def duplicate_effect(play: Play, *, times: int = 2, new_objects: bool = False) -> None:
    """The model asks for the same write again with a new call id, and it is done twice.

    Where every call makes a new object, as a charge does, its results differ.
    """
    play.work()
    name, arguments = play.any_tool(EFFECTS), play.arguments()
    play.ask()
    play.use(name, arguments, result={"id": "ch_1"})
    if new_objects:
        play.instead(hidden="the results differ, so that no fingerprint shows the work as repeated")
    with play.wasting("duplicate"):
        for number in range(2, times + 1):
            play.ask()
            play.use(name, arguments, result={"id": f"ch_{number if new_objects else 1}"})
    play.answer()
