"""OpenAI Agents: runs, function tools, guardrails, handoffs and approvals.

Hooked where every way in comes together: the runner behind `Runner`, the call of a function tool,
the guardrails' own `run`. None of these needs the SDK's tracing to be on; a handoff is known by the
SDK's span for it, which is there, if empty, when tracing is off.
"""

from __future__ import annotations

import functools
import logging
from asyncio import CancelledError
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, create_key, get_current, set_value

from tracekit.instrumentation import names
from tracekit.instrumentation.coordination import handoff
from tracekit.instrumentation.decorate import wrapped
from tracekit.instrumentation.frameworks.adopted import fail_tool
from tracekit.instrumentation.frameworks.runs import Run, current_run
from tracekit.instrumentation.runtime import STATE, failed
from tracekit.instrumentation.scope import SCOPE_KEY, scope_of
from tracekit.instrumentation.steps import Step, error_type
from tracekit.instrumentation.tools import ToolStep, tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.instrumentation.clients.patches import Patches

log: Final = logging.getLogger("tracekit")

TOOL_KEY: Final = create_key("tracekit-openai-agents-tool")

_INVOKE: Final = "_invoke_function_tool_with_metadata"
_STOPS: Final = frozenset({"raise_exception", "reject_content"})
"""What a tool's guardrail can decide that is not `allow`."""


class AgentsRun(Run):
    """A run of the runner; handoffs are part of it."""

    framework = "openai_agents"
    packages = ("agents",)

    def state(self, result: Any) -> str | None:
        """Return `interruptions` where tool calls wait for approval."""
        waiting = getattr(result, "interruptions", None) or ()
        for item in waiting:
            self.approval("requested", getattr(item.raw_item, "call_id", None))
        return "interruptions" if waiting else None

    def decided(self, resumed: Any) -> None:
        """Write what was decided about the tool calls a resumed run had waited for."""
        for item in resumed.get_interruptions():
            call_id = getattr(item.raw_item, "call_id", None)
            decision = resumed._context.get_approval_status(  # noqa: SLF001 - its only way out
                item.tool_name, call_id, existing_pending=item
            )
            if decision is not None:
                self.approval("approved" if decision else "denied", call_id)

    def follow(self, result: Any) -> None:
        """End the run when the background task of a streamed run does."""
        task = getattr(result, "run_loop_task", None)
        if task is None:
            self.finish(result)
            return

        def ended(task: Any) -> None:
            error = CancelledError() if task.cancelled() else task.exception()
            error = error or _stored_error(result)
            if error is None:
                self.finish(result)
            else:
                self.fail(error)

        task.add_done_callback(ended)


def _stored_error(result: Any) -> BaseException | None:
    """Return the error a streamed run will raise to whoever reads its events."""
    try:
        result._check_errors()  # noqa: SLF001 - what the SDK does for the next reader
        error = result._stored_exception  # noqa: SLF001
    except Exception:  # noqa: BLE001 - another version of the SDK
        failed("openai_agents.stream")
        return None
    return error if isinstance(error, BaseException) else None


class _Runs:
    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> AgentsRun:
        """Start a run as `AgentRunner.run(starting_agent, input, ...)` was called."""
        told = kwargs or {}
        run = AgentsRun()
        try:
            agent = told.get("starting_agent") or args[1]
            run.begin(getattr(agent, "name", None), session=_conversation(told))
            given = told["input"] if "input" in told else args[2]
            if hasattr(given, "get_interruptions"):
                run.decided(given)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("openai_agents.run")
        return run


def _conversation(told: Mapping[str, Any]) -> str | None:
    config = told.get("run_config")
    group = config.get("group_id") if isinstance(config, dict) else getattr(config, "group_id", "")
    session = getattr(told.get("session"), "session_id", None)
    found = told.get("conversation_id") or session or group
    return found if isinstance(found, str) else None


def _streamed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run_streamed(*args: Any, **kwargs: Any) -> Any:
        if STATE.runtime is None:
            return original(*args, **kwargs)
        run = _Runs().open(args, kwargs)
        run.enter()
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            run.leave()
            run.fail(error)
            raise
        run.leave()
        run.follow(result)
        return result

    return run_streamed


