"""Spans of recorded sessions, built by the importers.

An importer describes a session as plain values; this module turns them into OTLP. Trace and span
ids are hashes of the session's identity, so a session imported twice has the same ids.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracekit.importers.context import Steps

Attributes = Mapping[str, Any]
"""Attribute values are text, numbers, booleans or sequences of text; None is left out."""

R = TypeVar("R")

SYNTHETIC_TIME: Final = "tracekit.time.synthetic"
"""Marks spans whose times order the steps but were not recorded."""
SYNTHETIC_EPOCH_NS: Final = 1_704_067_200_000_000_000
"""2024-01-01T00:00:00Z: when sessions without times are said to start."""
SECOND_NS: Final = 1_000_000_000

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A span event."""

    name: str
    time_ns: int
    attributes: Attributes


class Recording:
    """One session as one trace."""

    def __init__(
        self, fmt: str, identity: str, session_id: str, resource: Attributes | None = None
    ) -> None:
        """Start a recording.

        Args:
            fmt: Name of the format; part of every id.
            identity: What tells the session from all others of the format.
            session_id: Session key that every span carries.
            resource: Resource attributes; none for spans added to a session that has its own.
        """
        self._identity = f"{fmt}\n{identity}"
        self._named = fmt, identity, session_id
        self._seen: Counter[str] = Counter()
        self._request = ExportTraceServiceRequest()
        group = self._request.resource_spans.add()
        group.resource.attributes.extend(key_values(resource or {}))
        self._spans = group.scope_spans.add()
        self._spans.scope.name = f"tracekit.importers.{fmt}"
        self.trace_id = _digest(self._identity, _TRACE_ID_BYTES)

    def span_id(self, key: str) -> bytes:
        """Return the id of the span of that key."""
        return _digest(f"{self._identity}\n{key}", _SPAN_ID_BYTES)

    def _next_id(self, key: str) -> bytes:
        self._seen[key] += 1
        again = self._seen[key]
        return self.span_id(key if again == 1 else f"{key}\n{again}")

    def add(  # noqa: PLR0913  every argument is one field of the span
        self,
        key: str,
        name: str,
        time_ns: tuple[int, int],
        attributes: Attributes,
        *,
        parent: str | None = "root",
        client: bool = False,
        error: str | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Add a span.

        Args:
            key: Names the span within the session; its id follows from it, and from how often
                the key came before. The root span is `root`.
            name: Span name.
            time_ns: Start and end, nanoseconds since 1970.
            attributes: Span attributes.
            parent: Key of the parent; None for the root.
            client: Whether the span is a call to something remote.
            error: `error.type` of a span that failed.
            events: Span events.
        """
        span = self._spans.spans.add(
            trace_id=self.trace_id,
            span_id=self._next_id(key),
            parent_span_id=b"" if parent is None else self.span_id(parent),
            name=name,
            kind=Span.SPAN_KIND_CLIENT if client else Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=time_ns[0],
            end_time_unix_nano=max(time_ns),
            attributes=key_values({"tracekit.session.id": self._named[2], **attributes}),
            events=[
                Span.Event(
                    name=event.name,
                    time_unix_nano=event.time_ns,
                    attributes=key_values(event.attributes),
                )
                for event in events
            ],
        )
        if error is not None:
            span.status.code = Status.STATUS_CODE_ERROR
            span.attributes.extend(key_values({"error.type": error}))

    def steps(self) -> Steps:
        """Return what is needed to add to the session later."""
        return Steps(*self._named, keys=frozenset(self._seen))

    def encode(self) -> bytes:
        """Return the session as one OTLP request."""
        return self._request.SerializeToString()


class Results(Generic[R]):
    """Results of tool calls by call id. An id that comes twice has its results in order."""

    def __init__(self, results: Iterable[tuple[str, R]]) -> None:
        """Take results with their call ids, in the order they came."""
        self._by_id: dict[str, deque[R]] = {}
        for call_id, result in results:
            self._by_id.setdefault(call_id, deque()).append(result)

    def take(self, call_id: str) -> R | None:
        """Return the next result of a call; None where it was never executed."""
        waiting = self._by_id.get(call_id)
        return waiting.popleft() if waiting else None


def key_values(attributes: Attributes) -> Iterator[KeyValue]:
    """Yield attributes as OTLP messages; None is left out."""
    for key, value in attributes.items():
        if value is not None:
            yield KeyValue(key=key, value=any_value(value))


def any_value(value: Any) -> AnyValue:
    """Return a value as OTLP; objects and mixed arrays become JSON text."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int() if -(1 << 63) <= value < 1 << 63:
            return AnyValue(int_value=value)
        case float() | int():
            return AnyValue(double_value=float(value))
        case list() | tuple() if all(isinstance(item, str) for item in value):
            items = [AnyValue(string_value=item) for item in value]
            return AnyValue(array_value=ArrayValue(values=items))
        case _:
            return AnyValue(string_value=json_text(value))


def is_list_with(document: Any, fields: frozenset[str]) -> bool:
    """Whether a JSON document is a list of objects, at least one, that all have these fields."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(entry, dict) and entry.keys() >= fields for entry in document)
    )


def json_text(value: Any) -> str:
    """Return a value as compact JSON text."""
    return orjson.dumps(value).decode()


def output_messages(
    text: str | None, calls: Sequence[Attributes] = (), finish: str | None = None
) -> str:
    """Return an assistant's message as `gen_ai.output.messages`.

    Args:
        text: What it said.
        calls: Tool calls it asked for, each with id, name and arguments.
        finish: Why the provider stopped.
    """
    parts: list[Attributes] = [{"type": "text", "content": text}] if text else []
    parts.extend({"type": "tool_call", **call} for call in calls)
    message: dict[str, Any] = {"role": "assistant", "parts": parts}
    if finish is not None:
        message["finish_reason"] = finish
    return json_text([message])


def synthetic_times(index: int) -> tuple[int, int]:
    """Return start and end of a message without times: one second each from a fixed epoch."""
    start = SYNTHETIC_EPOCH_NS + index * SECOND_NS
    return start, start + SECOND_NS


def verdict(name: str, score: float, *, passed: bool, time_ns: int) -> Event:
    """Return the label of a benchmark as an evaluation event for the root span."""
    attributes = {
        "gen_ai.evaluation.name": name,
        "gen_ai.evaluation.score.label": "pass" if passed else "fail",
        "gen_ai.evaluation.score.value": score,
    }
    return Event("gen_ai.evaluation.result", time_ns, attributes)


def nanoseconds(text: str) -> int:
    """Return an ISO 8601 time as nanoseconds since 1970; one without a zone is taken as UTC.

    Raises:
        ValueError: It is not a time.
    """
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000


def digest_hex(value: Any, length: int = 12) -> str:
    """Return the first hex digits of a digest of a JSON value, whatever the order of its keys."""
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(data).hexdigest()[:length]


def _digest(text: str, size: int) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:size]
