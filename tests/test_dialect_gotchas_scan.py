"""Traps of the dialects in the wild that are decided when attributes become columns."""

from __future__ import annotations

from typing import Any

import pytest
from otlp_build import request, span

from tracekit.dialects.registry import ANY, load
from tracekit.otlp.fingerprint import fingerprint
from tracekit.otlp.reference import scan_reference


def scanned(attributes: dict[str, Any], events: Any = ()) -> dict[str, Any]:
    """Return the columns of a span with these attributes."""
    (row,) = scan_reference(request([span(attributes=attributes, events=events)])).to_pylist()
    return dict(row)


def pick(row: dict[str, Any], *columns: str) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.response.finish_reasons": ["stop"]}, "stop"),
        ({"gen_ai.response.finish_reasons": ["stop", "length"]}, "stop,length"),
        ({"gen_ai.response.finish_reasons": "stop"}, "stop"),
        ({"gen_ai.response.finish_reasons": '["tool_use"]'}, "tool_use"),
        ({"gen_ai.response.finish_reasons": "['STOP']"}, "STOP"),
        ({"gen_ai.response.finish_reason": "max_tokens"}, "max_tokens"),
        ({"gen_ai.response.stop_reason": "end_turn"}, "end_turn"),
        ({"gen_ai.completion.0.finish_reason": "tool_calls"}, "tool_calls"),
        ({"gen_ai.completion.2.finish_reason": "length"}, "length"),
        ({"llm.finish_reason": "stop"}, "stop"),
        ({"llm.response.stop_reason": "end_turn"}, "end_turn"),
        ({"ai.response.finishReason": "tool-calls"}, "tool-calls"),
        ({"ai.finishReason": "stop"}, "stop"),
        ({"stop_reason": "refusal"}, "refusal"),
    ],
)
def test_stop_value_is_read_in_every_shape(attributes: dict[str, Any], expected: str) -> None:
    """Arrays, single strings, indexed keys and arrays written as text give the same column."""
    assert scanned(attributes)["stop_raw"] == expected


def test_stop_value_of_strands_is_in_an_event() -> None:
    """Strands writes the stop value only on the event gen_ai.choice."""
    events = [("gen_ai.choice", {"finish_reason": "end_turn", "message": "hi"})]
    assert scanned({"event_loop.cycle_id": "1"}, events)["stop_raw"] == "end_turn"


def test_stop_value_is_kept_as_written() -> None:
    """No case is folded and nothing is translated: that is the classifier's work."""
    assert scanned({"gen_ai.response.finish_reasons": ["MAX_TOKENS"]})["stop_raw"] == "MAX_TOKENS"


def test_mlflow_values_come_as_json_text() -> None:
    """MLflow quotes even plain strings, and packs usage and cost in objects."""
    row = scanned(
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.llm.model": '"gpt-4o"',
            "mlflow.trace.session": '"s-1"',
            "mlflow.chat.tokenUsage": '{"input_tokens": 10, "output_tokens": 2, "total_tokens": 12,'
            ' "cache_read_input_tokens": 4, "cache_creation_input_tokens_above_1hr": 1}',
            "mlflow.llm.cost": '{"input_cost": 0.1, "output_cost": 0.2, "total_cost": 0.3}',
        }
    )
    assert pick(row, "operation_kind_raw", "request_model", "session_key") == (
        "CHAT_MODEL",
        "gpt-4o",
        "s-1",
    )
    assert pick(row, "usage_input", "usage_output", "usage_total") == (10, 2, 12)
    assert pick(row, "usage_cache_read", "usage_cache_write_1h", "cost_reported") == (4, 1, 0.3)
    assert load().values["operation"]["mlflow"]["chat_model"] == "llm"


def test_langfuse_usage_and_cost_are_json_objects() -> None:
    """Langfuse packs usage and cost; its cost is the total, its usage keys are free."""
    row = scanned(
        {
            "langfuse.observation.usage_details": '{"input": 62, "output": 85, "total": 147,'
            ' "cache_read_input_tokens": 40}',
            "langfuse.observation.cost_details": '{"input": 7.7e-05, "total": 0.00092}',
        }
    )
    assert pick(row, "usage_input", "usage_output", "usage_total") == (62, 85, 147)
    assert pick(row, "usage_cache_read", "cost_reported") == (40, 0.00092)


