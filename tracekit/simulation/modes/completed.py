"""The agent ends its work by itself: well, badly, and without anybody knowing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.simulation.play import EFFECTS
from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play


@mode("completed.verified", "success", "verdict")
def verified(play: Play) -> None:
    """The agent does its work, and an evaluation confirms it."""
    play.work()
    play.answer()
    play.verdict(passed=True)


@mode("completed.declared", "success", "declared")
def declared(play: Play) -> None:
    """The agent signs off with a typed status, and nobody checks."""
    play.work()
    play.answer()
    play.run.done("success", handle="ticket/1")


@mode("completed.unverified", "success", "never")
def unverified(play: Play, *, labelled: float = 0.0) -> None:
    """The agent does its work and stops; nobody says whether it was right.

    A share of the users say later that it was.
    """
    play.work()
    play.answer()
    if play.random.random() < labelled:
        play.instead(known="label")


@mode("completed.unverified", "failure", "label", fault="A", cause="semantic")
def silent_failure(play: Play) -> None:
    """The stop is clean and the answer is wrong; a person finds out later."""
    play.work()
    play.answer()


@mode(
    "completed.unverified",
    "failure",
    "label",
    fault="A",
    cause="semantic",
    detectors=("silent_fail",),
)
def no_tool_succeeds(play: Play) -> None:
    """The agent answers out of nothing: it never got anything from a tool."""
    play.ask("clean")
    play.answer()


@mode("completed.declined_infeasible", "undetermined", "never", fault="A")
def infeasible(play: Play) -> None:
    """The agent says in a typed way that the task cannot be done."""
    play.work()
    play.answer("The warranty ended in March, so this repair is not covered.")
    play.run.done("infeasible", reason="out_of_warranty")


@mode(
    "completed.empty_output",
    "failure",
    "stop",
    fault="A",
    cause="semantic",
    detectors=("stop_mismatch",),
)
def empty_output(play: Play) -> None:
    """The last answer has no text and asks for no tool, behind a clean stop."""
    play.work()
    play.ask("clean", output=0, says="")


@mode("completed.rejected_by_verifier", "failure", "verdict", fault="A", cause="semantic")
def rejected(play: Play) -> None:
    """The agent stops without claiming anything, and the evaluation fails it."""
    play.work()
    play.answer()
    play.verdict(passed=False)


@mode(
    "completed.false_claim",
    "failure",
    "verdict",
    fault="A",
    cause="semantic",
    detectors=("premature_done",),
)
def false_claim(play: Play) -> None:
    """The agent signs off with success, and the evaluation fails it."""
    play.work()
    play.answer("I have updated the order, and the refund has been processed.")
    play.run.done("success")
    play.verdict(passed=False)


@mode("completed.false_claim", "failure", "stop", fault="A", cause="semantic", needs=("effect",))
def claimed_without_effect(play: Play, *, typed: bool = True) -> None:
    """The tool that was to do it fails, and the agent says that it was done."""
    play.work(1)
    for _ in range(2):
        play.ask()
        play.use(play.any_tool(EFFECTS), error="UpstreamError")
    play.ask()
    play.use(play.any_tool(("read", "none")))
    play.answer("I've processed the refund, and it is complete.")
    if typed:
        play.run.done("success")
        play.instead(detectors=("premature_done",))
