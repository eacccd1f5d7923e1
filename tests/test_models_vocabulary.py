"""One vocabulary for all dialects: operations, dialects, providers, names and stop classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from models_build import AGENT, LLM, USED, ledger, row, rows
from otlp_build import span

if TYPE_CHECKING:
    from collections.abc import Iterable


def each(cases: Iterable[tuple[str, dict[str, Any]]], *columns: str) -> list[Any]:
    """Return columns of spans of these names and attributes, each in a trace of its own."""
    spans = (
        span(name, keys, trace=at, start=at, end=at + 1) for at, (name, keys) in enumerate(cases, 1)
    )
    return rows(ledger(*spans), "spans", *columns)


OPERATIONS: list[tuple[dict[str, Any], str]] = [
    ({"gen_ai.operation.name": "chat"}, "llm"),
    ({"gen_ai.operation.name": "agent_step"}, "step"),
    ({"gen_ai.operation.name": "execute_event_loop_cycle"}, "step"),
    ({"gen_ai.operation.name": "execute_task"}, "step"),
    ({"gen_ai.operation.name": "user_prompt_processing"}, "step"),
    ({"gen_ai.operation.name": "fetch_response"}, "fetch_response"),
    ({"openinference.span.kind": "RERANKER"}, "rerank"),
    ({"openinference.span.kind": "UNKNOWN"}, "unknown"),
    ({"traceloop.span.kind": "task"}, "step"),
    ({"traceloop.span.kind": "unknown", "gen_ai.operation.name": "chat"}, "llm"),
    ({"gen_ai.operation.name": "invented", "traceloop.span.kind": "tool"}, "tool"),
    ({"gen_ai.operation.name": "invented"}, "unknown"),
    ({"gen_ai.request.model": "m", "gen_ai.response.id": "r"}, "llm"),
    ({"gen_ai.request.model": "m"}, "unknown"),
    ({"gen_ai.tool.name": "search"}, "tool"),
    ({"http.request.method": "GET"}, "other"),
    ({}, "other"),
]


def test_operations_come_from_the_source_then_from_evidence() -> None:
    """Kinds outside the enum are mapped, unknown words stay unknown, other spans are `other`."""
    found = each([("x", keys) for keys, _ in OPERATIONS], "operation")
    assert found == [operation for _, operation in OPERATIONS]


NAMES: list[tuple[str, dict[str, Any], str, str]] = [
    ("claude_code.llm_request", {}, "llm", "claude_code"),
    ("claude_code.tool.execution", {}, "step", "claude_code"),
    ("ai.streamText", {}, "agent", "vercel"),
    ("ai.streamText.doStream", {}, "llm", "vercel"),
    ("chat gpt-4o", {"gen_ai.request.model": "gpt-4o"}, "llm", "otel"),
    ("chat history", {"db.system": "redis"}, "other", "none"),
]


def test_the_span_name_is_a_resort_on_genai_spans() -> None:
    """The longest name prefix tells, but a plain word on a span without GenAI keys does not."""
    found = each([(name, keys) for name, keys, *_ in NAMES], "operation", "dialect")
    assert found == [case[2:] for case in NAMES]


DIALECTS: list[tuple[dict[str, Any], str]] = [
    ({"openinference.span.kind": "LLM", "gen_ai.provider.name": "openai"}, "openinference"),
    ({"gen_ai.provider.name": "openai"}, "otel"),
    ({"gen_ai.system": "openai"}, "otel_legacy"),
    ({"tracekit.environment": "prod"}, "tracekit"),
    ({"session.id": "s", "request.model": "x"}, "none"),
]


def test_dialect_by_fingerprint() -> None:
    """The most telling fingerprint attribute wins."""
    found = each([("x", keys) for keys, _ in DIALECTS], "dialect")
    assert found == [dialect for _, dialect in DIALECTS]


def test_dialect_by_scope() -> None:
    """A span without a fingerprint is recognised by its instrumentation scope."""
    con = ledger(span("x"), scope="opentelemetry.instrumentation.crewai")
    assert row(con, "spans", "dialect") == "openllmetry"


def test_providers_are_canonical() -> None:
    """Old provider names get their new ones, unknown ones only lower case."""
    raw = ("az.ai.openai", "xai", "Nobody.Knows")
    found = each([("x", {"gen_ai.system": word}) for word in raw], "provider")
    assert found == ["azure.ai.openai", "x_ai", "nobody.knows"]


def test_the_response_model_is_the_model() -> None:
    """What answered counts, else what was asked for."""
    both = USED | {"gen_ai.response.model": "gpt-4o-2024-11-20"}
    con = ledger(span("a", both), span("b", USED, start=1))
    assert rows(con, "spans", "model") == ["gpt-4o-2024-11-20", "gpt-4o"]


ENTITIES: list[tuple[str, dict[str, Any], str | None, str | None]] = [
    ("x", {"traceloop.span.kind": "tool", "traceloop.entity.name": "e"}, "e", None),
    ("x", {"traceloop.span.kind": "agent", "traceloop.entity.name": "e"}, None, "e"),
    ("execute_tool f", {"gen_ai.operation.name": "execute_tool"}, "f", None),
    ("f", {"gen_ai.operation.name": "execute_tool"}, None, None),
    ("f", {"langfuse.observation.type": "tool"}, "f", None),
    ("invoke_agent", {"gen_ai.operation.name": "invoke_agent"}, None, None),
    ("invoke_agent a", {"gen_ai.operation.name": "invoke_agent"}, None, "a"),
]


def test_names_of_tools_and_agents() -> None:
    """The entity's name is what the operation says; the span name counts where dialects put it."""
    found = each([(name, keys) for name, keys, *_ in ENTITIES], "tool_name", "agent_name")
    assert found == [case[2:] for case in ENTITIES]


