"""Which model calls count, and what they cost: each real call once."""

from __future__ import annotations

from typing import Any

import pytest
from models_build import AGENT, LLM, USED, ledger, row, rows
from otlp_build import span

USAGE = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
BILLED = ("billable", "cost_usd", "cost_missing_reason")
NOT_BILLED = (False, None, None)
PRICE = 0.0035


def test_an_agents_aggregate_is_not_billed() -> None:
    """Agent and workflow spans repeat the usage of their children."""
    root = span("invoke_workflow", USAGE | {"gen_ai.operation.name": "invoke_workflow"}, end=9)
    agent = span("invoke_agent", USED | AGENT, parent=root, start=1, end=8)
    con = ledger(root, agent, span("chat", USED, parent=agent, start=2, end=3))
    assert rows(con, "spans", *BILLED) == [NOT_BILLED, NOT_BILLED, (True, PRICE, None)]
    assert row(con, "sessions", "input_tokens", "cost_usd", "llm_calls") == (1000, PRICE, 1)


def test_the_outer_span_of_vercels_sdk_is_an_agent() -> None:
    """`ai.generateText` repeats what `ai.generateText.doGenerate` used."""
    keys = {"ai.model.id": "gpt-4o", "ai.model.provider": "openai.chat"}
    used = keys | {"ai.usage.inputTokens": 1000, "ai.usage.outputTokens": 100}
    outer = span("ai.generateText", used | {"ai.operationId": "ai.generateText"}, end=9)
    inner = span(
        "ai.generateText.doGenerate",
        used | {"ai.operationId": "ai.generateText.doGenerate"},
        parent=outer,
        start=1,
        end=2,
    )
    con = ledger(outer, inner)
    assert rows(con, "spans", "operation", "billable") == [("agent", False), ("llm", True)]
    assert row(con, "sessions", "cost_usd") == PRICE


def test_fetching_a_response_is_not_billed() -> None:
    """`fetch_response` fetches what was billed when it was made."""
    fetch = USED | {"gen_ai.operation.name": "fetch_response"}
    con = ledger(span("fetch_response", fetch))
    assert row(con, "spans", *BILLED) == NOT_BILLED
    assert row(con, "sessions", "llm_calls", "input_tokens", "cost_usd") == (0, None, None)


def test_a_call_without_usage_counts_but_has_no_price() -> None:
    """An unknown cost is null with a reason, and the session says how many calls it misses."""
    con = ledger(span("a", LLM), span("b", USED, start=1))
    assert rows(con, "spans", *BILLED) == [(True, None, "no_usage"), (True, PRICE, None)]
    found = row(con, "sessions", "llm_calls", "cost_usd", "unpriced_calls", "cost_missing_reason")
    assert found == (2, PRICE, 1, "no_usage")


def test_a_session_without_any_known_cost_has_none() -> None:
    """Nothing known is null, not 0, for cost and waste alike."""
    con = ledger(span("a", LLM | {"gen_ai.conversation.id": "c"}, status="error"))
    assert row(con, "sessions", "cost_usd", "wasted_cost_usd", "unpriced_calls") == (None, None, 1)


def test_one_response_counts_once_in_a_session() -> None:
    """Of spans with one response id the innermost with usage counts, wherever they are."""
    key = {"gen_ai.conversation.id": "c", "gen_ai.response.id": "r"}
    outer = span("litellm", USED | key, end=9)
    step = span("step", {"gen_ai.operation.name": "agent_step"}, parent=outer, start=1, end=8)
    con = ledger(
        outer,
        step,
        span("openai", USED | key, parent=step, start=2, end=6),
        span("httpx", LLM | key, parent=step, start=3, end=5),
        span("export", USED | key, trace=2, start=20, end=40),
    )
    assert rows(con, "spans", "name", "billable") == [
        ("litellm", False),
        ("step", False),
        ("openai", True),
        ("httpx", False),
        ("export", False),
    ]


