"""Finished SDK spans as OTLP bytes, in several times less time than by way of protobuf messages.

This runs in the process that is watched, so it imports nothing large. The wire format is written
out field by field; the numbers in the constants below are protobuf tags, and the field names beside
them are those of `opentelemetry/proto/trace/v1/trace.proto`. What OpenTelemetry's own encoder makes
of the same spans parses to the same message.
"""

from __future__ import annotations

import logging
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tracekit.otlp.values import LENGTHS, field, length, text_field, value_of
from tracekit.otlp.varints import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, Status

log: Final = logging.getLogger("tracekit")

_T = TypeVar("_T")

_MOST_KEYS: Final = 4096
"""Keys that are remembered; then all are forgotten, which a program with fewer never sees."""
_MOST_VALUES: Final = 64
"""Values remembered per key. Models and tools have fewer; ids fill it and then cost no more."""

_SHORT: Final = 1 << 7
"""Below it a length is one byte."""
_SHORT_TEXTS: Final = tuple(bytes((n + 2, 0x0A, n)) for n in range(_SHORT))
"""Before a text of so many bytes: length of the value, tag of `string_value`, its length."""
_times: Final = Struct("<BQBQ").pack
_time: Final = Struct("<BQ").pack
_LOCAL: Final = (0x100).to_bytes(4, "little")
_REMOTE: Final = (0x300).to_bytes(4, "little")
"""Flags of a span or link: it is known whether the parent's or linked context came from another
process; and it did."""

_keys: Final[dict[str, tuple[bytes, dict[Any, bytes]]]] = {}
_names: Final[dict[str, bytes]] = {}
_resources: Final[dict[int, tuple[Resource, bytes]]] = {}
_scopes: Final[dict[int, tuple[InstrumentationScope, bytes]]] = {}
"""Encoded once per object; the object is held, so that its id stays its own."""


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """Return an `ExportTraceServiceRequest` with the spans, grouped by resource and scope.

    An attribute whose value has no place in OTLP is left out and logged; text that is no valid
    Unicode has question marks in its place.
    """
    groups: dict[tuple[int, int], list[bytes]] = {}
    tree: dict[Resource, dict[InstrumentationScope | None, list[bytes]]] = {}
    for span in spans:
        resource, scope = span.resource, span.instrumentation_scope
        group = groups.get((id(resource), id(scope)))
        if group is None:  # equal ones may be several objects; comparing resources is slow
            group = tree.setdefault(resource, {}).setdefault(scope or None, [])
            groups[id(resource), id(scope)] = group
        body = _span(span)
        group += (b"\x12", length(len(body)), body)  # spans
    request: list[bytes] = []
    for resource, scopes in tree.items():
        pieces = [_resource(resource)]
        for scope, group in scopes.items():
            pieces.append(field(b"\x12", _scope_spans(scope, group)))  # scope_spans
        if resource.schema_url:
            pieces.append(text_field(b"\x1a", resource.schema_url))
        request.append(field(b"\x0a", b"".join(pieces)))  # resource_spans
    return b"".join(request)


def _scope_spans(scope: InstrumentationScope | None, group: list[bytes]) -> bytes:
    head, url = b"\x0a\x00", None
    if scope is not None:
        head, url = _cached(_scopes, scope, _scope), scope.schema_url
    return b"".join((head, *group, text_field(b"\x1a", url)))


def _scope(scope: InstrumentationScope) -> bytes:
    pieces = [text_field(b"\x0a", scope.name), text_field(b"\x12", scope.version)]
    _attributes(b"\x1a", scope.attributes, pieces)
    return field(b"\x0a", b"".join(pieces))


def _resource(resource: Resource) -> bytes:
    return _cached(_resources, resource, _encode_resource)


def _encode_resource(resource: Resource) -> bytes:
    pieces: list[bytes] = []
    _attributes(b"\x0a", resource.attributes, pieces)
    return field(b"\x0a", b"".join(pieces))


def _cached(cache: dict[int, tuple[_T, bytes]], item: _T, encode: Callable[[_T], bytes]) -> bytes:
    found = cache.get(id(item))
    if found is None:
        if len(cache) >= _SHORT:
            cache.clear()
        found = cache[id(item)] = (item, encode(item))
    return found[1]


