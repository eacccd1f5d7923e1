"""Budgets: announced factors on probabilities, from what was expected before and spent so far.

Time is cut into steps of ten seconds. A step's factors are announced when it begins and hold to
its end. They follow from two rates: the volume per second that the probabilities before the budget
would have kept in expectation, apart for the baseline (random) and for what rules and floors want
(protected). A rate rises at once to that of the last step and falls with a time constant of a
minute.

The allowance is the limit of a rate budget; of a daily one, what is left of it over what is left of
the UTC day, so that a quiet night is spent by day, and an expensive morning is paid for until
midnight. A budget sees the probabilities that those before it left: the tenant's before the overall
one, spans before bytes; the factors multiply. Demand above it is met in this order:

1. payload is stripped: the first level of the degrade ladder whose pressure (demand at full size
   over allowance) is reached; bytes only;
2. the baseline is thinned, down to 1/1024 of itself;
3. rules and floors are thinned alike, down to 1/1024.

No factor is 0: what could be kept before a budget can still be kept, and its weight tells. That is
why a budget can be exceeded: by a burst within one step, and by what 1/1024 leaves.

The factors depend on the expected volume, to which no R contributes, and on the volume kept, to
which only sessions before contribute. So they are constants as far as the R of a session at hand
goes, and its probability after the budget is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_NS: Final = 10_000_000_000
DAY_NS: Final = 86_400_000_000_000
LEAST: Final = 1 / 1024
"""Smallest factor."""

_WRONG_CLOCK: Final = 360
"""Steps that a right clock never goes back."""

_SECOND_NS: Final = 1_000_000_000
_STEP_S: Final = STEP_NS / _SECOND_NS
_FADE: Final = math.exp(-_STEP_S / 60)


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget.

    Attributes:
        amount: Volume per second, or per UTC day.
        daily: Which of the two.
    """

    amount: float
    daily: bool


@dataclass(frozen=True, slots=True)
class Level:
    """What the ladder's arithmetic knows of a level.

    Attributes:
        above: Pressure from which on it applies.
        ratio: Share of the bytes that is expected to remain.
    """

    above: float
    ratio: float


@dataclass(slots=True)
class Pace:
    """The state of one budget.

    Attributes:
        step: Number of the current step since 1970; -1 before the first session.
        random: Expected volume of the baseline in this step, before the budget.
        protected: The same, of rules and floors.
        random_rate: Expected volume of the baseline per second.
        protected_rate: The same, of rules and floors.
        day: Number of the current UTC day since 1970.
        spent: Volume kept on that day.
        random_factor: Announced factor on the probabilities of the baseline.
        protected_factor: Announced factor on those of rules and floors.
        pressure: Demand over allowance at the last announcement.
        level: Announced level of the degrade ladder; 0 for none.
    """

    step: int = -1
    random: float = 0.0
    protected: float = 0.0
    random_rate: float = 0.0
    protected_rate: float = 0.0
    day: int = -1
    spent: float = 0.0
    random_factor: float = 1.0
    protected_factor: float = 1.0
    pressure: float = 0.0
    level: int = 0

    @property
    def idle(self) -> bool:
        """Whether forgetting it changes nothing that matters."""
        return self.spent == 0 and self.random_rate + self.protected_rate < LEAST


def announce(pace: Pace, limit: Limit, now_ns: int, ladder: Sequence[Level] = ()) -> None:
    """Begin a new step where the last one is over.

    A clock that went back begins none; one that went back by more than an hour was wrong before,
    and the steps are counted from there.
    """
    step = now_ns // STEP_NS
    if step < pace.step - _WRONG_CLOCK:
        pace.step, pace.day = step, now_ns // DAY_NS
    if step <= pace.step:
        return
    if pace.step >= 0:
        fade = _FADE ** (step - pace.step - 1)
        pace.random_rate = _rate(pace.random_rate, pace.random) * fade
        pace.protected_rate = _rate(pace.protected_rate, pace.protected) * fade
    pace.step, pace.random, pace.protected = step, 0.0, 0.0
    if now_ns // DAY_NS > pace.day:
        pace.day, pace.spent = now_ns // DAY_NS, 0.0
    _announce(pace, _allowance(pace, limit, now_ns), ladder)


def _rate(before: float, volume: float) -> float:
    return max(volume / _STEP_S, before * _FADE + (1 - _FADE) * volume / _STEP_S)


def _allowance(pace: Pace, limit: Limit, now_ns: int) -> float:
    """Return the volume per second that may be kept from now on."""
    if not limit.daily:
        return limit.amount
    left_s = max(_STEP_S, (DAY_NS - now_ns % DAY_NS) / _SECOND_NS)
    return max(0.0, limit.amount - pace.spent) / left_s


def _announce(pace: Pace, allowance: float, ladder: Sequence[Level]) -> None:
    demand = pace.random_rate + pace.protected_rate
    pace.pressure = demand / max(allowance, 1e-9)
    pace.level = sum(pace.pressure >= level.above for level in ladder)
    ratio = ladder[pace.level - 1].ratio if pace.level else 1.0
    random, protected = pace.random_rate * ratio, pace.protected_rate * ratio
    pace.random_factor = pace.protected_factor = 1.0
    if random + protected <= allowance:
        return
    if random > 0:
        pace.random_factor = _clipped((allowance - protected) / random)
    if protected + random * pace.random_factor > allowance and protected > 0:
        pace.protected_factor = _clipped((allowance - random * pace.random_factor) / protected)


def _clipped(factor: float) -> float:
    return min(1.0, max(LEAST, factor))


def spend(pace: Pace, expected: float, *, protected: bool, kept: float) -> None:
    """Count a session, once: at its final decision, kept or not.

    Args:
        pace: State of the budget.
        expected: Its size times its probability before this budget.
        protected: Whether a rule or floor gave that probability, not the baseline.
        kept: Its size after stripping where it was kept, else 0.
    """
    if protected:
        pace.protected += expected
    else:
        pace.random += expected
    pace.spent += kept
