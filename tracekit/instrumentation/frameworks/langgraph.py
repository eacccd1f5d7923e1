"""LangGraph: runs of graphs, interrupts, and the tools of LangChain their nodes call.

`invoke` and the other ways to run a graph all read `Pregel.stream` or `astream`: that is the run.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final

from tracekit.instrumentation import names
from tracekit.instrumentation.decorate import wrapped
from tracekit.instrumentation.frameworks.adopted import fail_tool
from tracekit.instrumentation.frameworks.runs import Run, current_run
from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.tools import Tool, ToolStep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.instrumentation.clients.patches import Patches

log: Final = logging.getLogger("tracekit")

UNNAMED: Final = "LangGraph"
"""What LangGraph calls a graph without a name."""

_WAITS: Final = frozenset({"GraphInterrupt", "NodeInterrupt"})
_GOES_ON: Final = "ParentCommand"
"""Exceptions by which a subgraph tells the graph around it."""

_ENDS: Final = ("interrupt_before", "interrupt_after")
"""States of a graph that stands at a breakpoint."""


class GraphRun(Run):
    """A run of a graph; a subgraph without a name of its own is part of it."""

    framework = "langgraph"
    packages = ("langgraph",)

    def __init__(self) -> None:
        super().__init__()
        self.interrupted: str | None = None

    def state(self, result: Any) -> str:
        """Return LangGraph's word for where the graph stands."""
        del result
        return self.interrupted or "done"

    def fail(self, error: BaseException) -> None:
        """End the run with what it raised; a subgraph's way to wait, or to go on, is no error."""
        kind = type(error).__name__
        if kind in _WAITS:
            self.interrupted = "interrupt"
        if kind in _WAITS or kind == _GOES_ON:
            self.finish()
        else:
            super().fail(error)

    def pause(self, event: Any) -> None:
        """Note that the graph stands and waits."""
        if event.interrupts:
            self.interrupted = "interrupt"
            for waiting in event.interrupts:
                self.approval("requested", getattr(waiting, "id", None))
        elif event.status in _ENDS:
            self.interrupted = event.status


class _Runs:
    def open(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> GraphRun:
        """Start a run as `Pregel.stream(input, config)` was called."""
        run = GraphRun()
        try:
            graph, told = args[0], kwargs or {}
            config = told.get("config") or (args[2] if len(args) > 2 else None) or {}  # noqa: PLR2004
            own = {**(graph.config or {}), **config}
            thread = (own.get("configurable") or {}).get("thread_id")
            name = config.get("run_name") or graph.get_name()
            run.begin(name, unnamed=UNNAMED, session=None if thread is None else str(thread))
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("langgraph.run")
        return run


class _ToolCall:
    """A call of a LangChain tool: errors may be answers, and an interrupt is no error."""

    def __init__(self, step: ToolStep, pauses: tuple[type[BaseException], ...]) -> None:
        self._step = step
        self._pauses = pauses
        self.enter = step.enter
        self.leave = step.leave

    @property
    def context(self) -> Any:
        """The context in which it is current; None where there is none."""
        return self._step.context if self._step.span is not None else None

    def finish(self, result: Any = None) -> None:
        """End it with its answer."""
        if getattr(result, "status", None) == "error":
            self._step.failed("tool_error")
        self._step.finish(getattr(result, "content", result))

    def fail(self, error: BaseException) -> None:
        """End it with an error, unless it only waits."""
        fail_tool(self._step, error, self._pauses)


class _Tools:
    def __init__(self, pauses: tuple[type[BaseException], ...]) -> None:
        self._pauses = pauses

    def open(
        self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> _ToolCall:
        """Start a call as `BaseTool.run(tool_input, tool_call_id=...)` was called."""
        told = kwargs or {}
        given = told["tool_input"] if "tool_input" in told else args[1]
        known = {names.TOOL_NAME: args[0].name}
        if call_id := told.get("tool_call_id"):
            known[names.TOOL_CALL_ID] = call_id
        return _ToolCall(Tool(known, arguments=given).open(), self._pauses)


def _noting_pauses(original: Callable[..., Any], listener: Any) -> Callable[..., Any]:
    """Add a listener to those a run tells of its interrupts."""

    @functools.wraps(original)
    def managed(*args: Any, **kwargs: Any) -> Any:
        manager = original(*args, **kwargs)
        if isinstance(current_run(), GraphRun):
            try:
                manager.add_handler(listener, inherit=False)
            except Exception:  # noqa: BLE001 - the host goes on without us
                failed("langgraph.interrupts")
        return manager

    return managed


def _listener() -> Any:
    from langgraph.callbacks import GraphCallbackHandler  # noqa: PLC0415 - where it is installed

    class Listener(GraphCallbackHandler):
        run_inline = True

        def on_interrupt(self, event: Any) -> None:
            run = current_run()
            if isinstance(run, GraphRun):
                run.pause(event)

    return Listener()


def install(patches: Patches) -> None:
    """Instrument LangGraph and LangChain's tools."""
    from langchain_core.tools import BaseTool  # noqa: PLC0415 - only where it is installed
    from langgraph.errors import GraphBubbleUp  # noqa: PLC0415
    from langgraph.pregel import Pregel, main  # noqa: PLC0415

    for name in ("stream", "astream"):
        patches.replace(Pregel, name, lambda original: wrapped(original, _Runs()))
    calls = _Tools((GraphBubbleUp,))
    for name in ("run", "arun"):
        patches.replace(BaseTool, name, lambda original: wrapped(original, calls))
    _install_listener(patches, main)


def _install_listener(patches: Patches, main: Any) -> None:
    managers = [f"get_{kind}_graph_callback_manager_for_config" for kind in ("sync", "async")]
    if not all(hasattr(main, name) for name in managers):
        log.warning("tracekit does not see the interrupts of this version of langgraph")
        return
    listener = _listener()
    for name in managers:
        patches.replace(main, name, lambda original: _noting_pauses(original, listener))
