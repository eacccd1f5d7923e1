"""The provider fails: for a moment, or for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play


@mode("completed.verified", "success", "verdict")
def retried(play: Play, *, kind: str = "rate_limited", failures: int = 2) -> None:
    """The provider limits the rate, the client waits and tries again, and the task succeeds."""
    play.work()
    play.script(kind, min(failures, play.cast.agent.client.attempts - 1), then=True)
    play.answer()
    play.verdict(passed=True)


@mode("completed.verified", "success", "verdict", detectors=("retry_storm",))
def nested_retries(play: Play) -> None:
    """The SDK tries until it gives up, and the application around it tries again."""
    play.work(1)
    play.script("overloaded", play.cast.agent.client.attempts * len(play.cast.asked))
    play.script("overloaded", 1, then=True)
    play.ask_twice()
    play.use()
    play.answer()
    play.verdict(passed=True)


@mode(
    "provider.rate_limited",
    "failure",
    "stop",
    fault="P",
    cause="rate_limit",
    detectors=("essential_call_failed",),
)
def rate_limited(play: Play) -> None:
    """The provider limits the rate until the client gives up."""
    _given_up(play, "rate_limited")


@mode(
    "provider.overloaded",
    "failure",
    "stop",
    fault="P",
    cause="provider",
    detectors=("essential_call_failed",),
)
def overloaded(play: Play) -> None:
    """The provider has no capacity until the client gives up."""
    _given_up(play, "overloaded")


@mode(
    "provider.timeout",
    "failure",
    "stop",
    fault="P",
    cause="timeout",
    detectors=("essential_call_failed",),
)
def model_timeout(play: Play) -> None:
    """The provider does not answer in time until the client gives up."""
    _given_up(play, "timeout")


@mode(
    "provider.server_error",
    "failure",
    "stop",
    fault="P",
    cause="provider",
    detectors=("essential_call_failed",),
)
def server_error(play: Play, *, kind: str = "server_error") -> None:
    """The provider answers with server errors, or cannot be reached, until the client gives up."""
    _given_up(play, kind)


@mode(
    "provider.malformed_output",
    "failure",
    "stop",
    fault="P",
    cause="provider",
    detectors=("essential_call_failed",),
)
def malformed_output(play: Play) -> None:
    """The provider answers with something that is no valid response."""
    _given_up(play, "malformed")


@mode("provider.rejected_request", "failure", "stop", fault="A", cause="orchestration")
def rejected_request(play: Play) -> None:
    """The provider rejects the request as invalid."""
    _given_up(play, "rejected")


@mode("provider.auth_or_billing", "failure", "stop", fault="A", cause="orchestration")
def auth_or_billing(play: Play, *, kind: str = "auth") -> None:
    """The key or the account does not allow the call."""
    _given_up(play, kind)


@mode(
    "provider.malformed_output",
    "failure",
    "label",
    fault="P",
    cause="provider",
    hidden="LiteLLM writes MALFORMED_RESPONSE as stop, so that the code cannot be told",
)
def hidden_by_gateway(play: Play) -> None:
    """A gateway rewrites the provider's stop value, so that an error looks like a clean stop."""
    play.work()
    play.ask("clean", output=0, through="litellm")


def _given_up(play: Play, kind: str) -> None:
    play.work()
    play.script(kind, play.cast.agent.client.attempts * len(play.cast.asked))
    play.ask()
