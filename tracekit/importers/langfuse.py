"""Langfuse trace exports: `{trace, observations}`, or a trace of the API with its observations.

An observation's metadata holds what its OpenTelemetry span carried: attributes, resource and scope,
as objects or as JSON text. Those are passed through as they are, numbers in text included. What
only Langfuse knows is added under the keys of its own dialect, which count where the original
attributes say nothing. Finish reasons are taken from a generation's output where no attribute has
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracekit.importers.recording import (
    Attributes,
    Event,
    json_text,
    key_values,
    nanoseconds,
)

if TYPE_CHECKING:
    from tracekit.importers.context import Context

FORMAT: Final = "langfuse"

_GENERATION: Final = "GENERATION"
_FINISH_KEYS: Final = ("finish_reason", "finishReason", "stop_reason")
_FINISH_PLACES: Final = ("choices", "candidates", "response_metadata", "message", "generations")
"""Members of a provider's answer below which the finish reason may be."""
_FINISH_DEPTH: Final = 4
_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16

Observation = Mapping[str, Any]


def matches(document: Any) -> bool:
    """Whether a JSON document is an exported trace."""
    trace, observations = _parts(document)
    return bool(trace) and "id" in trace and all(_is_observation(item) for item in observations)


def _is_observation(value: Any) -> bool:
    return isinstance(value, dict) and {"id", "type", "startTime"} <= value.keys()


def _parts(document: Any) -> tuple[Mapping[str, Any], list[Any]]:
    """Return trace and observations; an empty trace where the document is something else."""
    if not isinstance(document, dict):
        return {}, []
    trace = document.get("trace", document)
    observations = document.get("observations")
    if not isinstance(trace, dict) or not isinstance(observations, list) or not observations:
        return {}, []
    return trace, observations


def sessions(document: Any, _context: Context) -> Iterator[bytes]:
    """Yield the trace as one OTLP request."""
    trace, observations = _parts(document)
    roots = {item["id"] for item in observations if not item.get("parentObservationId")}
    scores = _scores(trace)
    request = ExportTraceServiceRequest()
    groups: dict[bytes, Any] = {}
    for observation in observations:
        metadata = _object(observation.get("metadata"))
        span = _span(trace, observation, metadata)
        judged = scores.get(observation["id"], ())
        whole = scores.get(None, ()) if observation["id"] in roots else ()
        span.events.extend(_event(event) for event in (*judged, *whole))
        _group(request, groups, metadata).append(span)
    yield request.SerializeToString()


def _group(request: Any, groups: dict[bytes, Any], metadata: Mapping[str, Any]) -> Any:
    """Return the span list of an observation's resource and scope."""
    resource = _object(metadata.get("resourceAttributes"))
    scope = _object(metadata.get("scope"))
    key = orjson.dumps([resource, scope], option=orjson.OPT_SORT_KEYS)
    if key not in groups:
        group = request.resource_spans.add()
        group.resource.attributes.extend(key_values(resource))
        scope_spans = group.scope_spans.add()
        scope_spans.scope.name = str(scope.get("name") or "")
        scope_spans.scope.version = str(scope.get("version") or "")
        scope_spans.scope.attributes.extend(key_values(_object(scope.get("attributes"))))
        groups[key] = scope_spans.spans
    return groups[key]


def _span(trace: Mapping[str, Any], observation: Observation, metadata: Mapping[str, Any]) -> Span:
    parent = observation.get("parentObservationId")
    end = observation.get("endTime")
    original = _object(metadata.get("attributes"))
    failed = observation.get("level") == "ERROR"
    return Span(
        trace_id=_id(observation.get("traceId") or trace["id"], _TRACE_DIGITS),
        span_id=_id(observation["id"], _SPAN_DIGITS),
        parent_span_id=_id(parent, _SPAN_DIGITS) if parent else b"",
        name=observation.get("name") or "",
        start_time_unix_nano=nanoseconds(observation["startTime"]),
        end_time_unix_nano=nanoseconds(end) if end else 0,
        attributes=key_values({**_added(trace, observation, original), **original}),
        status=Status(
            code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET,
            message=observation.get("statusMessage") or "",
        ),
    )


