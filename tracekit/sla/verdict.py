"""What a verdict on one promise says, and the time it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict

from tracekit.sla.terms import concerns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from tracekit.sla.periods import Span
    from tracekit.sla.relations import Basis, Ledger
    from tracekit.sla.terms import Terms
    from tracekit.stats.intervals import Estimate


class Verdict(TypedDict):
    """One promise in one period.

    Attributes:
        terms: Id of the terms.
        provider: Provider.
        plan: Plan, else product.
        unit: What it is reckoned for: a region, or `all`.
        period: The period, as 2026-03.
        promise: availability, or the metric and the models of a latency term.
        objective: What was promised, a share; None where nothing was.
        measured: What was measured; None where the terms do not say how.
        low: Lower end of its 95 % interval (Clopper-Pearson).
        high: Upper end.
        verdict: met, missed or indeterminate.
        reason: Why it is indeterminate, or what else must be known; empty where nothing.
        coverage: Share of the period's slices with calls in them.
        eligible: Calls (of a latency term: slices or calls) it is reckoned from.
        counted: Failures that count (of a latency term: slices or calls that do not keep it).
        excluded: Calls left out.
        uncounted: Failures the terms do not count.
        unstated: Failures of which the source does not say whether they count.
        unplaced: Calls that do not say whether the terms speak of them.
        outages: Runs of slices that were down.
        credit_percent: Credit by the ladder; None where it is unknown.
        credit_usd: What would be claimed; None where it is unknown.
        credit_reason: Why it is unknown; empty where it is not.
        confidence: What the weakest of the facts rests on.
        basis: `ledger`, or `estimate` where only sampled sessions are there.
    """

    terms: str
    provider: str
    plan: str
    unit: str
    period: str
    promise: str
    objective: float | None
    measured: float | None
    low: float | None
    high: float | None
    verdict: Literal["met", "missed", "indeterminate"]
    reason: str
    coverage: float | None
    eligible: float
    counted: float
    excluded: float
    uncounted: float
    unstated: float
    unplaced: float
    outages: int
    credit_percent: float | None
    credit_usd: float | None
    credit_reason: str
    confidence: str
    basis: Basis


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is looked at, and what is known of it.

    Attributes:
        from_ns: First start that counts, UTC, ns since 1970; None for the first there is.
        to_ns: First start that no longer counts; None for now.
        now_ns: The present: a period that ends later is not over.
        maintenance: Times of announced maintenance, first and first later ns.
    """

    from_ns: int | None = None
    to_ns: int | None = None
    now_ns: int | None = None
    maintenance: Sequence[tuple[int, int]] = field(default=())

    def holds(self, period: Span) -> bool:
        """Whether a period lies in it as a whole, and is over."""
        begun = self.from_ns is None or self.from_ns <= period.start_ns
        ends = [end for end in (self.to_ns, self.now_ns) if end is not None]
        return begun and all(period.end_ns <= end for end in ends)

    def bounds(self, period: Span) -> tuple[int, int]:
        """Return the part of a period that lies in it, first and first later ns."""
        since = period.start_ns if self.from_ns is None else max(self.from_ns, period.start_ns)
        ends = [end for end in (self.to_ns, self.now_ns, period.end_ns) if end is not None]
        return since, max(since, min(ends))

    def open_reason(self, period: Span) -> str:
        """Return why nothing final can be said of a period; empty where it can."""
        if self.now_ns is not None and period.end_ns > self.now_ns:
            return "the period is not over"
        return "" if self.holds(period) else "only a part of the period is looked at"


@dataclass(frozen=True, slots=True)
class Question:
    """One period of one provider's terms.

    Attributes:
        con: Connection with the relations of `tracekit.sla.relations`.
        terms: The terms.
        period: The period.
        window: The time that is looked at.
        ledger: What the lake holds of the sessions.
    """

    con: duckdb.DuckDBPyConnection
    terms: Terms
    period: Span
    window: Window
    ledger: Ledger


def empty(terms: Terms, basis: Basis) -> Verdict:
    """Return a verdict that says nothing yet."""
    promised = terms.availability
    return Verdict(
        terms=terms.id,
        provider=terms.provider,
        plan=terms.plan or terms.product,
        unit="all",
        period="",
        promise="availability",
        objective=promised.objective if promised else None,
        measured=None,
        low=None,
        high=None,
        verdict="indeterminate",
        reason="",
        coverage=None,
        eligible=0,
        counted=0,
        excluded=0,
        uncounted=0,
        unstated=0,
        unplaced=0,
        outages=0,
        credit_percent=None,
        credit_usd=None,
        credit_reason="nothing was measured",
        confidence=terms.confidence("availability"),
        basis=basis,
    )


def unstated(terms: Terms, *parts: str) -> Iterator[str]:
    """Yield what the source leaves open of some parts of the terms, as reasons."""
    missing = [name for name in terms.unknown if any(concerns(name, part) for part in parts)]
    memory = [
        name
        for name, sure in terms.weaker.items()
        if sure == "memory" and any(concerns(name, part) for part in parts)
    ]
    if missing:
        yield f"the source does not state {', '.join(missing)}"
    if memory:
        yield f"from memory alone: {', '.join(memory)}"


def straddles(estimate: Estimate, objective: float) -> bool:
    """Whether an interval has the objective inside, so that neither verdict is sure."""
    return estimate.low < objective <= estimate.high