def test_answers_with_one_id_that_tell_of_different_usage_are_different_calls() -> None:
    """An assistant's run gives its id to all of its answers, one after the other."""
    key = {"gen_ai.conversation.id": "c", "gen_ai.response.id": "run_1"}
    more = USED | key | {"gen_ai.usage.output_tokens": 7}
    con = ledger(
        span("first", USED | key, trace=1, start=0, end=1),
        span("second", more, trace=2, start=1, end=2),
        span("inside", more | {"gen_ai.usage.output_tokens": 6}, trace=3, start=1.5, end=1.7),
        span("untold", LLM | key, trace=4, start=5, end=6),
    )
    assert rows(con, "spans", "billable") == [True, False, True, False]


def test_response_ids_of_two_sessions_and_missing_ones_are_not_one_call() -> None:
    """Only within a session is a repeated response id the same call; an empty id is none."""
    same = {"gen_ai.response.id": "r"}
    empty = {"gen_ai.response.id": "", "gen_ai.conversation.id": "c"}
    con = ledger(
        *(span("a", USED | same, trace=trace, start=trace) for trace in (1, 2)),
        *(span("b", USED | empty, trace=trace, start=trace) for trace in (3, 4)),
    )
    assert rows(con, "spans", "billable") == [True] * 4


def test_a_model_call_around_model_calls_is_a_wrapper() -> None:
    """The outer span does not count; its attempts do, the failed one too."""
    outer = span("chat", USED, end=9)
    con = ledger(
        outer,
        span("chat", LLM, parent=outer, start=1, end=2, status="error"),
        span("chat", USED, parent=outer, start=3, end=4),
    )
    assert rows(con, "spans", "billable") == [False, True, True]


def test_a_wrapper_that_alone_knows_the_usage_is_the_call() -> None:
    """Where only the outer span tells the usage, the inner one is a detail of it."""
    outer = span("chat", USED, end=9)
    con = ledger(outer, span("chat", LLM, parent=outer, start=1, end=2))
    assert rows(con, "spans", "billable") == [True, False]


def test_a_model_call_inside_a_tool_of_a_model_call_is_another_call() -> None:
    """Only a direct child is taken for the same call."""
    outer = span("chat", USED, end=9)
    tool = span("tool", {"gen_ai.operation.name": "execute_tool"}, parent=outer, start=1, end=8)
    con = ledger(outer, tool, span("chat", USED, parent=tool, start=2, end=3))
    assert rows(con, "spans", "billable") == [True, False, True]


def test_embeddings_and_reranks_are_billed() -> None:
    """They use tokens as well."""
    con = ledger(
        *(
            span("x", {"gen_ai.operation.name": name, "gen_ai.usage.input_tokens": 5}, start=at)
            for at, name in enumerate(("embeddings", "rerank", "retrieval"))
        )
    )
    assert rows(con, "spans", "billable") == [True, True, False]


@pytest.mark.parametrize(
    ("attributes", "cost"),
    [
        ({"http.response.status_code": 429}, (0.0, "unbilled", None)),
        ({"http.response.status_code": 529}, (0.0, "unbilled", None)),
        ({"error.type": "rate_limit_error"}, (0.0, "unbilled", None)),
        ({"http.response.status_code": 500}, (None, None, "no_usage")),
        ({"error.type": "timeout_error"}, (None, None, "no_usage")),
    ],
)
def test_a_refused_call_costs_nothing_and_a_broken_one_is_unknown(
    attributes: dict[str, Any], cost: tuple[Any, ...]
) -> None:
    """Without usage, a refusal before the model ran is 0 USD; a failure that came later is null."""
    con = ledger(span("chat", LLM | attributes, status="error"))
    columns = ("cost_usd", "cost_source", "cost_missing_reason")
    assert row(con, "spans", *columns) == cost


@pytest.mark.parametrize("response_id", ["", " ", "null", "None"])
def test_an_id_that_says_nothing_joins_no_calls(response_id: str) -> None:
    """Calls with the same word for "no id" are different calls."""
    call = USED | {"gen_ai.response.id": response_id}
    con = ledger(*(span("chat", call, start=0, end=2 + at) for at in range(2)))
    assert row(con, "sessions", "llm_calls") == 2
