"""Verdicts on what providers promised, on ledgers small enough to reckon by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from ledger_build import EPOCH_NS, attempt, failed, ledger, task

from tracekit.sla import conditions, reading, verdicts
from tracekit.sla.credits import credit
from tracekit.sla.evidence import evidence
from tracekit.sla.periods import periods
from tracekit.sla.terms import Period, Terms
from tracekit.sla.verdict import Window
from tracekit.stats.intervals import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracekit.sla.verdict import Verdict

HEAD = """
schema: tracekit/sla/v1
id: mine
provider: openai
source: {url: contract, retrieved: 2026-11, confidence: contract}
"""
MONTH_NS = 31 * 86_400 * 1_000_000_000
OVER = Window(now_ns=EPOCH_NS + MONTH_NS)


def terms(text: str) -> Terms:
    return reading.parse("mine.yaml", HEAD + text)


def judged(
    text: str, attempts: Iterable[dict[str, Any]], window: Window = OVER, **options: Any
) -> list[Verdict]:
    return verdicts(ledger(attempts=attempts), [terms(text)], window, **options)


def calls(bad: int, good: int, start_s: float = 0, **values: Any) -> list[dict[str, Any]]:
    """Return failed and successful calls, a millisecond apart."""
    made = [failed("s", start_s + n / 1000, **values) for n in range(bad)]
    return made + [attempt("s", start_s + (bad + n) / 1000, **values) for n in range(good)]


def test_occurrences_are_good_calls_of_all_calls() -> None:
    """Three counted errors in a thousand are 99.7 %, with the exact interval beside it."""
    (row,) = judged("availability: {objective: 0.9}", calls(3, 997))
    interval = clopper_pearson(997, 1000)
    assert row["measured"] == 0.997
    assert (row["low"], row["high"]) == (interval.low, interval.high)
    assert (row["verdict"], row["reason"]) == ("met", "")
    assert (row["eligible"], row["counted"]) == (1000, 3)


@pytest.mark.parametrize(
    ("objective", "verdict", "reason"),
    [
        (0.99, "met", ""),
        (0.999, "indeterminate", "the interval has the objective inside"),
        (0.99995, "missed", ""),
    ],
)
def test_a_verdict_needs_the_whole_interval(objective: float, verdict: str, reason: str) -> None:
    """Where the objective lies inside of it, neither is said."""
    (row,) = judged(f"availability: {{objective: {objective}}}", calls(4, 1996))
    assert (row["verdict"], row["reason"]) == (verdict, reason)


def test_no_failure_at_all_is_not_yet_three_nines() -> None:
    """With 300 good calls up to 1 % may still fail."""
    (row,) = judged("availability: {objective: 0.999}", calls(0, 300))
    assert (row["measured"], row["verdict"]) == (1.0, "indeterminate")


def test_time_slices_weigh_an_idle_night_like_a_busy_noon() -> None:
    """One bad hour of 744 is 743/744, however many calls failed in it; silent hours are up."""
    text = "availability: {objective: 0.9, method: time_slices, slice_seconds: 3600}"
    (row,) = judged(text, calls(500, 0) + calls(0, 10, start_s=7200))
    assert row["measured"] == pytest.approx(743 / 744)
    assert row["coverage"] == pytest.approx(2 / 744)
    assert (row["outages"], row["eligible"], row["counted"]) == (1, 510, 500)


def test_silent_slices_can_be_left_out() -> None:
    """Then there are two hours, and one of them is bad."""
    text = (
        "availability: {objective: 0.9, method: time_slices, slice_seconds: 3600, "
        "empty_slice: excluded}"
    )
    (row,) = judged(text, calls(500, 0) + calls(0, 10, start_s=7200))
    assert row["measured"] == 0.5


def test_a_slice_is_down_above_a_rate_and_with_enough_calls() -> None:
    """5 % of 20 is not above 5 %, 2 of 20 is; 1 of 1 is too few calls."""
    text = """
availability:
  objective: 0.9
  method: time_slices
  slice_seconds: 3600
  slice_bad_when: {error_rate_gt: 0.05, min_requests: 20}
"""
    attempts = calls(1, 19) + calls(2, 18, start_s=3600) + calls(1, 0, start_s=7200)
    (row,) = judged(text, attempts)
    assert row["measured"] == pytest.approx(743 / 744)


def test_short_breaks_do_not_count_where_the_terms_say_so() -> None:
    """Of five minutes in a row and of four in a row the five count."""
    text = """
availability:
  objective: 0.9
  method: downtime_minutes
  slice_bad_when: {min_consecutive_seconds: 300}
