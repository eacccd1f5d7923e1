"""Whether an objective is met: the indicator with its intervals, and what can be said on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tracekit.stats.intervals import Estimate, clopper_pearson, wilson

if TYPE_CHECKING:
    from tracekit.slo.measure import Window
    from tracekit.slo.objectives import Objective

Word = Literal["met", "missed", "indeterminate"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the time window says on an objective.

    Attributes:
        word: met: the whole exact interval reaches the target; missed: none of it does;
            indeterminate: part of it, or something is missing.
        reason: Why, in a few words.
        indicator: The SLI with Wilson's interval; NaN without data.
        exact: The same with the exact interval (Clopper and Pearson), which the word rests on.
        effective: Number of independent units that would be as precise.
    """

    word: Word
    reason: str
    indicator: Estimate
    exact: Estimate
    effective: float


def effective_units(window: Window) -> float:
    """Return the number of independent units that would be as precise as those of a window.

    Bad units of one incident are one cluster: the variance of the rate is linearised over clusters
    (sum of (size * (y - rate))^2 / n^2, good units alone), and the size of the simple random sample
    with that variance is what is returned, never more than there are units. Source: E. L. Korn,
    B. I. Graubard, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology 24 (1998), without their correction for
    degrees of freedom.
    """
    n, bad = window.units, window.bad_units
    if n == 0 or bad == 0:
        return n
    rate = bad / n
    spread = (n - bad) * rate**2 + window.squares * (1 - rate) ** 2
    # Where all are bad nothing varies: Kish's size.
    size = rate * (1 - rate) * n**2 / spread if spread > 0 else n**2 / window.squares
    return min(size, n)


def undetermined_share(window: Window) -> float:
    """Return the share of the tasks that are undetermined, among all that count."""
    known = window.good + window.bad
    return window.undetermined / (known + window.undetermined) if window.undetermined else 0.0


def verdict(objective: Objective, window: Window) -> Verdict:
    """Judge a time window."""
    size = effective_units(window)
    good = size * (1 - window.bad_units / window.units) if window.units else 0.0
    good = min(max(good, 0.0), size)
    indicator, exact = wilson(good, size), clopper_pearson(good, size)
    word, reason = _word(objective, window, exact)
    return Verdict(word, reason, indicator, exact, size)


def _word(objective: Objective, window: Window, exact: Estimate) -> tuple[Word, str]:
    target = objective.target
    if window.units == 0:
        return "indeterminate", "no data"
    if objective.indicator.undetermined == "excluded":
        share = undetermined_share(window)
        if share > objective.max_undetermined:
            return "indeterminate", f"{share * 100:.0f} % of the tasks are undetermined"
    if exact.high < target:
        return "missed", f"the indicator is at most {_percent(exact.high)}"
    # Unmeasured time is not uptime: it cannot make an objective met.
    if window.coverage < objective.min_coverage:
        return "indeterminate", f"{window.coverage * 100:.0f} % of the slices have data"
    if exact.low >= target:
        return "met", f"the indicator is at least {_percent(exact.low)}"
    return (
        "indeterminate",
        f"the indicator is between {_percent(exact.low)} and {_percent(exact.high)}",
    )


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"
