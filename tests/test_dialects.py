"""The dialect files: read, checked, ranked, and each recognised from what it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from otlp_build import request, span

from tracekit.dialects.registry import ANY, DialectError, load, load_folder
from tracekit.otlp.reference import scan_reference
from tracekit.schema import attribute_columns

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS = {
    "llm",
    "embeddings",
    "rerank",
    "retrieval",
    "tool",
    "agent",
    "workflow",
    "task",
    "step",
    "handoff",
    "approval",
    "guardrail",
    "evaluation",
    "memory",
    "plan",
    "create_agent",
    "fetch_response",
    "session",
    "event",
    "other",
    "unknown",
}
"""What the column `operation` may hold."""

MINIMAL: dict[str, dict[str, Any]] = {
    "tracekit": {"tracekit.task.id": "t", "gen_ai.operation.name": "invoke_agent"},
    "otel": {"gen_ai.provider.name": "openai", "gen_ai.system": "openai"},
    "otel_legacy": {"gen_ai.system": "openai", "gen_ai.operation.name": "chat"},
    "openllmetry": {"traceloop.span.kind": "agent", "gen_ai.system": "crewai"},
    "openinference": {"openinference.span.kind": "LLM", "gen_ai.provider.name": "openai"},
    "langfuse": {"langfuse.observation.type": "generation"},
    "mlflow": {"mlflow.spanType": '"LLM"'},
    "langsmith": {"langsmith.span.kind": "llm", "gen_ai.system": "anthropic"},
    "logfire": {"logfire.msg": "chat gpt-4o", "gen_ai.system": "openai"},
    "vercel": {"ai.operationId": "ai.generateText", "gen_ai.system": "openai.chat"},
    "vercel_v7": {"ai.settings.context.userId": "u", "gen_ai.provider.name": "openai"},
    "claude_code": {"llm_request.context": "interaction", "gen_ai.system": "anthropic"},
    "anthropic_sdk": {"anthropic.workspace.id": "w", "gen_ai.provider.name": "anthropic"},
    "litellm": {"litellm.call_id": "c", "gen_ai.system": "openai"},
    "strands": {"event_loop.cycle_id": "1", "gen_ai.system": "strands-agents"},
    "google_adk": {"gcp.vertex.agent.event_id": "e", "gen_ai.system": "gcp.vertex.agent"},
    "microsoft_agent_framework": {"executor.id": "writer"},
    "xai": {"gen_ai.usage.cached_prompt_text_tokens": 3, "gen_ai.provider.name": "x_ai"},
    "openlit": {"gen_ai.usage.cost": 0.1, "gen_ai.system": "openai"},
    "sentry": {"sentry.op": "gen_ai.chat", "gen_ai.system": "openai"},
    "signals": {"signals.quality": "Good"},
}
"""What a span of each dialect has at least; most write gen_ai.* keys beside their own."""

SCOPES = {
    "claude_code": "com.anthropic.claude_code.tracing",
    "logfire": "pydantic-ai",
    "openinference": "openinference.instrumentation.openai_agents",
    "openllmetry": "opentelemetry.instrumentation.openai.v1",
    "otel": "opentelemetry.util.genai.handler",
    "otel_legacy": "ai.koog",
    "anthropic_sdk": "com.anthropic.sdk.python",
    "microsoft_agent_framework": "Experimental.Microsoft.Extensions.AI",
}

FILE = """
name: mine
title: Mine
seen: ["1"]
order: 1
detect: 1
aliases:
  tool_name: [my.tool]
"""


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        path.joinpath(f"{name}.yaml").write_text(text, encoding="utf-8")
    return path


def test_every_dialect_has_a_minimal_span() -> None:
    """Only the general conventions tell nothing about the instrumentation."""
    assert {dialect.name for dialect in load().dialects} - set(MINIMAL) == {"semconv"}


@pytest.mark.parametrize("dialect", MINIMAL)
def test_minimal_span_of_a_dialect_is_recognised(dialect: str) -> None:
    """Every dialect is told by a key of its own, whatever gen_ai.* keys stand beside it."""
    table = scan_reference(request([span(attributes=MINIMAL[dialect])]))
    assert table.column("dialect_mark").to_pylist() == [dialect]


def test_span_without_any_known_key_has_no_mark() -> None:
    """A plain HTTP span belongs to no dialect; any gen_ai key makes it OpenTelemetry's."""
    plain, tool = {"http.response.status_code": 200}, {"gen_ai.tool.name": "grep"}
    table = scan_reference(request([span(attributes=plain), span(attributes=tool)]))
    assert table.column("dialect_mark").to_pylist() == [None, "otel"]


@pytest.mark.parametrize(("dialect", "scope"), SCOPES.items())
def test_scope_gives_its_dialect_away(dialect: str, scope: str) -> None:
    """The longest prefix of a scope name leads to the dialect."""
    assert [row.dialect for row in load().scope_rows() if scope.startswith(row.prefix)][:1] == [
        dialect
    ]