"""
    minutes = [*range(5), *range(60, 64)]
    attempts = [failed("s", 60 * minute) for minute in minutes]
    attempts.append(attempt("s", 60 * 5))
    (row,) = judged(text, attempts)
    assert row["measured"] == pytest.approx(1 - 5 / 44_640)
    assert row["outages"] == 1


def test_the_mean_of_slices_is_another_number_than_the_mean_of_calls() -> None:
    """One of two calls failed in one slice, none of 98 in the other; all others are silent."""
    text = (
        "availability: {objective: 0.4, method: ratio_time_slices, slice_seconds: 300, "
        "empty_slice: excluded}"
    )
    (row,) = judged(text, calls(1, 1) + calls(0, 98, start_s=300))
    assert row["measured"] == 0.75
    text = text.replace("excluded", "good")
    (row,) = judged(text, calls(1, 1) + calls(0, 98, start_s=300))
    assert row["measured"] == pytest.approx(1 - 0.5 / 8928)


def test_regions_are_judged_one_by_one() -> None:
    """Where the terms say so, a bad region does not hide among the others."""
    text = "scope: {aggregation: region}\navailability: {objective: 0.9}"
    attempts = calls(50, 50, region="us") + calls(0, 100, region="eu", start_s=9)
    found = judged(text, attempts, fees={"mine": 5, "mine/us": 7})
    assert [(r["unit"], r["measured"], r["verdict"]) for r in found] == [
        ("eu", 1.0, "met"),
        ("us", 0.5, "missed"),
    ]


def test_calls_of_others_and_of_other_times_are_not_counted() -> None:
    """Neither another provider's, nor those outside of the window."""
    attempts = [
        *calls(0, 100),
        failed("s", 50, provider="anthropic"),
        failed("s", 86_400),
    ]
    window = Window(to_ns=EPOCH_NS + 60 * 1_000_000_000, now_ns=OVER.now_ns)
    (row,) = judged("availability: {objective: 0.5}", attempts, window)
    assert (row["eligible"], row["counted"]) == (100, 0)
    assert row["verdict"] == "indeterminate"
    assert row["reason"] == "only a part of the period is looked at"


def test_a_period_that_is_not_over_has_no_verdict() -> None:
    """However good it looks by now, and it is reckoned only until now."""
    text = "availability: {objective: 0.5, method: time_slices, slice_seconds: 3600}"
    now = Window(now_ns=EPOCH_NS + 10 * 3600 * 1_000_000_000)
    (row,) = judged(text, calls(1, 0), now)
    assert (row["verdict"], row["reason"]) == ("indeterminate", "the period is not over")
    assert row["measured"] == 0.9
    assert row["credit_usd"] is None


def test_calls_that_do_not_say_leave_it_open() -> None:
    """Where the terms are for a tier, a call without one may or may not be theirs."""
    text = "scope: {service_tier_served: [priority]}\navailability: {objective: 0.5}"
    attempts = [*calls(0, 100, service_tier="priority"), attempt("s", 9)]
    (row,) = judged(text, attempts)
    assert (row["eligible"], row["unplaced"], row["verdict"]) == (100, 1, "indeterminate")
    assert row["reason"] == "1 calls do not say whether the terms speak of them"


def test_what_the_source_does_not_state_is_never_met() -> None:
    """Not even with every call answered; and no number is made up where the method is missing."""
    text = "availability: {objective: 0.5}\nunknown: [availability.method]"
    (row,) = judged(text, calls(0, 1000))
    assert (row["measured"], row["verdict"]) == (None, "indeterminate")
    assert row["reason"] == "the source does not state availability.method"
    text = "availability: {objective: 0.5}\nweaker: {availability.method: memory}"
    (row,) = judged(text, calls(0, 1000))
    assert (row["measured"], row["verdict"]) == (1.0, "indeterminate")
    assert row["reason"] == "from memory alone: availability.method"


@pytest.mark.parametrize("one", reading.shipped().values(), ids=lambda one: one.id)
def test_no_shipped_terms_are_met_on_anything(one: Terms) -> None:
    """Each of their sources leaves something open, so that a perfect month is indeterminate."""
    perfect = {
        "provider": one.provider,
        "model": "gemini-x" if one.scope.models else "gpt-5",
        "service_tier": next(iter(one.scope.service_tier_served), None),
        "region": "us-east-1",
    }
    attempts = [attempt("s", n / 1000, **perfect) for n in range(500)]
    rows = verdicts(ledger(attempts=attempts), window=OVER)
    mine = [row for row in rows if row["terms"] == one.id]
    assert mine
    assert {row["verdict"] for row in mine} == {"indeterminate"}
    assert all(row["reason"] for row in mine)


