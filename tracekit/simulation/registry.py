"""The failure modes by name: functions that play a task to its end.

    @mode("tool.error_unrecovered", "failure", "stop", fault="A", cause="tool")
    def tool_error(play: Play, *, error: str = "UpstreamError") -> None:
        \"\"\"The last tool call fails, and the agent answers all the same.\"\"\"
        play.work()
        play.use(error=error)
        play.answer()

Its keyword arguments are the parameters a scenario may set; the first sentence of its docstring is
shown by `tracekit simulate --list`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tracekit.errors import InputError
from tracekit.simulation import modes as package
from tracekit.simulation.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.simulation.scenario import Entry
    from tracekit.simulation.truth import Cause, Known, Outcome


F = TypeVar("F", bound="Callable[..., None]")


@dataclass(frozen=True, slots=True)
class Mode:
    """A way a task goes.

    Attributes:
        name: Its name.
        summary: What happens, in one sentence.
        truth: What is true of every such task.
        parameters: Names of the parameters, with their defaults.
        needs: What the agent must have: `effect`, a tool with a side effect; else words its
            providers must have for a stop.
        play: Plays a task.
    """

    name: str
    summary: str
    truth: Truth
    parameters: Mapping[str, Any]
    needs: tuple[str, ...]
    play: Callable[..., None]

    def set(self, place: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters a scenario sets, if the mode has them and takes such values.

        Args:
            place: Where in the scenario they stand, for messages.
            parameters: What it sets.

        Raises:
            InputError: The mode has no such parameter, or it takes another type.
        """
        for name, value in parameters.items():
            if name not in self.parameters:
                there = ", ".join(self.parameters) or "none"
                raise InputError(f"{place}: {self.name} has no parameter {name!r}; it has: {there}")
            default = self.parameters[name]
            fits = (int, float) if isinstance(default, float) else type(default)
            if not isinstance(value, fits):
                raise InputError(
                    f"{place}.{name}: expected a value like {default!r}, not {value!r}"
                )
        return dict(parameters)


_MODES: Final[dict[str, Mode]] = {}


def mode(  # noqa: PLR0913 - the fields of the truth
    code: str,
    outcome: Outcome,
    known: Known,
    *,
    fault: str = "-",
    cause: Cause = "",
    detectors: tuple[str, ...] = (),
    hidden: str = "",
    needs: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Register a mode; see `Truth` for the arguments, and `Mode` for what it needs."""

    def register(function: F) -> F:
        found = inspect.signature(function).parameters.values()
        parameters = {p.name: p.default for p in found if p.kind is p.KEYWORD_ONLY}
        summary = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        truth = Truth(code, outcome, known, fault, cause, detectors, hidden)
        name = function.__name__
        _MODES[name] = Mode(name, summary, truth, parameters, needs, function)
        return function

    return register


@cache
def modes() -> Mapping[str, Mode]:
    """Return the modes, by name."""
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return _MODES


def resolve(place: str, name: str, entry: Entry) -> tuple[Mode, dict[str, Any]]:
    """Return the mode an entry of a scenario means, and its parameters.

    Args:
        place: Where in the scenario it stands, for messages.
        name: Name of the entry.
        entry: The entry.

    Raises:
        InputError: There is no such mode, or it has no such parameters.
    """
    wanted = entry.mode or name
    found = modes().get(wanted)
    if found is None:
        raise InputError(
            f"{place}: no mode {wanted!r}; `tracekit simulate --list` names those there are"
        )
    return found, found.set(place, entry.parameters)