def _span(span: ReadableSpan) -> bytes:
    context, parent = span.get_span_context(), span.parent
    if context is None:
        raise ValueError(f"the span {span.name!r} has no ids")
    out = [
        b"\x0a\x10",  # trace_id
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",  # span_id
        context.span_id.to_bytes(8, "big"),
    ]
    if context.trace_state:
        out.append(_trace_state(context))
    if parent is not None:
        out += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))  # parent_span_id
    out += (
        _names.get(span.name) or _name(span.name),
        b"\x30",  # kind: the SDK counts from 0, OTLP has 0 for unspecified
        LENGTHS[span.kind.value + 1],
        _times(0x39, span.start_time or 0, 0x41, span.end_time or 0),
    )
    _attributes(b"\x4a", span.attributes, out)
    _count(b"\x50", span.dropped_attributes, out)
    for event in span.events:
        out.append(field(b"\x5a", _event(event)))
    _count(b"\x60", span.dropped_events, out)
    for link in span.links:
        out.append(field(b"\x6a", _link(link)))
    _count(b"\x70", span.dropped_links, out)
    out += (_status(span.status), b"\x85\x01", _remote(parent))  # flags
    return b"".join(out)


def _name(name: str) -> bytes:
    written = text_field(b"\x2a", name)
    if len(_names) < _MOST_VALUES:
        _names[name] = written
    return written


def _remote(context: SpanContext | None) -> bytes:
    return _REMOTE if context is not None and context.is_remote else _LOCAL


def _trace_state(context: SpanContext) -> bytes:
    pairs = (f"{key}={value}" for key, value in context.trace_state.items())
    return text_field(b"\x1a", ",".join(pairs))


def _event(event: Event) -> bytes:
    out = [_time(0x09, event.timestamp or 0), text_field(b"\x12", event.name)]
    _attributes(b"\x1a", event.attributes, out)
    _count(b"\x20", event.dropped_attributes, out)
    return b"".join(out)


def _link(link: Link) -> bytes:
    # Without its trace_state, which OpenTelemetry's encoder leaves out too.
    context = link.context
    out = [
        b"\x0a\x10",
        context.trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        context.span_id.to_bytes(8, "big"),
    ]
    _attributes(b"\x22", link.attributes, out)
    _count(b"\x28", link.dropped_attributes, out)
    out += (b"\x35", _remote(context))
    return b"".join(out)


def _status(status: Status) -> bytes:
    code, message = status.status_code.value, status.description
    if not message:
        return b"\x7a\x02\x18" + LENGTHS[code] if code else b"\x7a\x00"
    body = text_field(b"\x12", message) + (b"\x18" + LENGTHS[code] if code else b"")
    return field(b"\x7a", body)


def _attributes(tag: bytes, attributes: Mapping[str, Any] | None, out: list[bytes]) -> None:
    """Append attributes as fields of that tag."""
    if not attributes:
        return
    for key, value in _plain(attributes).items():
        head, known = _keys.get(key) or _key(key)
        kind = type(value)
        try:
            # Of these types, values are equal only if they are the same: 1 is True, and 1.0.
            if kind is str or kind is int or (kind is tuple and _is_text(value)):
                written = known.get(value) or _remembered(head, value, known)
            else:
                written = _attribute(head, value)
        except ValueError as error:
            log.warning("the attribute %s is left out: %s", key, error)
        else:
            out += (tag, written)


def _is_text(value: tuple[Any, ...]) -> bool:
    return len(value) == 1 and type(value[0]) is str


def _plain(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return attributes as a dict, where there is one: the SDK's mappings are slow to walk."""
    copy = getattr(attributes, "copy", None)
    return attributes if copy is None else copy()


def _key(key: str) -> tuple[bytes, dict[Any, bytes]]:
    """Return the key of an attribute and the tag of its value, and the values it has had."""
    if len(_keys) >= _MOST_KEYS:
        _keys.clear()
    known = _keys[key] = (text_field(b"\x0a", key) + b"\x12", {})
    return known


def _remembered(head: bytes, value: Any, known: dict[Any, bytes]) -> bytes:
    """Return an attribute without its tag, and remember it while its key has few values."""
    if type(value) is str and value.isascii() and len(value) + len(head) < _SHORT - 3:
        size = len(value)  # every length is one byte: written without a call for each
        front = LENGTHS[len(head) + size + 3]
        written = b"".join((front, head, _SHORT_TEXTS[size], value.encode()))
    else:
        written = _attribute(head, value)
    if len(known) < _MOST_VALUES and len(written) < _SHORT:
        known[value] = written
    return written


def _attribute(head: bytes, value: Any) -> bytes:
    """Return an attribute without its tag."""
    body = value_of(value)
    return b"".join((length(len(head) + len(body)), head, body))


def _count(tag: bytes, count: int, out: list[bytes]) -> None:
    if count:
        out += (tag, varint(count))
