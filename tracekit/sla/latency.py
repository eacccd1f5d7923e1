"""Promises about speed: tokens per second, time to first token, time between tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tracekit.reports import query
from tracekit.sla import conditions
from tracekit.sla.relations import sql, whole
from tracekit.sla.verdict import empty, straddles, unstated
from tracekit.stats.intervals import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tracekit.sla.terms import Latency
    from tracekit.sla.verdict import Question, Verdict

_SECOND_NS: Final = 1_000_000_000

METRICS: Final = {
    # Tokens stream after the first one: the wait for it is no part of the speed.
    "output_tokens_per_second": (
        "output_tokens / nullif(duration_s - coalesce(ttft_s, 0), 0)",
        ">",
    ),
    "ttft_ms": ("ttft_s * 1000", "<="),
    "inter_token_ms": ("1000 * (duration_s - ttft_s) / nullif(output_tokens - 1, 0)", "<="),
}
"""Metric -> what it is of an attempt, and how a value keeps the term."""

STATISTICS: Final = {
    "each": "max(value)",
    "mean": "avg(value)",
    "p50": "quantile_cont(value, 0.5)",
    "p90": "quantile_cont(value, 0.9)",
    "p95": "quantile_cont(value, 0.95)",
    "p99": "quantile_cont(value, 0.99)",
}


def latencies(asked: Question) -> Iterator[Verdict]:
    """Yield a verdict per latency term whose models were called in the period.

    Output tokens per second are those after the first token where its time is known; where it is
    not they include the wait for it, which is a lower bound, and `reason` says of how many.

    Args:
        asked: The period.
    """
    for latency in asked.terms.latency:
        row = _row(asked, latency)
        if row["calls"]:
            yield _judged(asked, latency, row)


def _row(asked: Question, latency: Latency) -> dict[str, Any]:
    since, until = asked.window.bounds(asked.period)
    metric, keeps = METRICS[latency.metric]
    scope = [conditions.in_scope(asked.terms), "output_tokens > 0"]
    if latency.models:
        scope.append(conditions.matches("model", latency.models))
    if (most := latency.excludes.input_tokens_gt) is not None:
        scope.append(f"coalesce(input_tokens <= {most}, TRUE)")
    slice_ns = latency.slice_seconds * _SECOND_NS
    each = latency.statistic == "each"
    (row,) = query.fetch(
        asked.con,
        sql("latency").format(
            slice="span_id" if each else f"(start_ns - {asked.period.start_ns}) // {slice_ns}",
            metric=metric,
            statistic=STATISTICS[latency.statistic],
            keeps=keeps,
            threshold=latency.threshold,
            scope=" AND ".join(scope),
            since_ns=since,
            until_ns=until,
        ),
    )
    return row


def _judged(asked: Question, latency: Latency, row: Mapping[str, Any]) -> Verdict:
    terms = asked.terms
    estimate = clopper_pearson(row["kept"], row["measured"])
    reasons = list(unstated(terms, "latency", "scope", "availability.period"))
    if asked.ledger.basis == "estimate":
        reasons.append("only sampled sessions are there: an estimate")
    if reason := asked.window.open_reason(asked.period):
        reasons.append(reason)
    if straddles(estimate, latency.attainment):
        reasons.append("the interval has the objective inside")
    notes = []
    if row["without_ttft"] and latency.metric == "output_tokens_per_second":
        notes.append(
            f"of {row['without_ttft']:,} of {row['calls']:,} calls the speed includes the wait "
            "for the first token"
        )
    verdict = empty(terms, asked.ledger.basis)
    verdict |= {
        "period": asked.period.name,
        "promise": _promise(latency),
        "objective": latency.attainment,
        "measured": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "reason": "; ".join((*reasons, *notes)),
        "eligible": whole(float(row["measured"])),
        "counted": whole(float(row["measured"] - row["kept"])),
        "credit_reason": "latency terms have no ladder",
        "confidence": terms.confidence("latency"),
    }
    if not reasons:
        # A speed that includes the wait is too low: it can keep the term, and not break it.
        kept = estimate.low >= latency.attainment
        verdict["verdict"] = "met" if kept else "indeterminate" if notes else "missed"
    return verdict


def _promise(latency: Latency) -> str:
    unit = {
        "output_tokens_per_second": "tokens/s",
        "ttft_ms": "ms to first token",
        "inter_token_ms": "ms between tokens",
    }[latency.metric]
    sign = METRICS[latency.metric][1].replace("<=", "≤")
    models = f" {', '.join(latency.models)}" if latency.models else ""
    return f"{latency.statistic} {sign} {latency.threshold:g} {unit}{models}"
