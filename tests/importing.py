"""Import files in tests and look at the spans: `spans(path)`, `by_session(spans)`."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit.importers.detect import open_sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    from tracekit.importers.source import Source

ERROR = 2
"""Status code of spans that failed."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """A span as plain values."""

    trace_id: bytes
    span_id: bytes
    parent: bytes
    name: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    resource: dict[str, Any]
    scope: str

    @property
    def operation(self) -> str:
        """Operation by the OpenTelemetry name."""
        return str(self.attributes.get("gen_ai.operation.name"))


def source_of(path: Path) -> Source:
    """Return the one source that a path names."""
    (source,) = open_sources([str(path)])
    return source


def spans(*paths: Path) -> list[Seen]:
    """Return the spans of files, in order."""
    found: list[Seen] = []
    for source in open_sources([str(path) for path in paths]):
        for chunk in source.chunks():
            found.extend(_spans(chunk))
    return found


def by_session(found: Iterable[Seen]) -> dict[str, list[Seen]]:
    """Return spans by `tracekit.session.id`."""
    sessions = defaultdict(list)
    for span in found:
        sessions[span.attributes["tracekit.session.id"]].append(span)
    return sessions


def passes(found: Iterable[Seen]) -> int:
    """Return how many evaluation events say pass."""
    return sum(
        values.get("gen_ai.evaluation.score.label") == "pass"
        for span in found
        for name, values in span.events
        if name == "gen_ai.evaluation.result"
    )


def total(found: Iterable[Seen], key: str) -> float:
    """Return the sum of an attribute over spans that have it."""
    return sum(span.attributes.get(key) or 0 for span in found)


def operations(found: Iterable[Seen], operation: str) -> list[Seen]:
    """Return the spans of an operation."""
    return [span for span in found if span.operation == operation]


def _spans(chunk: bytes) -> Iterator[Seen]:
    for group in ExportTraceServiceRequest.FromString(chunk).resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Seen(
                    span.trace_id,
                    span.span_id,
                    span.parent_span_id,
                    span.name,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == ERROR,
                    _values(span.attributes),
                    [(event.name, _values(event.attributes)) for event in span.events],
                    _values(group.resource.attributes),
                    scope.scope.name,
                )


def _values(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)
