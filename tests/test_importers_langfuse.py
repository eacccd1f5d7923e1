"""Langfuse exports: original attributes as they were, and Langfuse's own beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from importing import source_of, spans
from test_otlp_files import write

from tracekit.otlp.reference import scan_reference

if TYPE_CHECKING:
    from pathlib import Path

TRACE = "080130871f53145aecf7c29d5dfb6e4c"
RESOURCE = {"service.name": "shop"}
SCOPE = {"name": "pydantic-ai", "version": "1.0", "attributes": {"k": "v"}}


def observation(**changes: Any) -> dict[str, Any]:
    return {
        "id": "1cffdfa6fe3412e6",
        "traceId": TRACE,
        "type": "GENERATION",
        "name": "chat",
        "startTime": "2025-06-11T14:01:32.598Z",
        "endTime": "2025-06-11T14:01:33.000Z",
        "parentObservationId": None,
        "level": "DEFAULT",
        "statusMessage": None,
        "model": "gpt-4o",
        "usageDetails": {"input": 10, "output": 5, "total": 15},
        "costDetails": {"total": 0.25},
        "input": [{"role": "user"}],
        "output": {"choices": [{"finish_reason": "stop"}]},
        "metadata": {"attributes": {}, "resourceAttributes": RESOURCE, "scope": SCOPE},
    } | changes


def trace(**changes: Any) -> dict[str, Any]:
    return {"id": TRACE, "name": "run", "sessionId": "s-1", "userId": "u-1", "scores": []} | changes


def export(*observations: dict[str, Any], **changes: Any) -> bytes:
    return orjson.dumps({"trace": trace(**changes), "observations": list(observations)})


def test_what_langfuse_knows_is_added_in_its_dialect(tmp_path: Path) -> None:
    """Session, user, model, usage and cost are there for spans without attributes of their own."""
    (span,) = spans(write(tmp_path, export(observation())))
    expected = {
        "session.id": "s-1",
        "user.id": "u-1",
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": '{"input":10,"output":5,"total":15}',
        "langfuse.observation.cost_details": '{"total":0.25}',
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert (
        expected.items()
        <= {key: value for key, value in span.attributes.items() if key in expected}.items()
    )
    assert (span.trace_id.hex(), span.span_id.hex()) == (TRACE, "1cffdfa6fe3412e6")
    assert (span.resource, span.scope) == (RESOURCE, "pydantic-ai")
    assert span.end_ns - span.start_ns == 402_000_000


@pytest.mark.parametrize("packed", [False, True])
def test_original_attributes_pass_as_they_are(packed: bool, tmp_path: Path) -> None:
    """Metadata may be JSON text; numbers in text stay text; objects go back to JSON."""
    attributes: dict[str, Any] = {
        "gen_ai.usage.input_tokens": "131",
        "gen_ai.response.finish_reasons": ["tool_call"],
        "model_request_parameters": {"tools": []},
        "user.id": "theirs",
        "nothing": None,
    }
    metadata: Any = {"attributes": attributes, "resourceAttributes": RESOURCE, "scope": SCOPE}
    if packed:
        metadata = orjson.dumps({k: orjson.dumps(v).decode() for k, v in metadata.items()}).decode()
    (span,) = spans(write(tmp_path, export(observation(metadata=metadata))))
    assert span.attributes["gen_ai.usage.input_tokens"] == "131"
    assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_call"]
    assert span.attributes["model_request_parameters"] == '{"tools":[]}'
    assert span.attributes["user.id"] == "theirs"
    assert "nothing" not in span.attributes


@pytest.mark.parametrize(
    ("output", "reasons"),
    [
        ({"finish_reason": "STOP"}, ["STOP"]),
        ('[{"parts":[],"finish_reason":"tool_call"}]', ["tool_call"]),
        ({"candidates": [{"finishReason": "MAX_TOKENS"}]}, ["MAX_TOKENS"]),
        ({"content": "x", "response_metadata": {"stop_reason": "end_turn"}}, ["end_turn"]),
        ({"candidates": [{"finish_reason": 1}]}, None),
        ("finish_reason: stop", None),
        (None, None),
    ],
)
def test_finish_reasons_are_found_in_the_output_of_generations(
    output: Any, reasons: list[str] | None, tmp_path: Path
) -> None:
    """Where no attribute has one, the provider's answer may; numbers are not guessed at."""
    (span,) = spans(write(tmp_path, export(observation(output=output))))
    assert span.attributes.get("gen_ai.response.finish_reasons") == reasons


def test_outer_spans_do_not_repeat_the_finish_reason(tmp_path: Path) -> None:
    """A chain's output holds its generation's answer; the reason belongs to the generation."""
    (span,) = spans(write(tmp_path, export(observation(type="SPAN"))))
    assert "gen_ai.response.finish_reasons" not in span.attributes


def test_ids_that_are_no_hex_are_hashed_alike_everywhere(tmp_path: Path) -> None:
    """Parents still find their children."""
    parent = observation(id="0d6c73e1-be16", traceId="my trace", endTime=None)
    child = observation(id="e584f95b", traceId="my trace", parentObservationId="0d6c73e1-be16")
    first, second = spans(write(tmp_path, export(parent, child, id="my trace")))
    assert second.parent == first.span_id
    assert (len(first.trace_id), len(first.span_id), first.end_ns) == (16, 8, 0)


def test_errors_and_scores_are_kept(tmp_path: Path) -> None:
    """Level ERROR fails the span; only yes-or-no scores and categories are labels."""
    scores = [
        {"name": "resolved", "value": 1, "dataType": "BOOLEAN", "timestamp": None},
        {"name": "toxicity", "value": 0.2, "dataType": "NUMERIC", "observationId": None},
        {"name": "tone", "value": 3, "stringValue": "rude", "observationId": "b" * 16},
    ]
    child = observation(id="b" * 16, parentObservationId="1cffdfa6fe3412e6")
    failed = observation(level="ERROR", statusMessage="boom")
    root, inner = spans(write(tmp_path, export(failed, child, scores=scores)))
    assert root.failed
    assert root.attributes["langfuse.observation.status_message"] == "boom"
    labels = [values.get("gen_ai.evaluation.score.label") for _, values in root.events]
    assert labels == ["pass", None]
    assert inner.events[0][1]["gen_ai.evaluation.score.label"] == "rude"


def test_a_trace_of_the_api_has_its_observations_inside(tmp_path: Path) -> None:
    """`GET /traces/{id}` returns the trace itself."""
    data = orjson.dumps(trace(observations=[observation()]))
    source = source_of(write(tmp_path, data))
    assert len(list(source.chunks())) == 1
    assert source.format == "langfuse"


def test_all_framework_traces_are_read(shared_data: Path) -> None:
    """Every observation is a span the scanner accepts, in 22 distinct traces."""
    source = source_of(shared_data / "langfuse-framework-traces" / "originals.tar.gz")
    table = scan_reference(b"".join(source.chunks()))
    assert table.num_rows == 229
    assert len(set(table["trace_id"].to_pylist())) == 22
    assert {why for _, why in source.skipped} == {"not a recording"}