def _traced_tool(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def invoke(*args: Any, **kwargs: Any) -> Any:
        if STATE.runtime is None:
            return await original(*args, **kwargs)
        errors: list[str] = []
        step = _tool_step(kwargs, errors)
        step.enter()
        try:
            result = await original(*args, **kwargs)
        except BaseException as error:
            step.leave()
            fail_tool(step, error)
            raise
        step.leave()
        if getattr(result, "is_sdk_generated_error", False) and not errors:
            errors.append("ToolTimeoutError")  # the one error it answers without a handler
        if errors:
            step.failed(errors[-1])
        step.finish(getattr(result, "output", result))
        return result

    return invoke


def _tool_step(told: Mapping[str, Any], errors: list[str]) -> ToolStep:
    context, called = told.get("context"), told.get("function_tool")
    name = getattr(called, "name", None) or "unknown"
    call_id = getattr(context, "tool_call_id", None)
    step = tool(name, call_id=call_id, arguments=told.get("arguments") or None).open()
    if step.span is not None:
        step.context = set_value(TOOL_KEY, errors, step.context)
    return step


def _noted_failure(original: Callable[..., Any]) -> Callable[..., Any]:
    """Remember the error a handler makes an answer for the model from."""

    @functools.wraps(original)
    async def handle(*args: Any, **kwargs: Any) -> Any:
        errors, error = get_current().get(TOOL_KEY), kwargs.get("error")
        if isinstance(errors, list) and isinstance(error, BaseException):
            errors.append(error_type(error))
        return await original(*args, **kwargs)

    return handle


class Guardrail(Step):
    """A check of input, output or a tool call."""

    __slots__ = ()

    def finish(self, result: Any = None) -> None:
        """End it; a tripped one has failed."""
        output = getattr(result, "output", result)
        behavior = getattr(output, "behavior", None)
        tripped = getattr(output, "tripwire_triggered", False)
        if isinstance(behavior, dict):
            tripped = behavior.get("type") in _STOPS
        unit = self.scope.unit if self.span is not None else None
        if unit is not None:
            unit.guardrail(bool(tripped))
        self._close("GuardrailTripwireTriggered" if tripped else None, None)


class _Guardrails:
    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Guardrail:
        """Start a check."""
        del kwargs
        step = Guardrail()
        get_name = getattr(args[0], "get_name", None) if args else None
        name = get_name() if get_name is not None else "guardrail"
        step.start(f"guardrail {name}", {names.KIND: "guardrail"})
        return step


def _noted_handoff(original: Callable[..., Any]) -> Callable[..., Any]:
    """Write a handoff when the SDK's own span for it ends."""

    @functools.wraps(original)
    def finish(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        data = self.span_data
        if data.type == "handoff" and data.to_agent is not None and _in_run():
            handoff(data.to_agent, data.from_agent)
        return result

    return finish


def _noted_agent(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note which agent is at work when the SDK's own span for it starts."""

    @functools.wraps(original)
    def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if self.span_data.type == "agent" and _in_run():
            _go_on_as(self.span_data.name)
        return result

    return start


def _in_run() -> bool:
    return STATE.runtime is not None and isinstance(current_run(), AgentsRun)


def _go_on_as(agent: str) -> None:
    context = get_current()
    scope = scope_of(context)
    if scope.unit is not None and scope.agent_name != agent:
        # Left with the run: what was current before it comes back then.
        inside = scope.with_agent(agent, scope.unit, scope.root)
        attach(set_value(SCOPE_KEY, inside, context))


def install(patches: Patches) -> None:
    """Instrument the SDK."""
    import agents  # noqa: PLC0415 - only where it is installed
    from agents import run  # noqa: PLC0415
    from agents.tracing import spans  # noqa: PLC0415

    patches.replace(run.AgentRunner, "run", lambda original: wrapped(original, _Runs()))
    patches.replace(run.AgentRunner, "run_streamed", _streamed)
    checks = ("InputGuardrail", "OutputGuardrail", "ToolInputGuardrail", "ToolOutputGuardrail")
    for name in checks:
        check = getattr(agents, name)
        patches.replace(check, "run", lambda original: wrapped(original, _Guardrails()))
    for kind in (spans.SpanImpl, spans.NoOpSpan):
        patches.replace(kind, "start", _noted_agent)
        patches.replace(kind, "finish", _noted_handoff)
    _install_tools(patches)


def _install_tools(patches: Patches) -> None:
    from agents import tool as tools  # noqa: PLC0415 - only where it is installed

    handler = "maybe_invoke_function_tool_failure_error_function"
    try:
        execution = import_module("agents.run_internal.tool_execution")
        patches.replace(execution, _INVOKE, _traced_tool)
        patches.replace(tools, handler, _noted_failure)
    except (ImportError, KeyError):  # these are the SDK's own, and may move
        log.warning("tracekit does not see the tool calls of this version of openai-agents")
