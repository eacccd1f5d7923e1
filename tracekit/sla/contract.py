"""What providers promised against what was measured: the contract's own indicator, replayed.

    verdicts(con, [reading.load("aws-bedrock-2023-10")])

A verdict is `met` or `missed` only where the whole 95 % interval lies on one side of the objective,
the period is over, every session is in the ledger, and the terms state everything the reckoning
needs. Otherwise it is `indeterminate`, and `reason` says why.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from tracekit.reports import query
from tracekit.sla import conditions
from tracekit.sla.credits import credit
from tracekit.sla.latency import latencies
from tracekit.sla.periods import periods
from tracekit.sla.reading import shipped
from tracekit.sla.relations import FAR_NS, number, prepare, rate, sql, whole
from tracekit.sla.terms import Availability, Period
from tracekit.sla.verdict import Question, Verdict, Window, empty, straddles, unstated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import duckdb

    from tracekit.sla.periods import Span
    from tracekit.sla.relations import Ledger
    from tracekit.sla.terms import Terms
    from tracekit.stats.intervals import Estimate

MINUTE_NS = 60_000_000_000
_NOTHING = Availability(objective=1)
"""How calls are counted where no availability is promised."""


def verdicts(
    con: duckdb.DuckDBPyConnection,
    terms: Iterable[Terms] | None = None,
    window: Window | None = None,
    fees: Mapping[str, float] | None = None,
) -> list[Verdict]:
    """Return what providers promised and what was measured: a row per promise, unit and period.

    Args:
        con: Connection with the lake's views.
        terms: Terms to judge by; by default all shipped ones that speak of any call. Given ones are
            answered for also where no call is in their scope.
        window: The time to look at; by default all.
        fees: Fees of a period, USD, by id of the terms, or by `id/unit`.
    """
    ledger = prepare(con)
    window = window or Window()
    found: list[Verdict] = []
    for one in shipped().values() if terms is None else terms:
        spans = list(judged_periods(con, one, window))
        if not spans and terms is not None:
            found.append(
                empty(one, ledger.basis) | {"reason": "no calls are in the scope of these terms"}
            )
        for period in spans:
            question = Question(con, one, period, window, ledger)
            found += _availability(question, fees or {})
            found += latencies(question)
    return found


def judged_periods(con: duckdb.DuckDBPyConnection, terms: Terms, window: Window) -> Iterator[Span]:
    """Make table `sla_minutes` of the calls of some terms, and yield the periods they lie in.

    Args:
        con: Connection with the relations of `tracekit.sla.relations`.
        terms: The terms.
        window: The time to look at.
    """
    by_region = terms.scope.aggregation == "region"
    con.execute(
        sql("contract_minutes").format(
            unit="coalesce(region, 'unknown')" if by_region else "'all'",
            scope=conditions.in_scope(terms),
            class_=conditions.in_class(terms, window.maintenance),
            from_ns=window.from_ns or 0,
            to_ns=FAR_NS if window.to_ns is None else window.to_ns,
        )
    )
    (minutes,) = query.fetch(con, sql("extent"))
    if minutes["first"] is None:
        return
    period = terms.availability.period if terms.availability else Period()
    end_ns = (minutes["last"] + 1) * MINUTE_NS
    if period.kind == "rolling":
        end_ns = window.to_ns or window.now_ns or end_ns
    yield from periods(period, minutes["first"] * MINUTE_NS, end_ns)


def _availability(asked: Question, fees: Mapping[str, float]) -> Iterator[Verdict]:
    """Yield what was promised and measured about answered calls, per unit."""
    rules = asked.terms.availability or _NOTHING
    since, until = asked.window.bounds(asked.period)
    slice_minutes = rules.slice_seconds // 60
    bad_when = rules.slice_bad_when
    rows = query.fetch(
        asked.con,
        sql("contract").format(
            start=asked.period.start_ns // MINUTE_NS,
            since=since // MINUTE_NS,
            until=-(-until // MINUTE_NS),
            minutes=slice_minutes,
            error_rate=bad_when.error_rate_gt,
            min_requests=bad_when.min_requests,
            min_slices=max(1, -(-bad_when.min_consecutive_seconds // rules.slice_seconds)),
        ),
    )
    slices = -(-(until - since) // (slice_minutes * MINUTE_NS))
    for row in rows:
        if row["eligible"] or row["excluded"]:
            yield _judged(asked, rules, row, slices, fees)


def _judged(
    asked: Question,
    rules: Availability,
    row: Mapping[str, Any],
    slices: int,
    fees: Mapping[str, float],
) -> Verdict:
    terms = asked.terms
    estimate = _measured(terms, rules, row, slices, asked.ledger)
    reasons = list(_doubts(asked, row, estimate))
    percent, usd, why = credit(
        terms,
        None if estimate is None or asked.window.open_reason(asked.period) else estimate.value,
        fees.get(f"{terms.id}/{row['unit']}", fees.get(terms.id)),
    )
    verdict = empty(terms, asked.ledger.basis)
    verdict |= {
        "unit": row["unit"],
        "period": asked.period.name,
        "coverage": row["slices_with_data"] / slices if slices else None,
        "eligible": whole(number(row["eligible"])),
        "counted": whole(number(row["counted"])),
        "excluded": whole(number(row["excluded"])),
        "uncounted": whole(number(row["uncounted"])),
        "unstated": whole(number(row["unstated"])),
        "unplaced": whole(number(row["unplaced"])),
        "outages": int(row["outages"]),
        "credit_percent": percent,
        "credit_usd": usd,
        "credit_reason": why,
        "reason": "; ".join(reasons),
    }
    if estimate is not None:
        verdict |= {"measured": estimate.value, "low": estimate.low, "high": estimate.high}
    if not reasons and estimate is not None:
        kept = estimate.low >= rules.objective
        verdict["verdict"] = "met" if kept else "missed"
        if not kept and rules.excluded.maintenance and not asked.window.maintenance:
            verdict["reason"] = "unless maintenance was announced: none is named"
    return verdict


def _measured(
    terms: Terms, rules: Availability, row: Mapping[str, Any], slices: int, ledger: Ledger
) -> Estimate | None:
    """Return the availability, where the terms say how it is reckoned."""
    if terms.availability is None or not _says_how(terms):
        return None
    counted = number(row["counted"]), number(row["counted_squares"])
    eligible = number(row["eligible"]), number(row["eligible_squares"])
    if rules.method == "occurrences":
        found = rate(counted, eligible, ledger)
    elif ledger.basis == "estimate":
        return None
    else:
        there = slices if rules.empty_slice == "good" else row["slices_with_data"]
        by_rate = rules.method == "ratio_time_slices"
        bad = number(row["rate_sum" if by_rate else "bad_slices"])
        found = rate((bad, bad), (there, there), ledger)
    return None if isnan(found.value) else found


def _says_how(terms: Terms) -> bool:
    """Whether nothing is missing without which there is no number; when a month begins is less."""
    return not any(
        name.startswith("availability") and not name.startswith("availability.period")
        for name in terms.unknown
    )


def _doubts(asked: Question, row: Mapping[str, Any], estimate: Estimate | None) -> Iterator[str]:
    """Yield why no verdict is sure."""
    terms = asked.terms
    if terms.availability is None:
        yield "no availability is promised"
        return
    yield from unstated(terms, "availability", "scope")
    if asked.ledger.basis == "estimate":
        yield "only sampled sessions are there: an estimate"
    if reason := asked.window.open_reason(asked.period):
        yield reason
    if row["unplaced"]:
        yield f"{row['unplaced']:,} calls do not say whether the terms speak of them"
    if estimate is not None and straddles(estimate, terms.availability.objective):
        yield "the interval has the objective inside"
