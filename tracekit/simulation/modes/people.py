"""A policy or a person stops it, or nobody comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play


@mode("policy.model_refusal", "failure", "stop", fault="X", cause="provider")
def refusal(play: Play) -> None:
    """The model refuses: with a stop value of its own, or inside of a clean answer."""
    play.work(1)
    provider = play.cast.asked[0].provider
    if "refusal" in provider.stops:
        play.ask("refusal", output=20)
    else:
        play.ask("clean", output=12, says=provider.refuses or "I can't help with that.")
        play.instead(detectors=("stop_mismatch",))


@mode("policy.content_filtered", "failure", "stop", fault="X", cause="provider")
def content_filtered(play: Play) -> None:
    """The provider's filter stops the output, or rejects the input where it has no word for it."""
    play.work(1)
    if "filtered" in play.cast.asked[0].provider.stops:
        play.ask("filtered", output=15)
    else:
        play.script("filtered", 1)
        play.ask()


@mode("policy.guardrail", "undetermined", "never", fault="X")
def guardrail(play: Play) -> None:
    """A guardrail of the application stops the run."""
    play.work(1)
    raise play.error("OutputGuardrailTripwireTriggered", "agents.exceptions")


@mode("policy.permission_denied", "failure", "stop", fault="U", cause="human")
def approval_denied(play: Play, *, minutes: float = 12.0) -> None:
    """A person denies what the agent wants to do, and it ends."""
    play.work()
    play.ask()
    with play.approval("refund", expires_s=4 * 3600.0) as request:
        play.clock.wait(minutes * 60)
        request.viewed(by="reviewer-1")
        play.clock.wait(40)
        request.deny(by="reviewer-1")


@mode("policy.permission_denied", "failure", "stop", fault="U", cause="human")
def tool_denied(play: Play) -> None:
    """The permission layer refuses a tool call, and the agent gives up."""
    play.work()
    play.ask()
    play.use(denied=True)
    play.answer("This needs a permission that was refused.")


@mode(
    "policy.permission_denied",
    "failure",
    "stop",
    fault="U",
    cause="human",
    detectors=("undrained",),
)
def approval_expired(play: Play, *, hours: float = 4.0) -> None:
    """Nobody decides about what the agent wants to do, until the request lapses."""
    play.work()
    play.ask()
    with play.approval("refund", expires_s=hours * 3600) as request:
        play.clock.wait(hours * 3600 + 1)
        request.expire()


@mode("waiting.human_input", "undetermined", "never", fault="U")
def approval_open(play: Play) -> None:
    """The agent waits for an approval that has not come."""
    play.work()
    play.ask()
    with play.approval("refund", expires_s=86_400.0):
        play.clock.wait(1)


@mode("completed.verified", "success", "verdict", detectors=("approval_stale",))
def approval_late(play: Play, *, hours: float = 6.0) -> None:
    """An approval comes after hours, longer than it was good for, and the work goes on."""
    play.work(1)
    play.ask()
    with play.approval("refund", expires_s=4 * 3600.0) as request:
        play.clock.wait(hours * 3600)
        request.viewed(by="reviewer-2")
        play.clock.wait(60)
        request.approve(by="reviewer-2")
    play.use()
    play.answer()
    play.verdict(passed=True)


@mode("completed.verified", "success", "verdict", detectors=("rubber_stamp",))
def approval_unread(play: Play) -> None:
    """An approval is given within two seconds of being looked at."""
    play.work(1)
    play.ask()
    with play.approval("refund", expires_s=4 * 3600.0) as request:
        play.clock.wait(900)
        request.viewed(by="reviewer-3")
        play.clock.wait(2)
        request.approve(by="reviewer-3")
    play.use()
    play.answer()
    play.verdict(passed=True)


@mode("waiting.human_input", "undetermined", "never", fault="U")
def needs_input(play: Play) -> None:
    """The agent asks the user a question and waits."""
    play.work()
    play.answer("Which of the two orders do you mean?")
    play.run.done("needs_input")


@mode("waiting.continuation", "undetermined", "never")
def paused(play: Play) -> None:
    """The provider pauses a long turn, and nobody resumes it."""
    play.work()
    if "paused" in play.cast.asked[0].provider.stops:
        play.ask("paused")
    else:
        play.run.framework_state("checkpoint")


@mode("cancelled.user", "undetermined", "never", fault="U")
def cancelled_by_user(play: Play) -> None:
    """The user leaves while the agent works."""
    play.work()
    play.run.framework_state("aborted_streaming")


@mode("cancelled.caller", "undetermined", "never", fault="U")
def cancelled_by_caller(play: Play) -> None:
    """The calling code cancels the run: a deployment, a closed request."""
    play.work()
    raise play.error("CancelledError", "asyncio.exceptions")
