"""What would be given back: the ladder of credits against what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit.sla.terms import Terms


def credit(
    terms: Terms, measured: float | None, fees: float | None
) -> tuple[float | None, float | None, str]:
    """Return the credit in percent and in USD, and why one of them is unknown.

    Args:
        terms: The terms.
        measured: Availability over the whole period; None where there is none.
        fees: Fees the percentage is of, USD; None where nobody named them.
    """
    ladder = terms.credits
    if reason := _unknown(terms, measured):
        return None, None, reason
    due = [tier.percent for tier in ladder.tiers if _below(measured, tier.below)] if ladder else []
    if ladder is None or not due:
        return 0.0, 0.0, ""
    percent = min(max(due), ladder.cap_percent or 100.0)
    if fees is None:
        return percent, None, "no fees are given"
    usd = fees * percent / 100
    if ladder.min_usd is not None and usd < ladder.min_usd:
        return percent, 0.0, f"below the least credit of {ladder.min_usd:g} USD"
    return percent, usd, ""


def _unknown(terms: Terms, measured: float | None) -> str:
    if terms.availability is None:
        return "no availability is promised"
    if open_ := terms.lacks("credits"):
        return f"the source does not state {', '.join(open_)}"
    return "" if measured is not None else "there is no measured availability of a whole period"


def _below(measured: float | None, bound: float) -> bool:
    return measured is not None and measured < bound
