"""Attempts of logical calls: declared, numbered and inferred; which failed, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from models_build import AGENT, LLM, TOOL, USED, ledger, row, rows
from otlp_build import span

if TYPE_CHECKING:
    import duckdb
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

ROOT = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "c"}, end=2000)


def call(at: float, attributes: dict[str, Any] = USED, *, lasting: float = 1, **more: Any) -> Span:
    """Return a model call under the root that starts after so many seconds."""
    return span("chat", attributes, **({"parent": ROOT} | more), start=at, end=at + lasting)


def failed(at: float, attributes: dict[str, Any] = LLM, **more: Any) -> Span:
    return call(at, attributes, status="error", **more)


def chains(con: duckdb.DuckDBPyConnection) -> list[tuple[int, int, bool]]:
    """Return for each attempt: place of its call's first one, its number, whether it is final."""
    found = rows(con, "attempts", "span_id", "call_id", "attempt", "is_final")
    place = {span_id: at for at, (span_id, *_) in enumerate(found)}
    return [(place[call_id], attempt, final) for _, call_id, attempt, final in found]


SINGLE = [(0, 1, True), (1, 1, True)]
RETRIED = [(0, 1, False), (0, 2, True)]


def test_calls_after_failures_are_attempts_of_one_call() -> None:
    """Failure, failure, success with nothing between them are three attempts; a fourth is not."""
    con = ledger(ROOT, failed(1), failed(3), call(5), call(7))
    assert chains(con) == [(0, 1, False), (0, 2, False), (0, 3, True), (3, 1, True)]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([failed(1), call(3)], RETRIED),
        ([call(1, LLM | {"http.response.status_code": 529}), call(3)], RETRIED),
        ([call(1, LLM | {"tracekit.stream.complete": False}), call(3)], RETRIED),
        ([call(1), call(3)], SINGLE),
        ([failed(1), span("t", TOOL, parent=ROOT, start=2, end=3), call(4)], SINGLE),
        ([failed(1), call(3, USED | {"gen_ai.request.model": "gpt-4o-mini"})], SINGLE),
        ([failed(1), call(3, USED | {"gen_ai.provider.name": "azure.ai.openai"})], SINGLE),
        ([failed(1), call(601)], RETRIED),
        ([failed(1), call(603)], SINGLE),
        ([failed(1, lasting=5), call(3)], SINGLE),
        ([failed(1), call(3, parent=b"another1")], SINGLE),
        ([failed(1), span("GET", {}, parent=ROOT, start=2, end=3), call(4)], RETRIED),
    ],
    ids=[
        "status",
        "http",
        "cut stream",
        "success before",
        "tool between",
        "other model",
        "other provider",
        "ten minutes",
        "later",
        "in parallel",
        "other parent",
        "plain span between",
    ],
)
def test_retries_are_inferred(spans: list[Span], expected: list[tuple[int, int, bool]]) -> None:
    """A retry follows a failure at once, under one parent, with the same model and provider."""
    assert chains(ledger(ROOT, *spans)) == expected


def test_a_declared_retry_needs_no_failure_and_no_neighbourhood() -> None:
    """`tracekit.retry.of` names the first attempt or the one before, across other steps."""
    first = call(1)
    second = call(5, USED | {"tracekit.retry.of": first.span_id.hex()}, parent=b"another1")
    third = call(9, USED | {"tracekit.retry.of": second.span_id.hex()})
    fourth = call(11, USED | {"tracekit.retry.of": first.span_id.hex()})
    con = ledger(ROOT, first, call(3), second, third, fourth)
    assert chains(con) == [
        (0, 1, False),
        (1, 1, True),
        (0, 2, False),
        (0, 3, False),
        (0, 4, True),
    ]


def test_a_retry_may_name_a_logical_call() -> None:
    """Calls that name the same unknown id are attempts of one call, within a session."""
    named = USED | {"tracekit.retry.of": "order-17"}
    con = ledger(ROOT, call(1, named), call(3), call(5, named), call(7, named, trace=9, parent=b""))
    assert chains(con) == [(0, 1, False), (1, 1, True), (0, 2, True), (3, 1, True)]


def test_retries_that_name_each_other_stay_apart() -> None:
    """A circle of declarations has no first attempt, and does not hang the models."""
    one = call(1, USED | {"tracekit.retry.of": "00000000000000bb"}, span_id=0xAA)
    two = call(3, USED | {"tracekit.retry.of": "00000000000000aa"}, span_id=0xBB)
    assert chains(ledger(ROOT, one, two)) == SINGLE


def test_attempt_numbers_join_calls() -> None:
    """Attempt 2 after attempt 1 is its retry; a number without its predecessors is kept."""
    numbered = [USED | {"tracekit.attempt": number} for number in (1, 2, 1, 5)]
    con = ledger(ROOT, *(call(2 * at + 1, keys) for at, keys in enumerate(numbered)))
    assert chains(con) == [(0, 1, False), (0, 2, True), (2, 1, True), (3, 5, True)]


def test_wrappers_and_duplicates_are_no_attempts() -> None:
    """There are as many attempts as billable calls."""
    outer = call(1, USED, lasting=5)
    con = ledger(ROOT, outer, span("chat", USED, parent=outer, start=2, end=3))
    assert len(rows(con, "attempts", "span_id")) == 1


FAILURES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"error.type": "openai.RateLimitError"}, "error", "provider.rate_limited"),
    ({"error.type": "429"}, "error", "provider.rate_limited"),
    ({"http.response.status_code": 529}, "unset", "provider.overloaded"),
    ({"http.response.status_code": 401}, "error", "provider.auth_or_billing"),
    ({"error.type": "CancelledError"}, "error", "cancelled.caller"),
    ({"error.type": "NobodyKnowsError"}, "error", "unknown.no_evidence"),
    ({"error.type": "RateLimitError"}, "unset", "provider.rate_limited"),
    ({"error.type": "RateLimitError"}, "ok", None),
    ({"tracekit.stream.complete": False}, "unset", "truncated.stream_cut"),
    ({"gen_ai.response.finish_reasons": ["error"]}, "unset", "provider.server_error"),
    ({"gen_ai.response.finish_reasons": ["length"]}, "unset", None),
    ({"gen_ai.response.finish_reasons": ["refusal"]}, "unset", None),
    ({"http.response.status_code": 200}, "unset", None),
]


def test_failure_classes() -> None:
    """A failed attempt has a stop code; an answer that was cut by its limit or refused is none."""
    con = ledger(
        *(
            span("chat", LLM | keys, start=at, trace=at + 1, status=status)
            for at, (keys, status, _) in enumerate(FAILURES)
        )
    )
    assert rows(con, "attempts", "failure_class") == [code for *_, code in FAILURES]
    expected = sum(code is not None for *_, code in FAILURES)
    assert sum(rows(con, "sessions", "llm_errors")) == expected


def test_an_error_caught_beside_an_answer_fails_nothing() -> None:
    """A call that answered after an error inside it is one attempt that succeeded."""
    answered = USED | {
        "gen_ai.response.finish_reasons": ["stop"],
        "error.type": "openai.RateLimitError",
    }
    con = ledger(span("chat", answered))
    assert row(con, "sessions", "llm_errors", "wasted_cost_usd") == (0, 0)
    assert row(con, "attempts", "failure_class") is None