def test_only_shipped_terms_with_traffic_are_answered_for() -> None:
    """Others would be noise; terms that somebody named are answered for in any case."""
    con = ledger(attempts=[attempt("s", provider="azure.ai.openai")])
    assert {row["terms"] for row in verdicts(con)} == {"azure-openai-2026-11"}
    (row,) = verdicts(con, [terms("availability: {objective: 0.5}")])
    assert row["reason"] == "no calls are in the scope of these terms"


def test_sampled_sessions_support_an_estimate_and_no_claim() -> None:
    """One kept session in ten with a failed call stands for ten."""
    sessions = [
        {"session_id": "a", "kept": True, "weight": 10.0},
        {"session_id": "b", "kept": True, "weight": 1.0},
    ]
    attempts = [failed("a", 1), *(attempt("b", 2 + n / 10) for n in range(9))]
    con = ledger(sessions=sessions, attempts=attempts, tasks=[task("a"), task("b")])
    (row,) = verdicts(con, [terms("availability: {objective: 0.999}")], OVER)
    assert (row["eligible"], row["counted"], row["basis"]) == (19, 10, "estimate")
    assert row["verdict"] == "indeterminate"
    assert row["reason"].startswith("only sampled sessions are there: an estimate")
    assert row["low"] < row["measured"] < row["high"]  # type: ignore[operator]


LADDER = """
availability: {objective: 0.999}
credits:
  tiers: [{below: 0.999, percent: 10}, {below: 0.99, percent: 25}, {below: 0.95, percent: 100}]
  cap_percent: 50
  min_usd: 5
"""


@pytest.mark.parametrize(
    ("measured", "fees", "expected"),
    [
        (0.999, 1000.0, (0.0, 0.0, "")),
        (0.9989, 1000.0, (10.0, 100.0, "")),
        (0.98, 1000.0, (25.0, 250.0, "")),
        (0.5, 1000.0, (50.0, 500.0, "")),  # the cap
        (0.9989, 40.0, (10.0, 0.0, "below the least credit of 5 USD")),
        (0.9989, None, (10.0, None, "no fees are given")),
        (None, 1000.0, (None, None, "there is no measured availability of a whole period")),
    ],
)
def test_the_ladder_of_credits(
    measured: float | None, fees: float | None, expected: tuple[float | None, float | None, str]
) -> None:
    """The highest step that is reached, at most the cap, at least the least amount."""
    assert credit(terms(LADDER), measured, fees) == expected


def test_credits_nobody_states_are_unknown() -> None:
    """Not stated is not 0; no credits at all are 0."""
    open_ = terms("availability: {objective: 0.9}\nunknown: [credits]")
    assert credit(open_, 0.5, 1000) == (None, None, "the source does not state credits")
    assert credit(terms("availability: {objective: 0.9}"), 0.5, 1000) == (0.0, 0.0, "")


SPEED = """
latency:
  - metric: output_tokens_per_second
    statistic: p50
    slice_seconds: 300
    threshold: 80
    attainment: 0.5
    excludes: {input_tokens_gt: 128000}
"""


def test_speed_is_judged_by_the_median_of_each_slice() -> None:
    """100 tokens in a second after the first one keep 80 a second, in two seconds they do not."""
    fast, slow = {"duration_s": 1.5, "ttft_s": 0.5}, {"duration_s": 2.5, "ttft_s": 0.5}
    attempts = [
        *(attempt("s", 300 * n + k, **fast) for n in range(40) for k in range(3)),
        *(attempt("s", 300 * n + 5 + k, **slow) for n in range(30) for k in range(2)),
        *(attempt("s", 300 * 50 + k, **slow) for k in range(2)),
        attempt("s", 300 * 60, duration_s=100, ttft_s=1.0, input_tokens=200_000),
    ]
    rows = judged(SPEED, attempts)
    assert [row["promise"] for row in rows] == ["availability", "p50 > 80 tokens/s"]
    assert (rows[1]["eligible"], rows[1]["counted"]) == (41, 1)
    assert (rows[1]["measured"], rows[1]["verdict"]) == (40 / 41, "met")


def test_a_speed_with_the_wait_in_it_is_a_lower_bound() -> None:
    """Without times to first token it can keep the term; that it does not is not shown."""
    rows = judged(SPEED, [attempt("s", 300 * n, duration_s=1.0) for n in range(40)])
    assert rows[1]["verdict"] == "met"
    assert rows[1]["reason"] == (
        "of 40 of 40 calls the speed includes the wait for the first token"
    )
    rows = judged(SPEED, [attempt("s", 300 * n, duration_s=9.0) for n in range(40)])
    assert rows[1]["verdict"] == "indeterminate"


