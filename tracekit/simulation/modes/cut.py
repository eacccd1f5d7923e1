"""The output is cut, or a budget runs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play

HALVES: Final = {
    "fence": "Here is the module:\n\n```python\ndef merge(left, right):\n    merged = ",
    "bracket": '{"orders": [{"id": 17, "state": "sent"}, {"id": 18, "sta',
}
"""Half an artefact, by what is left open."""


@mode(
    "truncated.mid_artifact",
    "failure",
    "stop",
    fault="A",
    cause="semantic",
    detectors=("stop_mismatch",),
)
def half_artefact(play: Play, *, open: str = "fence") -> None:  # noqa: A002 - a scenario's word
    """The provider reports a clean stop, and the file it wrote breaks off in the middle."""
    play.work()
    play.answer(HALVES[open])


@mode("truncated.output_limit", "failure", "stop", fault="A", cause="orchestration")
def output_limit(play: Play) -> None:
    """The answer ends at the output cap of the request."""
    play.work()
    play.ask("limit", output=play.cast.agent.max_tokens)


@mode(
    "truncated.context_window",
    "failure",
    "stop",
    fault="A",
    cause="orchestration",
    detectors=("history_bloat",),
)
def context_window(play: Play, *, rejected: bool = False) -> None:
    """The context window overflows: with a stop value of its own, or with an error."""
    play.work()
    if not rejected and "window" in play.cast.asked[0].provider.stops:
        play.ask("window", output=900)
        return
    play.script("window", 1)
    play.ask()


@mode(
    "truncated.stream_cut",
    "failure",
    "stop",
    fault="P",
    cause="provider",
    detectors=("essential_call_failed",),
)
def stream_cut(play: Play, *, usage_known: bool = True) -> None:
    """The connection breaks while the last answer is streamed."""
    play.work()
    if not usage_known:
        play.instead(hidden="tokens streamed before the cut are billed, and never reported")
    play.cut(usage=usage_known)


@mode("completed.verified", "success", "verdict")
def stream_cut_recovered(play: Play) -> None:
    """A stream breaks after paid tokens, and the application asks again."""
    play.work()
    play.cut_and_ask_again()
    play.use()
    play.answer()
    play.verdict(passed=True)


@mode(
    "truncated.compaction",
    "failure",
    "stop",
    fault="A",
    cause="orchestration",
    needs=("compacted",),
)
def compaction(play: Play) -> None:
    """The conversation is compacted, and nothing follows."""
    play.work()
    play.ask("compacted", output=700)


@mode("completed.verified", "success", "verdict", needs=("compacted",))
def compacted_and_finished(play: Play) -> None:
    """The conversation is compacted on the way, and the agent finishes."""
    play.work()
    play.ask("compacted", output=700)
    play.shrink(0.2)
    play.work(1)
    play.answer()
    play.verdict(passed=True)


@mode("limit.steps", "failure", "stop", fault="A", cause="orchestration")
def step_limit(play: Play) -> None:
    """The cap on turns is reached while the model still asks for tools."""
    play.work()
    raise play.error("MaxTurnsExceeded", "agents.exceptions")


@mode("limit.tokens", "failure", "stop", fault="A", cause="orchestration")
def token_limit(play: Play) -> None:
    """The token budget of the run is used up."""
    play.work()
    play.run.framework_state("limit_total_tokens")


@mode("limit.cost", "failure", "stop", fault="A", cause="orchestration")
def cost_limit(play: Play) -> None:
    """The money budget of the run is used up."""
    play.work()
    play.run.framework_state("error_max_budget_usd")


@mode("limit.time", "failure", "stop", fault="A", cause="orchestration")
def time_limit(play: Play) -> None:
    """The deadline of the run passes."""
    play.work()
    raise play.error("RunTimedOut", "pydantic_ai.exceptions")


@mode("limit.retries", "failure", "stop", fault="A", cause="orchestration")
def retry_limit(play: Play, *, tries: int = 3) -> None:
    """The model never gets the structured output right, until its tries are used up."""
    play.work()
    for _ in range(tries):
        play.ask("clean", says='{"orders": [')
    play.run.framework_state("error_max_structured_output_retries")
