"""A tool ends the task, or almost does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.simulation.registry import mode

if TYPE_CHECKING:
    from tracekit.simulation.play import Play


@mode(
    "tool.error_unrecovered",
    "failure",
    "stop",
    fault="A",
    cause="tool",
    detectors=("stop_mismatch",),
)
def tool_error(play: Play, *, error: str = "UpstreamError") -> None:
    """The last tool call fails, and the agent answers all the same."""
    play.work()
    play.ask()
    play.use(error=error)
    play.answer("The order system did not respond.")


@mode("completed.verified", "success", "verdict", detectors=("retry_storm",))
def tool_recovered(play: Play, *, failures: int = 3) -> None:
    """A tool fails several times, then succeeds, and the task does too."""
    play.work(1)
    name, arguments = play.any_tool(("read", "none")), play.arguments()
    for _ in range(failures):
        play.ask()
        play.use(name, arguments, error="UpstreamError")
    play.ask()
    play.use(name, arguments)
    play.answer()
    play.verdict(passed=True)


@mode("tool.invalid_call", "failure", "stop", fault="A", cause="tool", detectors=("stop_mismatch",))
def tool_invalid(play: Play) -> None:
    """The model writes arguments the tool refuses, and gives up."""
    play.work()
    play.ask()
    play.use(error="ToolInputValidationError")
    play.answer("The tool did not accept this order number.")


@mode(
    "tool.invalid_call",
    "failure",
    "stop",
    fault="A",
    cause="tool",
    detectors=("futile_retry", "retry_storm", "stop_mismatch"),
)
def futile_retry(play: Play, *, times: int = 3) -> None:
    """The model sends the same arguments again to a tool that can never take them."""
    play.work()
    name, arguments = play.any_tool(("read", "none")), play.arguments()
    for _ in range(times):
        play.ask()
        play.use(name, arguments, error="ToolInputValidationError")
    play.answer("The tool does not take this order number.")


@mode("tool.unknown", "failure", "stop", fault="A", cause="tool", detectors=("stop_mismatch",))
def tool_unknown(play: Play) -> None:
    """The model calls a tool that does not exist."""
    play.work()
    play.ask()
    play.use("delete_everything", error="ToolNotFoundError")
    play.answer("There is no such tool here.")


@mode("tool.timeout", "failure", "stop", fault="A", cause="tool", detectors=("stop_mismatch",))
def tool_timeout(play: Play) -> None:
    """The last tool call times out."""
    play.work()
    play.ask()
    play.clock.wait(30)
    play.use(error="ToolTimeoutError")
    play.answer("The search took too long.")


@mode("tool.dangling_call", "failure", "stop", fault="A", cause="tool")
def dangling_call(play: Play) -> None:
    """The model asks for a tool, and the loop ends without calling it."""
    play.work()
    call = {"type": "tool_call", "id": "call-x", "name": play.any_tool(), "arguments": "{}"}
    play.ask("tools", says={"role": "assistant", "parts": [call]})
