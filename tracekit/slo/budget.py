"""The arithmetic of error budgets and burn rates. A budget is the share that may be bad."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from tracekit.slo.durations import shorthand
from tracekit.slo.objectives import default_alerts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.slo.objectives import Alert, Objective

_REACHABLE: Final = 0.5
"""Share of bad tasks at which every alert fires: a burn rate cannot exceed 1 / budget, so that a
table made for budgets of a thousandth would ask the impossible of a budget of a tenth."""


def budget_s(target: float, period_s: float) -> float:
    """Return the seconds of a period that may be bad: 2,592 of 30 days at 99.9 %."""
    return (1 - target) * period_s


def burn_rate(bad: float, total: float, budget: float) -> float:
    """Return how many times faster than evenly over the period the budget is being spent.

    1 spends the whole budget in exactly one period; the most is 1/budget. `total` is above 0.
    """
    return bad / total / budget


def exhausted_in_s(left: float, burn: float, period_s: float) -> float:
    """Return in how many seconds the rest of a budget is spent at a burn rate.

    Args:
        left: Share of the budget that is left; none is left at 0 and below.
        burn: Burn rate.
        period_s: Period of the budget.
    """
    if left <= 0:
        return 0.0
    return left * period_s / burn if burn > 0 else inf


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert as an objective's budget and period allow it.

    Attributes:
        severity: Whom it wakes.
        long_s: The window that shows it matters.
        short_s: The window that shows it still goes on.
        burn: Burn rate above which it fires.
    """

    severity: str
    long_s: int
    short_s: int
    burn: float

    @property
    def name(self) -> str:
        """The rule as people name it: `page 1h/5m`."""
        return f"{self.severity} {shorthand(self.long_s)}/{shorthand(self.short_s)}"

    def short_windows(self) -> tuple[int, ...]:
        """Return the short window and wider ones for low traffic, none above half the long one."""
        wider = (self.short_s * 2, self.short_s * 4)
        return (self.short_s, *(length for length in wider if length <= self.long_s // 2))


def rules(objective: Objective) -> tuple[Rule, ...]:
    """Return the rules of an objective: those that its period has, at rates its budget allows."""
    most, made = _most(objective), _measurable(objective)
    return tuple(replace(rule, burn=min(rule.burn, most)) for rule in made if rule.burn >= 1)


def adjusted(objective: Objective) -> list[str]:
    """Return what `rules` changed for the objective's budget and period, as sentences."""
    made = list(_measurable(objective))
    most, budget = _most(objective), objective.budget
    fine = [f"{alert.severity} {shorthand(alert.long)}" for alert in _too_fine(objective)]
    capped = [f"{rule.name} ({rule.burn:.3g})" for rule in made if rule.burn > most]
    slow = [f"{rule.name} ({rule.burn:.2g})" for rule in made if rule.burn < 1]
    notes = []
    if capped:
        notes.append(
            f"{objective.name}: with a budget of {budget:.3g} no burn exceeds {1 / budget:.3g}, so "
            f"what would fire above {most:.3g} fires there: {_list(capped)}."
        )
    if slow:
        notes.append(
            f"{objective.name}: left out, since within {shorthand(objective.period_s)} they would "
            f"fire at a burn below 1, which spends less than the budget: {_list(slow)}."
        )
    if fine:
        why = f"left out, shorter than a slice of {shorthand(objective.slice_s)}"
        notes.append(f"{objective.name}: {why}: {_list(fine)}.")
    return notes


def _list(names: list[str]) -> str:
    return ", ".join(names)


def _alerts(objective: Objective) -> tuple[Alert, ...]:
    return default_alerts() if objective.alerts is None else objective.alerts


def _unit(objective: Objective) -> int:
    return 60 if objective.budgeting_method == "Occurrences" else objective.slice_s


def _too_fine(objective: Objective) -> Iterator[Alert]:
    return (alert for alert in _alerts(objective) if alert.long < _unit(objective))


def _measurable(objective: Objective) -> Iterator[Rule]:
    """Yield the rules at their own rates, windows rounded up to slices."""
    for alert in _alerts(objective):
        if alert.long >= _unit(objective):
            yield _rule(objective, alert)


def _most(objective: Objective) -> float:
    return max(1.0, _REACHABLE / objective.budget)


def _rule(objective: Objective, alert: Alert) -> Rule:
    unit = _unit(objective)
    long_s, short_s = (ceil(length / unit) * unit for length in (alert.long, alert.short))
    burn = alert.budget * objective.period_s / long_s
    return Rule(alert.severity, long_s, short_s, round(burn, 9))
