"""Why agent sessions really stop, what they cost, and whether the task succeeded.

In an application `tracekit.configure()` switches tracing on; the functions below say what happens
where. Each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.instrumentation.agents import agent, current_task, done, task
    from tracekit.instrumentation.approvals import approval, decide_approval, request_approval
    from tracekit.instrumentation.clients import instrument, uninstrument, wrap
    from tracekit.instrumentation.coordination import (
        checkpoint,
        compensates,
        handoff,
        plan,
        resume,
    )
    from tracekit.instrumentation.done_tool import done_tool
    from tracekit.instrumentation.fanouts import fanout
    from tracekit.instrumentation.llm import current_call, llm
    from tracekit.instrumentation.propagation import carry, environment
    from tracekit.instrumentation.redaction import Redaction
    from tracekit.instrumentation.retries import attempt, retry
    from tracekit.instrumentation.sampler import SessionSampler
    from tracekit.instrumentation.scope import current_session, session
    from tracekit.instrumentation.setup import configure, diagnostics, flush, shutdown
    from tracekit.instrumentation.tools import retrieval, tool
    from tracekit.instrumentation.verdicts import feedback, outcome

__all__ = [
    "Redaction",
    "SessionSampler",
    "agent",
    "approval",
    "attempt",
    "carry",
    "checkpoint",
    "compensates",
    "configure",
    "current_call",
    "current_session",
    "current_task",
    "decide_approval",
    "diagnostics",
    "done",
    "done_tool",
    "environment",
    "fanout",
    "feedback",
    "flush",
    "handoff",
    "instrument",
    "llm",
    "outcome",
    "plan",
    "request_approval",
    "resume",
    "retrieval",
    "retry",
    "session",
    "shutdown",
    "task",
    "tool",
    "uninstrument",
    "wrap",
]

_MODULES = {
    "agents": ["agent", "current_task", "done", "task"],
    "approvals": ["approval", "decide_approval", "request_approval"],
    "clients": ["instrument", "uninstrument", "wrap"],
    "coordination": ["checkpoint", "compensates", "handoff", "plan", "resume"],
    "done_tool": ["done_tool"],
    "fanouts": ["fanout"],
    "llm": ["current_call", "llm"],
    "propagation": ["carry", "environment"],
    "redaction": ["Redaction"],
    "sampler": ["SessionSampler"],
    "retries": ["attempt", "retry"],
    "scope": ["current_session", "session"],
    "setup": ["configure", "diagnostics", "flush", "shutdown"],
    "tools": ["retrieval", "tool"],
    "verdicts": ["feedback", "outcome"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module 'tracekit' has no attribute {name!r}")
    value = getattr(import_module(f"tracekit.instrumentation.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return what there is, loaded or not."""
    return sorted({*globals(), *__all__})