def test_langsmith_token_details_are_python_literals() -> None:
    """LangSmith writes str(dict), which is no JSON; one over the cap is ignored, not parsed."""
    details = "{'cache_read': 30, 'cache_creation': 5}"
    keys = ("usage_cache_read", "usage_cache_write", "usage_reasoning")
    packed = {
        "gen_ai.usage.input_token_details": details,
        "gen_ai.usage.output_token_details": "{'reasoning': 7}",
    }
    assert pick(scanned(packed), *keys) == (30, 5, 7)
    long = details[:-1] + ", 'other': '" + "x" * 4096 + "'}"
    assert scanned({"gen_ai.usage.input_token_details": long})["usage_cache_read"] is None


def test_langsmith_session_of_the_trace_is_a_project() -> None:
    """langsmith.trace.session_* name the project; the conversation is in the metadata."""
    project = {"langsmith.trace.session_name": "default", "langsmith.trace.session_id": "p"}
    assert scanned(project)["session_key"] is None
    assert scanned(project | {"langsmith.metadata.thread_id": "t"})["session_key"] == "t"


def test_vercel_provider_metadata_tells_the_service_tier() -> None:
    """The tier that served a call is only in the provider's metadata, one level down."""
    metadata = '{"openai":{"responseId":"resp_1","serviceTier":"flex","cachedPromptTokens":8}}'
    row = scanned({"ai.response.providerMetadata": metadata})
    assert pick(row, "service_tier", "usage_cache_read") == ("flex", 8)


def test_tool_parameters_are_a_schema_and_no_arguments() -> None:
    """OpenInference's tool.parameters is a JSON schema in some places: no fingerprint of it."""
    row = scanned({"tool.name": "search", "tool.parameters": '{"type": "object"}'})
    assert pick(row, "tool_name", "tool_args_hash", "input_hash") == ("search", None, None)


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("gen_ai.tool.call.arguments", "tool_args_hash"),
        ("ai.toolCall.args", "tool_args_hash"),
        ("gcp.vertex.agent.tool_call_args", "tool_args_hash"),
        ("full_command", "tool_args_hash"),
        ("gen_ai.tool.call.result", "tool_result_hash"),
        ("tool_response", "tool_result_hash"),
        ("input.value", "input_hash"),
        ("traceloop.entity.input", "input_hash"),
        ("langfuse.observation.input", "input_hash"),
        ("mlflow.spanInputs", "input_hash"),
        ("gen_ai.prompt", "input_hash"),
        ("output.value", "output_hash"),
        ("traceloop.entity.output", "output_hash"),
        ("langfuse.observation.output", "output_hash"),
        ("mlflow.spanOutputs", "output_hash"),
        ("gen_ai.completion", "output_hash"),
    ],
)
def test_tool_keys_and_generic_content_are_told_apart(key: str, column: str) -> None:
    """A tool's own keys fill the tool's fingerprints; generic input and output keep theirs."""
    row = scanned({key: '{"q":1}'})
    hashes = {name: value for name, value in row.items() if name.endswith("_hash") and value}
    assert hashes == {column: fingerprint(b'{"q":1}')}


@pytest.mark.parametrize(
    ("word", "operation"),
    [
        ("agent_step", "step"),
        ("execute_event_loop_cycle", "step"),
        ("execute_task", "step"),
        ("user_prompt_processing", "step"),
    ],
)
def test_kinds_outside_the_enum_are_known(word: str, operation: str) -> None:
    """Operations that frameworks made up are steps, never model calls."""
    assert load().values["operation"][ANY][word] == operation


def test_fetched_response_is_no_model_call() -> None:
    """fetch_response infers nothing, so it has an operation of its own that nobody bills."""
    assert load().values["operation"]["otel"]["fetch_response"] == "fetch_response"


def test_compaction_flag_is_true_or_absent() -> None:
    """A conversation that was not compacted says nothing."""
    assert scanned({"gen_ai.conversation.compacted": True})["compacted"] is True
    assert scanned({})["compacted"] is None


