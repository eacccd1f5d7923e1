"""The scanner, written for reading: OTLP bytes to columns over the protobuf library.

`scan_reference` says what the fast scanner must do; property tests hold the two equal. The rules:

Spans
    One row per span, in the order of the message. The whole request is refused (`InputError`) when
    it is no protobuf message, when a string in it is no UTF-8, or when a span has: a trace id that
    is not 16 bytes or all zero; a span id that is not 8 bytes or all zero; a parent span id that is
    neither empty nor 8 bytes; a start or end beyond the range of int64.
    Null are: a parent span id that is empty or all zero; an end of 0; an empty trace state; an
    empty or absent scope name; both link columns, unless the *first* link has a trace id of 16 and
    a span id of 8 bytes, neither all zero. An empty span name stays "", a start of 0 stays 0.
    Kinds and status codes of unknown number are "unspecified" and "unset".

Dialect mark
    Among the fingerprints (`Registry.marks`) that a key of the span's own attributes equals or
    starts with, the dialect of the one with the lowest order. Values do not matter.

Attribute columns
    An attribute is *usable* for a column when `coerce` makes a value of it; one that is not usable
    is as if it were absent. A column takes the usable attribute that comes first by
    1. way: an alias before an unpacked value;
    2. level: the span (its attributes, and its events' attributes for aliases with an event)
       before its scope before its resource;
    3. rank: `Alias.rank`, or `Unpack.rank` plus the field's place;
    4. position: the *last* one in the message, so the last of two equal keys, and the last event.
    Keys inside maps are no attributes. Repeated keys inside a map: the last one counts.

Afterwards
    The text of a column in `coerce.LIST_COLUMNS` goes through `coerce.spread_list`, which may turn
    it to null; no other attribute is tried then.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit.dialects.coerce import LIST_COLUMNS, Value, coerce, spread_list
from tracekit.dialects.registry import load
from tracekit.dialects.unpack import unpack
from tracekit.errors import InputError
from tracekit.schema import arrow_schema, attribute_columns, scanned_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

    from tracekit.dialects.registry import Alias, Mark
    from tracekit.dialects.unpack import Form
    from tracekit.schema import Kind

    _KeyOf = tuple[str, str | None]
    _Place = tuple[int, int, int]
    _Field = tuple[str, Form, str, int]

KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
"""Span kinds by number."""

STATUSES: Final = ("unset", "ok", "error")
"""Span status by number."""

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8

_MAX_TIME: Final = (1 << 63) - 1
_SPAN, _SCOPE, _RESOURCE = range(3)


def python_value(value: AnyValue) -> Any:
    """Return an OTLP value as a plain Python value; the empty value is None."""
    match value.WhichOneof("value"):
        case "array_value":
            return [python_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: python_value(pair.value) for pair in value.kvlist_value.values}
        case "string_value" | "bool_value" | "int_value" | "double_value" | "bytes_value" as field:
            return getattr(value, field)
    return None


@cache
def _kinds() -> dict[str, Kind]:
    return {column.name: column.kind for column in attribute_columns()}


@cache
def _aliases() -> dict[_KeyOf, list[Alias]]:
    index: defaultdict[_KeyOf, list[Alias]] = defaultdict(list)
    for alias in load().aliases:
        index[alias.key, alias.event].append(alias)
    return dict(index)


@cache
def _fields() -> dict[str, list[_Field]]:
    index: defaultdict[str, list[_Field]] = defaultdict(list)
    for packed in load().unpacks:
        for rank, path, column in packed.ranked_fields():
            index[packed.key].append((column, packed.format, path, rank))
    return dict(index)


class _Best:
    """The best value so far of each column, with its place in the precedence."""

    def __init__(self, key: int, held: dict[str, tuple[_Place, Value]] | None = None) -> None:
        self.key = key
        self.held = dict(held or {})

    def copy(self) -> _Best:
        return _Best(self.key, self.held)

    def offer(self, column: str, place: _Place, value: Any, scale: float = 1.0) -> None:
        """Take a value unless a better one is held; of two equally good ones the later counts."""
        held = self.held.get(column)
        if held is not None and held[0] < place:
            return
        usable = coerce(_kinds()[column], value, key=self.key, scale=scale)
        if usable is not None:
            self.held[column] = (place, usable)

    def attributes(
        self, pairs: Iterable[KeyValue], level: int = _SPAN, event: str | None = None
    ) -> None:
        """Offer attributes to the columns they feed."""
        for pair in pairs:
            aliases = _aliases().get((pair.key, event), ())
            fields = _fields().get(pair.key, ()) if event is None else ()
            value = python_value(pair.value) if aliases or fields else None
            for alias in aliases:
                self.offer(alias.column, (0, level, alias.rank), value, alias.scale)
            for column, form, path, rank in fields:
                self.offer(column, (1, level, rank), unpack(value, form, path))

    def value(self, column: str) -> Value | None:
        """Return the value a column ends with."""
        _, value = self.held.get(column, (None, None))
        if column in LIST_COLUMNS and isinstance(value, str):
            return spread_list(value)
        return value


def _id(value: bytes, length: int, what: str, span: Span) -> str:
    if len(value) != length or not any(value):
        raise InputError(
            f"span {span.name!r}: {what} must be {length} bytes, not all zero, but is "
            f"{value.hex() or 'empty'}; the exporter that wrote it is broken"
        )
    return value.hex()


def _parent(span: Span) -> str | None:
    if not span.parent_span_id or span.parent_span_id == bytes(SPAN_ID_BYTES):
        return None
    return _id(span.parent_span_id, SPAN_ID_BYTES, "parent span id", span)


def _link(span: Span) -> tuple[str, str] | tuple[None, None]:
    if not span.links:
        return None, None
    trace, other = span.links[0].trace_id, span.links[0].span_id
    valid = len(trace) == TRACE_ID_BYTES and len(other) == SPAN_ID_BYTES
    return (trace.hex(), other.hex()) if valid and any(trace) and any(other) else (None, None)


def _time(value: int, what: str, span: Span) -> int:
    if value > _MAX_TIME:
        raise InputError(
            f"span {span.name!r}: {what} {value} is beyond the year 2262; "
            "times are nanoseconds since 1970"
        )
    return value


def _word(words: Sequence[str], number: int) -> str:
    return words[number] if 0 <= number < len(words) else words[0]


def _mark(keys: Iterable[str], marks: Sequence[Mark]) -> str | None:
    hits = [
        mark
        for key in keys
        for mark in marks
        if (key.startswith(mark.text) if mark.is_prefix else key == mark.text)
    ]
    return min(hits, key=lambda mark: mark.order).dialect if hits else None


def _wire(span: Span, scope_name: str) -> dict[str, Value | None]:
    link_trace_id, link_span_id = _link(span)
    return {
        "trace_id": _id(span.trace_id, TRACE_ID_BYTES, "trace id", span),
        "span_id": _id(span.span_id, SPAN_ID_BYTES, "span id", span),
        "parent_span_id": _parent(span),
        "link_trace_id": link_trace_id,
        "link_span_id": link_span_id,
        "trace_state": span.trace_state or None,
        "name": span.name,
        "span_kind": _word(KINDS, span.kind),
        "scope_name": scope_name or None,
        "start_ns": _time(span.start_time_unix_nano, "start", span),
        "end_ns": _time(span.end_time_unix_nano, "end", span) or None,
        "status": _word(STATUSES, span.status.code),
        "dialect_mark": _mark((pair.key for pair in span.attributes), load().marks),
    }


def _rows(group: ScopeSpans, outer: _Best) -> Iterator[dict[str, Value | None]]:
    around = outer.copy()
    around.attributes(group.scope.attributes, _SCOPE)
    for span in group.spans:
        best = around.copy()
        best.attributes(span.attributes)
        for event in span.events:
            best.attributes(event.attributes, event=event.name)
        row = _wire(span, group.scope.name)
        row.update((column.name, best.value(column.name)) for column in attribute_columns())
        yield row


def scan_reference(data: bytes, key: int = 0) -> pa.Table:
    """Return the spans of an OTLP request as columns; the module says by which rules.

    Args:
        data: An `ExportTraceServiceRequest`.
        key: Fingerprint key of the HASH columns.

    Returns:
        A table with exactly `schema.scanned_columns()`.

    Raises:
        InputError: The bytes are no request, or a span in it is malformed.
    """
    try:
        message = ExportTraceServiceRequest.FromString(data)
    except DecodeError as error:
        raise InputError(f"no OTLP trace request: {error}") from error
    rows: list[dict[str, Value | None]] = []
    for resource_spans in message.resource_spans:
        around = _Best(key)
        around.attributes(resource_spans.resource.attributes, _RESOURCE)
        for group in resource_spans.scope_spans:
            rows.extend(_rows(group, around))
    schema = arrow_schema(scanned_columns())
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