def test_generic_input_and_output_are_a_tools_arguments_and_result() -> None:
    """A dialect without tool keys still gives fingerprints of its tool calls."""
    keys = {"openinference.span.kind": "TOOL", "input.value": "a", "output.value": "b"}
    con = ledger(
        span("t", keys),
        span("t", {"gen_ai.tool.call.arguments": "a", "gen_ai.tool.call.result": "b"}, start=1),
        span("c", keys | {"openinference.span.kind": "CHAIN"}, start=2),
    )
    first, second, chain = rows(con, "spans", "tool_args_hash", "tool_result_hash")
    assert first == second
    assert None not in first
    assert chain == (None, None)


STOPS: list[tuple[str, list[str], str | None]] = [
    ("openai", ["stop"], "clean"),
    ("anthropic", ["END_TURN"], "clean"),
    ("openai", ["stop", "length"], "truncated.output_limit"),
    ("openai", ["tool_calls", "stop"], "tool_call"),
    ("openai", ["never seen"], None),
    ("cohere", ["ERROR_LIMIT"], "truncated.context_window"),
    ("openai", ["ERROR_LIMIT"], None),
    ("openai", [], None),
]


def test_stop_classes() -> None:
    """Of several stop values the first counts, unless a later one is no clean end or tool call."""
    keys = [
        LLM | {"gen_ai.provider.name": provider, "gen_ai.response.finish_reasons": raw}
        for provider, raw, _ in STOPS
    ]
    assert each([("chat", case) for case in keys], "stop_class") == [case[2] for case in STOPS]


STOPPED = LLM | {"gen_ai.response.finish_reasons": ["stop"]}


def test_stop_values_of_rewriting_layers_are_marked() -> None:
    """The raw value stays, and the span says whether a dialect or gateway may have rewritten it."""
    extra: tuple[dict[str, Any], ...] = (
        {},
        {"litellm.call_id": "1"},
        {"tracekit.gateway": "LiteLLM"},
    )
    found = each([("chat", STOPPED | keys) for keys in extra], "stop_raw", "stop_normalised")
    assert found == [("stop", False), ("stop", True), ("stop", True)]


@pytest.mark.parametrize(("library", "normalised"), [("anthropic", True), ("openai", False)])
def test_stop_values_of_rewriting_scopes_are_marked(library: str, normalised: bool) -> None:
    """One instrumentation of a dialect rewrites, the others do not; no value, no statement."""
    scope = f"opentelemetry.instrumentation.genai.{library}"
    con = ledger(span("chat", STOPPED), span("chat", LLM, start=1), scope=scope)
    assert rows(con, "spans", "stop_normalised") == [normalised, None]


def test_approvals_and_side_effects_get_canonical_words() -> None:
    """A word of one dialect is what every dialect means."""
    con = ledger(span("claude_code.tool.blocked_on_user", {"decision": "accept"}), span("a", AGENT))
    assert rows(con, "spans", "approval_status")[0] == "approved"
    assert row(con, "sessions", "approvals") == 1


def test_coordination_is_read_as_it_was_written() -> None:
    """Approvals, fan-outs, plans and checkpoints have columns of their own."""
    written: dict[str, Any] = {
        "tracekit.approval.id": "a1",
        "tracekit.approval.by_hash": -5,
        "tracekit.approval.decided_ns": 7,
        "tracekit.fanout.state": "cancelled",
        "tracekit.fanout.size": 3,
        "tracekit.plan.version": 2,
        "tracekit.resume.of": "run-1",
        "tracekit.replayed": True,
        "tracekit.step.index": 4,
        "tracekit.compensates": "00000000000000ab",
        "tracekit.side_effect": "IRREVERSIBLE",
    }
    columns = "approval_id approval_by_hash approval_decided_ns fanout_state fanout_size "
    columns += "plan_version resume_of replayed step_index compensates side_effect"
    found = row(ledger(span("execute_tool", written)), "spans", *columns.split())
    assert found == (*[*written.values()][:-1], "irreversible")


@pytest.mark.parametrize(
    "attributes",
    [
        {"model": "Tesla", "stop_reason": "obstacle", "input_tokens": 3},
        {"tool_name": "hammer"},
        {"agent_id": "007", "success": True, "status_code": 200},
    ],
)
def test_anybodys_words_make_no_step(attributes: dict[str, Any]) -> None:
    """Bare keys, as Claude Code writes them, mean nothing on a span that shows no dialect."""
    con = ledger(span("drive", attributes))
    assert row(con, "spans", "operation", "billable") == ("other", False)


def test_names_of_apis_are_model_calls() -> None:
    """Some write the API's name for the operation."""
    con = ledger(span("x", USED | {"gen_ai.operation.name": "converse"}))
    assert row(con, "spans", "operation", "billable") == ("llm", True)