def test_dual_emission_takes_the_conventions_first() -> None:
    """OpenInference and LiteLLM write the same call twice; gen_ai.* wins, the mark does not."""
    row = scanned(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 11,
            "llm.provider": "azure",
            "gen_ai.request.model": "gpt-4o-2026",
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.provider.name": "azure.ai.openai",
            "llm.token_count.completion": 3,
        }
    )
    assert row["dialect_mark"] == "openinference"
    assert pick(row, "request_model", "usage_input", "provider_raw") == (
        "gpt-4o-2026",
        12,
        "azure.ai.openai",
    )
    assert row["usage_output"] == 3


def test_new_and_old_names_of_the_conventions() -> None:
    """cache_write was cache_creation, provider.name was system: the new name wins."""
    old = {"gen_ai.usage.cache_creation.input_tokens": 5, "gen_ai.system": "az.ai.openai"}
    new = {"gen_ai.usage.cache_write.input_tokens": 6, "gen_ai.provider.name": "azure.ai.openai"}
    assert pick(scanned(old), "usage_cache_write", "provider_raw") == (5, "az.ai.openai")
    assert pick(scanned(old | new), "usage_cache_write", "provider_raw") == (6, "azure.ai.openai")
    assert load().values["provider"][ANY]["az.ai.openai"] == "azure.ai.openai"


@pytest.mark.parametrize(
    "key",
    [
        "tracekit.cost.reported_usd",
        "gen_ai.usage.cost.amount",
        "operation.cost",
        "litellm.cost.total",
        "gen_ai.cost.total_cost",
        "llm.cost.total",
        "gen_ai.usage.cost",
        "gen_ai.cost.total_tokens",
        "ai.total_cost",
    ],
)
def test_reported_cost_has_many_names(key: str) -> None:
    """Every key that tools use for the cost of a call in USD is read, as number or text."""
    assert scanned({key: 0.0125})["cost_reported"] == 0.0125
    assert scanned({key: "0.0125"})["cost_reported"] == 0.0125


def test_ticks_and_milliseconds_are_converted() -> None:
    """XAI counts cost in ticks of 1e-10 USD; Vercel and Claude Code time in milliseconds."""
    cost = scanned({"gen_ai.usage.cost_in_usd_ticks": 37_756_000})["cost_reported"]
    assert cost == pytest.approx(0.0037756)
    assert scanned({"ai.response.msToFirstChunk": 1500.0})["ttft_s"] == 1.5
    assert scanned({"ttft_ms": 250})["ttft_s"] == 0.25


def test_claude_code_writes_bare_words() -> None:
    """Claude Code's keys are read, and give way to any dialect's own key."""
    attributes: dict[str, Any] = {
        "span.type": "llm_request",
        "model": "claude-opus-4-6",
        "input_tokens": 2,
        "cache_read_tokens": 84_562,
        "stop_reason": "tool_use",
        "attempt": 2,
        "success": True,
        "status_code": 200,
    }
    row = scanned(attributes)
    assert pick(row, "operation_kind_raw", "request_model", "stop_raw") == (
        "llm_request",
        "claude-opus-4-6",
        "tool_use",
    )
    assert pick(row, "usage_input", "usage_cache_read", "attempt") == (2, 84_562, 2)
    assert pick(row, "tool_status", "http_status") == ("true", 200)
    better = scanned(attributes | {"gen_ai.request.model": "other"})
    assert better["request_model"] == "other"


def test_error_flag_of_opentracing_is_no_error_type() -> None:
    """`error=false` stands on healthy spans of bridged tracers and must not look like an error."""
    assert scanned({"error": False})["error_type"] is None


def test_aggregated_usage_of_an_agent_is_read_apart() -> None:
    """pydantic-ai's agent span sums its run under keys of its own, which any call's keys beat."""
    total = {"gen_ai.aggregated_usage.input_tokens": 900}
    assert scanned(total)["usage_input"] == 900
    assert scanned(total | {"gen_ai.usage.input_tokens": 90})["usage_input"] == 90


def test_reasoning_details_of_pydantic_ai() -> None:
    """Its details have a key per provider; Gemini's thoughts are reasoning."""
    assert scanned({"gen_ai.usage.details.thoughts_tokens": 121})["usage_reasoning"] == 121
