"""pydantic-ai: runs and tool calls, by a capability that every run gets.

A capability is the framework's own way to wrap a run and its tools. Ours stands inside the one of
its own instrumentation, and goes on with the spans that makes.
"""

from __future__ import annotations

import functools
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Final

from tracekit.instrumentation.frameworks.adopted import fail_tool, tool_call
from tracekit.instrumentation.frameworks.runs import Run
from tracekit.instrumentation.runtime import STATE, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.instrumentation.clients.patches import Patches
    from tracekit.instrumentation.tools import ToolStep

UNNAMED: Final = "agent"
"""What pydantic-ai calls an agent without a name."""

_WAITING: Final = "DeferredToolRequests"
_SIGNALS: Final = frozenset({"ToolRetryError", "ToolFailedError"})
"""Exceptions that carry a tool's own one to the model."""


class AgentRun(Run):
    """A run of an agent."""

    framework = "pydantic_ai"
    packages = ("pydantic_ai",)

    def state(self, result: Any) -> str | None:
        """Return why a run ended before its task: tools wait for approval or run elsewhere."""
        waiting = getattr(result, "output", None)
        if type(waiting).__name__ != _WAITING:
            return None
        approvals = getattr(waiting, "approvals", ())
        for call in approvals:
            self.approval("requested", call.tool_call_id)
        return "ApprovalRequired" if approvals else "CallDeferred"

    def decided(self, approvals: Mapping[str, Any]) -> None:
        """Write what was decided about the tool calls the run before had waited for."""
        for call_id, decision in approvals.items():
            denied = decision is False or type(decision).__name__ == "ToolDenied"
            self.approval("denied" if denied else "approved", call_id)

    def stop(self, error: BaseException, cancellation: Any) -> None:
        """End the run with what it raised.

        What is a plain cancellation here becomes another exception further out where the run
        cancelled itself.
        """
        if isinstance(error, CancelledError) and getattr(cancellation, "cancel_requested", False):
            word = "RunTimedOut" if cancellation.timed_out else "RunCancelled"
            self.fail_as(f"pydantic_ai.exceptions.{word}", word)
        else:
            self.fail(error)


def _started(context: Any, decisions: Any) -> AgentRun:
    run = AgentRun()
    try:
        name = getattr(context.agent, "name", None)
        run.begin(name or UNNAMED, unnamed=UNNAMED, session=context.conversation_id)
        run.decided(getattr(decisions, "approvals", None) or {})
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("pydantic_ai.run")
    return run


def _failed(step: ToolStep, error: BaseException) -> None:
    """End a tool call as the exception that left it says; some carry the tool's own one."""
    from pydantic_ai import ApprovalRequired, CallDeferred  # noqa: PLC0415 - only where installed

    carried = error.__cause__ if type(error).__name__ in _SIGNALS else None
    fail_tool(step, carried or error, (ApprovalRequired, CallDeferred))


def _capability() -> type[Any]:
    """Return the class of the capability; the framework is imported by now."""
    from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering  # noqa: PLC0415

    class TracekitCapability(AbstractCapability[Any]):
        # It adds nothing a durable run would have to know of.
        _safe_at_runtime = True

        def __init__(self, decisions: Any = None) -> None:
            self.decisions = decisions

        def get_ordering(self) -> CapabilityOrdering:
            return CapabilityOrdering(position="innermost")

        async def wrap_run(self, ctx: Any, *, handler: Any) -> Any:
            run = _started(ctx, self.decisions)
            run.enter()
            try:
                result = await handler()
            except BaseException as error:
                run.leave()
                run.stop(error, getattr(ctx, "_cancellation", None))
                raise
            run.leave()
            run.finish(result)
            return result

        async def wrap_tool_execute(
            self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Any
        ) -> Any:
            del ctx, tool_def
            step = tool_call(call.tool_name, call.tool_call_id, args)
            step.enter()
            try:
                result = await handler(args)
            except BaseException as error:
                step.leave()
                _failed(step, error)
                raise
            step.leave()
            step.finish(result)
            return result

        async def on_tool_validate_error(
            self, ctx: Any, *, call: Any, tool_def: Any, args: Any, error: Any
        ) -> Any:
            del ctx, tool_def
            tool_call(call.tool_name, call.tool_call_id, args).fail(error)
            raise error

    return TracekitCapability


def _with_capability(original: Callable[..., Any], capability: type[Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def iter_(*args: Any, **kwargs: Any) -> Any:
        if STATE.runtime is not None:
            ours = capability(kwargs.get("deferred_tool_results"))
            kwargs["capabilities"] = [*(kwargs.get("capabilities") or ()), ours]
        return original(*args, **kwargs)

    return iter_


def install(patches: Patches) -> None:
    """Instrument pydantic-ai."""
    from pydantic_ai import Agent  # noqa: PLC0415 - only where it is installed

    capability = _capability()
    patches.replace(Agent, "iter", lambda original: _with_capability(original, capability))