@pytest.mark.parametrize(
    ("metric", "kept"), [("ttft_ms, threshold: 400", 1), ("inter_token_ms, threshold: 10", 2)]
)
def test_other_latencies_count_every_call(metric: str, kept: int) -> None:
    """First tokens after 300 and 500 ms, 99 further ones in 0.9 and 0.99 s."""
    text = f"latency: [{{metric: {metric}, statistic: each, attainment: 0.5}}]"
    attempts = [
        attempt("s", 1, duration_s=1.2, ttft_s=0.3),
        attempt("s", 2, duration_s=1.49, ttft_s=0.5),
    ]
    row = judged(text, attempts)[1]
    assert row["eligible"] - row["counted"] == kept


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000_000


def test_months_begin_where_the_terms_say() -> None:
    """A month of California is seven hours late in summer, and eight in winter."""
    found = list(
        periods(Period(timezone="America/Los_Angeles"), utc(2026, 3, 1, 7, 59), utc(2026, 3, 2))
    )
    assert [period.name for period in found] == ["2026-02", "2026-03"]
    assert found[1].start_ns == utc(2026, 3, 1, 8)
    assert found[1].end_ns == utc(2026, 4, 1, 7)


def test_billing_cycles_begin_on_their_day() -> None:
    """The cycle before is looked at where the time begins before that day, also over new year."""
    cycle = Period(kind="billing_cycle", anchor_day=15)
    found = list(periods(cycle, utc(2026, 1, 10), utc(2026, 1, 20)))
    assert [period.name for period in found] == ["2025-12-15", "2026-01-15"]
    assert [period.end_ns for period in found] == [utc(2026, 1, 15), utc(2026, 2, 15)]


def test_a_rolling_period_ends_with_the_time() -> None:
    """The last 30 days."""
    (found,) = periods(Period(kind="rolling"), utc(2026, 1, 1), utc(2026, 3, 1))
    assert (found.start_ns, found.end_ns) == (utc(2026, 1, 30), utc(2026, 3, 1))


def test_each_month_has_its_verdict() -> None:
    """A bad January does not hide in a good February."""
    window = Window(now_ns=utc(2026, 3, 1))
    attempts = calls(90, 10) + calls(0, 100, start_s=40 * 86_400)
    found = judged("availability: {objective: 0.9}", attempts, window)
    assert [(row["period"], row["verdict"]) for row in found] == [
        ("2026-01", "missed"),
        ("2026-02", "met"),
    ]


def test_evidence_names_every_failed_call_with_its_class() -> None:
    """UTC times, request ids and what the terms say; good calls are left out."""
    attempts = [
        attempt("s", 1),
        failed("s", 2, request_id="req-1"),
        failed("s", 3, "provider.rate_limited", 429, request_id="req-2"),
    ]
    text = "availability: {objective: 0.9, excluded: {over_quota: true}}"
    found = list(evidence(ledger(attempts=attempts), [terms(text)], OVER))
    assert [(row["utc_time"], row["class"], row["request_id"]) for row in found] == [
        ("2026-01-01T00:00:02.000000Z", "counted", "req-1"),
        ("2026-01-01T00:00:03.000000Z", "excluded", "req-2"),
    ]


def test_maintenance_that_nobody_named_is_a_doubt_about_a_miss() -> None:
    """Terms that leave announced maintenance out are missed unless there was some."""
    text = "availability: {objective: 0.9, excluded: {maintenance: true}}"
    (row,) = judged(text, calls(90, 10))
    assert (row["verdict"], row["reason"]) == (
        "missed",
        "unless maintenance was announced: none is named",
    )
    window = Window(now_ns=OVER.now_ns, maintenance=[(EPOCH_NS, EPOCH_NS + 90_000_000)])
    (row,) = judged(text, calls(90, 100), window)
    assert (row["excluded"], row["verdict"]) == (90, "met")


def test_a_condition_reads_no_terms_twice() -> None:
    """Scope and class are expressions of their own: an AND beside them changes neither."""
    one = terms("scope: {models: [a, b]}\navailability: {objective: 0.9}")
    con = ledger(attempts=[attempt("s", model="b", provider="anthropic")])
    (row,) = con.execute(
        f"SELECT count(*) FROM attempts WHERE {conditions.in_scope(one)} AND TRUE"
    ).fetchall()
    assert row == (0,)