@pytest.mark.parametrize(
    ("name", "dialect", "operation"),
    [
        ("claude_code.llm_request", "claude_code", "llm"),
        ("claude_code.tool.blocked_on_user", "claude_code", "approval"),
        ("ai.streamText", "vercel", "agent"),
        ("ai.streamText.doStream", "vercel", "llm"),
        ("execute_tool get_weather", "otel", "tool"),
        ("agent_run [hello_agent]", "google_adk", "agent"),
        ("running tools", "logfire", "step"),
    ],
)
def test_span_name_tells_dialect_and_operation(name: str, dialect: str, operation: str) -> None:
    """The longest prefix of a span name counts: an outer Vercel call is no model call."""
    first = next(row for row in load().name_prefix_rows() if name.startswith(row.prefix))
    assert (first.dialect, first.operation) == (dialect, operation)


def test_every_attribute_column_has_a_source() -> None:
    """No column of the span table waits for an attribute that no dialect writes."""
    fed = {alias.column for alias in load().aliases}
    fed |= {column for packed in load().unpacks for column in packed.fields.values()}
    assert fed == {column.name for column in attribute_columns()}


def test_ranks_of_a_column_are_dense_and_follow_the_order_of_dialects() -> None:
    """Within a column ranks count from 0, and a dialect of lower order never comes later."""
    order = {dialect.name: dialect.order for dialect in load().dialects}
    for column in attribute_columns():
        aliases = [alias for alias in load().aliases if alias.column == column.name]
        assert [alias.rank for alias in aliases] == list(range(len(aliases)))
        orders = [order[alias.dialect] for alias in aliases]
        assert orders == sorted(orders)


def test_operations_are_canonical() -> None:
    """Every word for an operation leads to one that the schema lists."""
    rows = [row for row in load().value_map_rows() if row[0] == "operation"]
    assert {canonical for _, _, _, canonical in rows} <= OPERATIONS
    named = {row.operation for row in load().name_prefix_rows()} - {None}
    assert named <= OPERATIONS


def test_common_meaning_is_the_first_dialects() -> None:
    """The rows of `*` are the union of all dialects; on a conflict the first by order is right."""
    operation = load().values["operation"]
    assert operation["openllmetry"]["task"] == "step"
    assert operation["tracekit"]["task"] == operation[ANY]["task"] == "task"
    assert set(operation[ANY]) == {raw for words in operation.values() for raw in words}


def test_lossy_and_normalising_layers_are_known() -> None:
    """LiteLLM hides errors behind a clean stop; others only rename; most pass values through."""
    rows = {row.dialect: row for row in load().normaliser_rows()}
    assert set(rows) == {"litellm", "logfire", "vercel", "vercel_v7", "otel"}
    assert [dialect for dialect, row in rows.items() if row.lossy] == ["litellm"]
    assert rows["litellm"].gateway == "litellm"
    assert rows["otel"].scope_name == "opentelemetry.instrumentation.genai.anthropic"


def test_files_of_a_folder_are_ranked_by_order(tmp_path: Path) -> None:
    """Two files feed one column: the one of lower order is better, wherever its name sorts."""
    other = FILE.replace("mine", "zzz").replace(": 1\n", ": 0\n").replace("my.tool", "other.tool")
    aliases = load_folder(folder(tmp_path, mine=FILE, zzz=other)).aliases
    assert [(alias.key, alias.rank) for alias in aliases] == [("other.tool", 0), ("my.tool", 1)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", r"mine\.yaml: not YAML"),
        ("just text", r"mine\.yaml: top level: "),
        (FILE + "alias: {}\n", r"mine\.yaml: alias: .*; allowed are name, title, .*aliases"),
        (FILE.replace("order: 1", "order: soon"), r"mine\.yaml: order: "),
        (FILE.replace("name: mine", "name: other"), r"mine\.yaml: name: 'other' must be called"),
        (FILE.replace("tool_name", "tool_nam"), r"aliases\.tool_nam: no .*allowed are service_"),
        (FILE.replace("tool_name", "span_id"), r"aliases\.span_id: no attribute column"),
        (FILE.replace("tool_name", "operation"), r"aliases\.operation: no attribute column"),
        (FILE.replace("[my.tool]", "[{key: a, scale: 2}]"), r"tool_name\.a: only .* double"),
        (FILE.replace("[my.tool]", "[a, a]"), r"tool_name: a is listed already in mine\.yaml"),
        (FILE + "unpack: [{key: a, format: json, fields: {b: c}}]", r"unpack\.a\.b: no attribute"),
        (FILE + "unpack: [{key: a, format: xml, fields: {b: c}}]", r"unpack\.0\.format: "),
        (FILE + "fingerprints: {prefixes: [ai.]}", r"prefix 'ai\.' is shorter than 4 bytes"),
        (FILE + "values: {operation: {LLM: llm}}", r"values\.operation\.LLM: .*lower case"),
    ],
)
def test_bad_file_is_named_with_place_and_remedy(tmp_path: Path, text: str, complaint: str) -> None:
    """A mistake in a dialect file is reported with the file, the place and what is allowed."""
    with pytest.raises(DialectError, match=complaint):
        load_folder(folder(tmp_path, mine=text))


def test_dialects_of_equal_precedence_are_refused(tmp_path: Path) -> None:
    """Precedence must not depend on the order of files in a folder."""
    other = FILE.replace("mine", "other").replace("my.tool", "other.tool")
    with pytest.raises(DialectError, match=r"other\.yaml: order: 1 is taken by mine\.yaml"):
        load_folder(folder(tmp_path, mine=FILE, other=other))
