"""From numbers to places on an axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final

from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

STEPS: Final = 5
"""Most intervals between ticks: six labels still fit a telephone."""

_ROUND: Final = (1, 2, 2.5, 5, 10)
_LEAST: Final = 1e-9
"""What is smaller is nothing that could be drawn."""
_MOST_PLACES: Final = 12


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis.

    Attributes:
        low: Value at its start.
        high: Value at its end.
        kind: What the values are.
        step: Distance of the ticks.
    """

    low: float
    high: float
    kind: Kind
    step: float

    def at(self, value: float) -> float:
        """Return the place of a value in percent of the axis, within it, to a hundredth."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the places of the ticks in percent, and their labels without the unit."""
        count = round((self.high - self.low) / self.step)
        values = [self.low + number * self.step for number in range(count + 1)]
        return [(self.at(value), self._label(value)) for value in values]

    def _label(self, value: float) -> str:
        if self.kind is Kind.COUNT:
            return f"{value:,.0f}"
        factor = 100 if self.kind is Kind.SHARE else 1
        step = factor * self.step
        places = next(n for n in range(_MOST_PLACES + 1) if n == _MOST_PLACES or _fits(step, n))
        return f"{factor * value:,.{places}f}"


def scale(values: Iterable[float], kind: Kind, *, low: float = 0.0) -> Scale:
    """Return an axis from `low` to a round number at or above the largest value.

    Shares get the whole range up to 1 only where they need it.
    """
    largest = max(values, default=0.0)
    if kind is Kind.SHARE:
        largest = min(1.0, largest)
    if largest < low + _LEAST:
        largest = low + (1.0 if kind is not Kind.COUNT else float(STEPS))
    step = _step((largest - low) / STEPS, whole=kind is Kind.COUNT)
    high = low + ceil((largest - low) / step - 1e-9) * step
    return Scale(low, high, kind, step)


def _fits(step: float, places: int) -> bool:
    """Return whether a step has no more decimals than these."""
    return abs(round(step, places) - step) < step * 1e-6


def _step(least: float, *, whole: bool) -> float:
    power = 10.0 ** floor(log10(least))
    if whole and power < 1:
        return 1.0
    return next(
        power * factor
        for factor in _ROUND
        if power * factor >= least * (1 - 1e-9) and not (whole and power * factor % 1)
    )
