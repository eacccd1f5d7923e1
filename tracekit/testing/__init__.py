"""Help for the tests of instrumented agents: spans in memory, a clock, and ids that repeat.

With pytest, the fixture `traced` is there without further ado:

    def test_answer(traced):
        answer("why?")
        assert traced.one("invoke_agent answer").attributes["gen_ai.agent.name"] == "answer"

Without it, `with tracekit.testing.capture() as traced:` does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit.testing.stage import Captured, Clock, SequentialIds, capture

__all__ = ["Captured", "Clock", "SequentialIds", "capture"]


def __getattr__(name: str) -> object:
    """Import what is asked for, not before: the pytest plugin is part of every test run."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value: object = getattr(import_module("tracekit.testing.stage"), name)
    globals()[name] = value
    return value