def _added(
    trace: Mapping[str, Any], observation: Observation, original: Mapping[str, Any]
) -> Attributes:
    """Return what Langfuse knows of an observation, in the keys of its dialect."""
    return {
        "session.id": trace.get("sessionId"),
        "user.id": trace.get("userId"),
        "langfuse.trace.name": trace.get("name"),
        "langfuse.environment": observation.get("environment") or trace.get("environment"),
        "langfuse.observation.type": str(observation["type"]).lower(),
        "langfuse.observation.level": observation.get("level"),
        "langfuse.observation.status_message": observation.get("statusMessage"),
        "langfuse.observation.model.name": observation.get("model"),
        "langfuse.observation.usage_details": _amounts(observation.get("usageDetails")),
        "langfuse.observation.cost_details": _amounts(observation.get("costDetails")),
        "langfuse.observation.completion_start_time": observation.get("completionStartTime"),
        "langfuse.observation.input": _content(observation.get("input")),
        "langfuse.observation.output": _content(observation.get("output")),
        "gen_ai.response.finish_reasons": _finish(observation, original),
    }


def _amounts(value: Any) -> str | None:
    """Return usage or costs as JSON text; None where there are none, or only zeros."""
    amounts = _object(value)
    return json_text(amounts) if any(amounts.values()) else None


def _content(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)


def _finish(observation: Observation, original: Mapping[str, Any]) -> list[str] | None:
    """Return the finish reasons of a generation's output, unless an attribute has them."""
    if observation["type"] != _GENERATION:
        return None
    if any(key in name for name in original for key in _FINISH_KEYS):
        return None
    output = observation.get("output")
    if isinstance(output, str):
        output = _json(output)
    return list(_finish_reasons(output, _FINISH_DEPTH)) or None


def _finish_reasons(value: Any, depth: int) -> Iterator[str]:
    if depth and isinstance(value, list):
        for item in value:
            yield from _finish_reasons(item, depth - 1)
    elif isinstance(value, dict):
        found = [value[key] for key in _FINISH_KEYS if isinstance(value.get(key), str)]
        yield from found[:1]
        for place in () if found or not depth else _FINISH_PLACES:
            yield from _finish_reasons(value.get(place), depth - 1)


def _scores(trace: Mapping[str, Any]) -> dict[str | None, list[Event]]:
    """Return the scores by the observation they judge; None is the whole trace."""
    scores: dict[str | None, list[Event]] = {}
    for score in trace.get("scores") or ():
        if isinstance(score, dict) and score.get("name"):
            scores.setdefault(score.get("observationId"), []).append(_score(score))
    return scores


def _score(score: Mapping[str, Any]) -> Event:
    """Return a score as an evaluation event; only yes-or-no scores and categories are labels."""
    label = score.get("stringValue")
    if score.get("dataType") == "BOOLEAN":
        label = "pass" if score.get("value") else "fail"
    attributes = {
        "gen_ai.evaluation.name": score["name"],
        "gen_ai.evaluation.score.value": score.get("value"),
        "gen_ai.evaluation.score.label": label,
    }
    time = score.get("timestamp")
    return Event("gen_ai.evaluation.result", nanoseconds(time) if time else 0, attributes)


def _event(event: Event) -> Span.Event:
    return Span.Event(
        name=event.name, time_unix_nano=event.time_ns, attributes=key_values(event.attributes)
    )


def _id(text: str, digits: int) -> bytes:
    """Return a trace or span id: hex ids are kept, others hashed."""
    try:
        if len(text) == digits:
            return bytes.fromhex(text)
    except ValueError:
        pass
    return hashlib.sha256(text.encode()).digest()[: digits // 2]


def _object(value: Any) -> Mapping[str, Any]:
    """Return an object that may be written as JSON text; empty for anything else."""
    if isinstance(value, str):
        value = _json(value)
    return value if isinstance(value, dict) else {}


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
