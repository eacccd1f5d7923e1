"""From calls to tasks: indicators, and what every failed task was lost to."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_build import EPOCH_NS, attempt, failed, ledger, task

from tracekit.errors import UsageError
from tracekit.sla import chains, reading, slis, waterfall
from tracekit.sla.causes import causes
from tracekit.sla.waterfall import attribute
from tracekit.stats.availability import chain, clustered
from tracekit.stats.intervals import clopper_pearson
from tracekit.stops import load_taxonomy

CONTRACT = reading.parse(
    "contract.yaml",
    """
schema: tracekit/sla/v1
id: contract
provider: openai
source: {url: contract, retrieved: 2026-11, confidence: contract}
availability: {objective: 0.999, excluded: {over_quota: true}}
""",
)


def loss(attempts: list[dict[str, Any]], **of_task: Any) -> tuple[str, str, str | None]:
    """Return cause, deciding code and what the terms say of one failed task."""
    con = ledger([task("s", outcome="failure", **of_task)], attempts=attempts)
    attribute(con, terms=[CONTRACT])
    (row,) = con.execute("SELECT cause, code, contract FROM sla_loss").fetchall()
    return row


LAST: dict[str, Any] = {"is_final": True, "call_id": "c", "attempt": 2}
FIRST: dict[str, Any] = {"is_final": False, "call_id": "c", "attempt": 1}


@pytest.mark.parametrize(
    ("attempts", "stop", "expected"),
    [
        # The provider failed, and the contract counts it.
        ([failed("s")], "provider.server_error", ("provider_counted", "counted")),
        # A 504 is an answer of the provider; a timeout without an answer is ours.
        ([failed("s", 0, "provider.timeout", 504)], "-", ("provider_counted", "counted")),
        ([failed("s", 0, "provider.timeout", None)], "-", ("timeout", "uncounted")),
        # No HTTP status: the contract does not speak of it.
        ([failed("s", 0, "provider.server_error", None)], "-", ("provider_excluded", "uncounted")),
        ([failed("s", 0, "provider.rate_limited", 429)], "-", ("rate_limit", "excluded")),
        ([failed("s", provider="anthropic")], "-", ("provider_excluded", "no_terms")),
        ([failed("s", 0, "provider.rejected_request", 400)], "-", ("orchestration", "uncounted")),
        ([failed("s", 0, "unknown.no_evidence", None)], "-", ("unknown", "uncounted")),
        # The last attempt decides, and the others are of the same call.
        (
            [failed("s", 0, **FIRST), failed("s", 2, "provider.rate_limited", 429, **LAST)],
            "-",
            ("rate_limit", "excluded"),
        ),
        # So does the last attempt at the fallback that was to make it good.
        (
            [failed("s", 0), failed("s", 2, "provider.timeout", None, provider="anthropic")],
            "-",
            ("timeout", "no_terms"),
        ),
        # What a later call made good is no loss: what the stop says is.
        ([failed("s"), attempt("s", 2)], "completed.unverified", ("semantic", None)),
        # A later call of another agent makes nothing good.
        ([failed("s"), attempt("s", 2, agent_name="b")], "-", ("provider_counted", "counted")),
        # A sibling that runs beside does not either, nor does it decide.
        (
            [failed("s", 0, duration_s=3.0), failed("s", 1, "provider.rate_limited", 429)],
            "-",
            ("provider_counted", "counted"),
        ),
        # A call the task can do without is none that ended it.
        ([failed("s", essential=False)], "tool.timeout", ("tool", None)),
        # Neither is one that this side cancelled.
        ([failed("s", 0, "cancelled.caller", None)], "limit.time", ("orchestration", None)),
        ([failed("s", waste_reason="cancelled_sibling")], "limit.time", ("orchestration", None)),
        # Without a failed call the stop code decides.
        ([attempt("s")], "limit.steps", ("orchestration", None)),
        ([attempt("s")], "policy.permission_denied", ("human", None)),
        ([attempt("s")], "policy.model_refusal", ("provider_excluded", None)),
        ([attempt("s")], "loop.unaware_done", ("semantic", None)),
        ([], "runtime.crash", ("orchestration", None)),
        ([], None, ("unknown", None)),
    ],
)
def test_a_failed_task_has_one_cause(
    attempts: list[dict[str, Any]], stop: str | None, expected: tuple[str, str | None]
) -> None:
    """The first call it needed that failed for good, else what its stop says."""
    cause, _, contract = loss(attempts, stop_reason=stop)
    assert (cause, contract) == expected


def test_the_first_lost_call_decides() -> None:
    """Of two agents that both lost a call, the one that lost first."""
    attempts = [
        failed("s", 5, "provider.rate_limited", 429, agent_name="a"),
        failed("s", 1, agent_name="b"),
    ]
    assert loss(attempts)[:2] == ("provider_counted", "provider.server_error")


def test_every_code_of_the_taxonomy_has_a_cause() -> None:
    """None of them falls to unknown because nobody thought of it."""
    known = {*causes().causes, "provider"} - {"provider_counted", "provider_excluded"}
    assert {causes().of(code) for code in load_taxonomy().codes} == known
    assert (
        set(causes().codes)
        - {part for code in load_taxonomy().codes for part in (code, code.partition(".")[0])}
        == set()
    )


CODES = st.sampled_from(
    [
        ("provider.server_error", 500),
        ("provider.rate_limited", 429),
        ("provider.timeout", None),
        ("cancelled.caller", None),
        ("unknown.no_evidence", None),
        (None, 200),
    ]
)
CALLS = st.lists(
    st.tuples(CODES, st.integers(0, 20), st.booleans(), st.sampled_from("ab")), max_size=6
)
TASKS = st.lists(
    st.tuples(
        CALLS,
        st.sampled_from(["success", "failure", "undetermined"]),
        st.sampled_from([*load_taxonomy().codes, None]),
        st.sampled_from(["gpt-4.1", "o3", None]),
        st.none() | st.floats(0, 9),
    ),
    max_size=12,
)


def built(tasks: list[Any]) -> Any:
    rows, attempts = [], []
    for number, (calls, outcome, stop, model, cost) in enumerate(tasks):
        name = f"s{number}"
        rows.append(
            task(name, outcome=outcome, stop_reason=stop, model=model, cost_usd=cost)
            | {"input_tokens": 100 * number, "output_tokens": None}
        )
        for place, ((code, status), start, is_final, agent) in enumerate(calls):
            made = attempt if code is None else failed
            what = {} if code is None else {"failure_class": code, "http_status": status}
            attempts.append(
                made(name, start, is_final=is_final, agent_name=agent, span_id=f"{name}-{place}")
                | what
            )
    return ledger(rows, attempts=attempts)


@given(TASKS)
@settings(max_examples=25, deadline=None)
def test_the_causes_add_up_to_the_loss(tasks: list[Any]) -> None:
    """Whatever the ledger holds, each failed task is in exactly one cause, overall and by group."""
    con = built(tasks)
    outcomes = Counter(outcome for _, outcome, *_ in tasks)
    decided = outcomes["success"] + outcomes["failure"]
    for by in ((), ("model",)):
        rows = waterfall(con, by=by, terms=[CONTRACT])
        assert sum(row["tasks"] for row in rows) == outcomes["failure"]
        groups = Counter(row.get("model") for row in rows)
        assert set(groups.values()) <= {len(causes().causes)}
        last = [row for row in rows if row["cause"] == causes().causes[-1]]
        assert sum(row["decided"] for row in last) == decided
        for row in last:
            left = sum(r["tasks"] for r in rows if r.get("model") == row.get("model"))
            if row["decided"]:
                assert row["remaining"] == pytest.approx(1 - left / row["decided"])
        for row in rows:
            assert sum(row["codes"].values()) == row["tasks"]
            assert sum(row["contract"].values()) <= row["tasks"]
    lost = sum(100 * n for n, (_, outcome, *_) in enumerate(tasks) if outcome == "failure")
    assert sum(row["tokens"] for row in waterfall(con)) == lost
    rates = {row["sli"]: row for row in slis(con)}
    assert (rates["task"]["total"], rates["task"]["bad"]) == (decided, outcomes["failure"])
    assert rates["task"]["undetermined"] == outcomes["undetermined"]


@given(TASKS)
@settings(max_examples=15, deadline=None)
def test_a_call_is_never_worse_than_its_attempts(tasks: list[Any]) -> None:
    """Calls are no more than attempts, and fewer of them fail."""
    attempt_, call, _ = slis(built(tasks))
    assert call["total"] <= attempt_["total"]
    assert call["bad"] <= attempt_["bad"]
    assert 0 <= call["bad"] <= call["total"]


def test_three_indicators_of_one_week() -> None:
    """Attempts with refusals, calls after retries and fallbacks, tasks by their outcome."""
    attempts = [
        attempt("good"),
        # An attempt that failed, and its retry.
        failed("saved", 0, **FIRST),
        attempt("saved", 2, **LAST),
        # A call that failed for good, and the fallback that made it good.
        failed("fallen", 0),
        attempt("fallen", 2, provider="anthropic"),
        # One that failed for good, fallback and all.
        failed("lost", 0),
        failed("lost", 2, provider="anthropic"),
        attempt("refused", stop_class="policy.model_refusal"),
        failed("aborted", 0, "cancelled.user", None),
    ]
    names = ("good", "saved", "fallen", "lost", "refused", "aborted")
    outcomes = ("success", "success", "success", "failure", "failure", "undetermined")
    tasks = [task(name, outcome=what) for name, what in zip(names, outcomes, strict=True)]
    found = {row["sli"]: row for row in slis(ledger(tasks, attempts=attempts))}
    assert [(row["total"], row["bad"]) for row in found.values()] == [(8, 5), (5, 1), (5, 2)]
    assert found["call"]["recovered"] == 1
    assert found["task"]["undetermined"] == 1
    interval = clopper_pearson(3, 5)
    assert (found["task"]["low"], found["task"]["high"]) == (interval.low, interval.high)


def test_questions_are_about_a_time_and_some_tasks() -> None:
    """Calls count by their own start, tasks by theirs; a condition is one over tasks."""
    tasks = [
        task("a", outcome="failure", environment="production"),
        task("b", outcome="success", environment="test"),
        task("c", outcome="failure", environment="production", start_s=100),
    ]
    attempts = [failed("a"), attempt("b"), failed("c", 100)]
    con = ledger(tasks, attempts=attempts)
    first = slis(con, EPOCH_NS, EPOCH_NS + 50_000_000_000)
    assert [(row["total"], row["bad"]) for row in first] == [(2, 1), (2, 1), (2, 1)]
    some = slis(con, where="environment = 'production'")
    assert [(row["total"], row["bad"]) for row in some] == [(2, 2), (2, 2), (2, 2)]
    rows = waterfall(con, EPOCH_NS, EPOCH_NS + 50_000_000_000, where="environment = 'test'")
    assert {row["tasks"] for row in rows} == {0}
    with pytest.raises(UsageError, match="no column 'enviroment'"):
        slis(con, where="enviroment = 'test'")
    with pytest.raises(UsageError, match="no column 'modle'"):
        waterfall(con, by=["modle"])


def test_nothing_is_said_of_an_empty_ledger() -> None:
    """No tasks: no rate, and no division by zero."""
    con = ledger()
    assert {row["value"] for row in slis(con)} == {None}
    assert {row["share"] for row in waterfall(con)} == {None}
    assert chains(con) == []


def test_sampled_sessions_count_for_those_they_stand_for() -> None:
    """Where nothing but a sample is there, and the rows say that it is an estimate."""
    sessions = [
        {"session_id": "a", "kept": True, "weight": 1.0},
        {"session_id": "b", "kept": True, "weight": 9.0},
    ]
    tasks = [
        task("a", outcome="failure", stop_reason="limit.steps"),
        task("b", outcome="success"),
    ]
    con = ledger(tasks, sessions=sessions, attempts=[failed("a"), attempt("b")])
    found = slis(con)
    assert [row["value"] for row in found] == [0.9, 0.9, 0.9]
    assert {row["basis"] for row in found} == {"estimate"}
    rows = [row for row in waterfall(con, terms=[CONTRACT]) if row["tasks"]]
    assert [(row["cause"], row["tasks"], row["share"]) for row in rows] == [
        ("provider_counted", 1, pytest.approx(0.1))
    ]


def test_a_chain_of_calls_beside_what_was_measured() -> None:
    """Two tasks of four calls and one of one, one call in nine failing, and retried in vain."""
    attempts = [
        *(attempt("a", n) for n in range(4)),
        *(attempt("b", n) for n in range(3)),
        failed("b", 3, **FIRST),
        failed("b", 5, **LAST),
        attempt("c"),
    ]
    tasks = [task("a", outcome="success"), task("b", outcome="failure"), task("c")]
    (row,) = chains(ledger(tasks, attempts=attempts), target=0.9)
    share = 1 - 2 / 10
    expected = (2 * chain([(share, 4)]) + chain([(share, 1)])) / 3
    assert (row["calls_p50"], row["calls_p95"], row["tasks"]) == (4, 4, 3)
    assert row["attempts_per_call"] == 10 / 9
    assert row["independent"] == pytest.approx(expected)
    assert row["clustered"] == pytest.approx(clustered(0.2, 0, 10, 5))
    assert row["measured"] == 0.5
    # The one second attempt failed: P(again) = 1, which rho = 1 explains.
    assert (row["rho"], row["second_attempts"]) == (pytest.approx(1), 1)
    assert row["needed"] == pytest.approx(0.9**0.25)


def test_an_outage_is_a_run_of_failing_slices() -> None:
    """Two slices in a row are one; another one later is a second; a single failure is none."""
    attempts = [
        failed("s", 300 * slice_ + n, span_id=f"{slice_}-{n}")
        for slice_ in (0, 1, 7)
        for n in range(5)
    ]
    attempts.append(failed("s", 300 * 20))
    (row,) = chains(ledger([task("s", outcome="failure")], attempts=attempts))
    assert row["outages"] == 2
