"""Hypothesis strategies for OTLP requests: what instrumentations write, and what they should not.

`requests()` makes messages whose every span is valid; `requests(broken=True)` may have bad ids and
times in them. `encoded(message)` spells a message in one of the many ways the wire format allows.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from otlp_build import any_value

from tracekit.dialects.registry import load

if TYPE_CHECKING:
    from google.protobuf.message import Message

_ALIASES = load().aliases
_SPAN_KEYS = sorted({alias.key for alias in _ALIASES if alias.event is None})
_EVENT_KEYS = sorted({(alias.event, alias.key) for alias in _ALIASES if alias.event})
_EVENTS = sorted({event for event, _ in _EVENT_KEYS})
_UNPACKS = load().unpacks
_MARKS = load().marks
_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
_MAX_UINT64 = (1 << 64) - 1
_MAX_TIME = (1 << 63) - 1

texts = st.one_of(
    st.sampled_from(["", "stop", "gpt-4o", "true", "False", "0", "-7", "12.5", "1e3", "nan"]),
    st.sampled_from(["[]", '["stop"]', "['a', 1]", '["a",["b"],null]', "[1", "é", "日本語 🙂"]),
    st.integers(-(1 << 65), 1 << 65).map(str),
    st.floats().map(repr),
    st.text(max_size=40),
)
"""Strings: numbers, booleans and arrays written out, empty, non-ASCII, arbitrary."""

scalars = st.one_of(
    texts,
    _INT64,
    st.integers(0, 5000),
    st.booleans(),
    st.floats(),
    st.floats(0, 10),
    st.integers(-(1 << 53), 1 << 53).map(float),
    st.binary(max_size=20),
    st.none(),
)
"""Values of one `AnyValue` that holds no others."""

values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
"""Values of any `AnyValue`, as plain Python values."""


@st.composite
def packed_values(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw an attribute that packs values: as it should be, as a map, or as something else."""
    unpack = draw(st.sampled_from(_UNPACKS))
    leaves = st.one_of(st.integers(0, 9999), st.floats(0, 9), texts, st.none(), st.booleans())
    document: Any = {}
    for path in draw(st.lists(st.sampled_from(sorted(unpack.fields)), unique=True, max_size=4)):
        if not path:
            document = draw(leaves)
            break
        inner = document
        *above, last = path.split("/")
        for key in above:
            inner = inner.setdefault(key, {})
        inner[last] = draw(leaves)
    text = orjson.dumps(document).decode() if unpack.format == "json" else repr(document)
    return unpack.key, draw(st.sampled_from([text, text, document, text[:-1]]))


_pairs = st.one_of(
    st.tuples(st.sampled_from(_SPAN_KEYS), st.one_of(scalars, values)),
    st.tuples(st.sampled_from(_SPAN_KEYS), st.lists(texts, max_size=3)),
    packed_values(),
    st.tuples(st.sampled_from(_MARKS).map(lambda mark: mark.text), values),
    st.tuples(
        st.builds(lambda mark, end: mark.text + end, st.sampled_from(_MARKS), st.text(max_size=5)),
        scalars,
    ),
    st.tuples(st.sampled_from(_EVENT_KEYS).map(lambda pair: pair[1]), scalars),
    st.tuples(st.text(max_size=20), values),
)


def _key_value(pair: tuple[str, Any]) -> KeyValue:
    return KeyValue(key=pair[0], value=any_value(pair[1]))


def attribute_lists(max_size: int = 8) -> st.SearchStrategy[list[KeyValue]]:
    """Return lists of attributes: keys of all dialects and unknown ones, repeated ones too."""
    few = st.lists(_pairs, max_size=max_size)
    repeated = st.builds(
        lambda pair, others: (
            [pair, *others, (pair[0], other) if others else pair]
            if (other := others[-1][1] if others else None) is not None
            else [pair, *others]
        ),
        _pairs,
        few,
    )
    return st.one_of(few, repeated).map(lambda pairs: [_key_value(pair) for pair in pairs])


@st.composite
def events(draw: st.DrawFn) -> Span.Event:
    """Draw a span event: often one whose attributes feed columns."""
    name = draw(st.one_of(st.sampled_from(_EVENTS), st.sampled_from(_EVENTS), texts))
    known = [key for event, key in _EVENT_KEYS if event == name] or _SPAN_KEYS
    pairs = st.one_of(st.tuples(st.sampled_from(known), scalars), _pairs)
    return Span.Event(
        name=name,
        time_unix_nano=draw(st.integers(0, _MAX_UINT64)),
        attributes=[_key_value(pair) for pair in draw(st.lists(pairs, max_size=3))],
    )


def _ids(size: int, broken: bool) -> st.SearchStrategy[bytes]:
    good = st.integers(1, 256**size - 1).map(lambda number: number.to_bytes(size, "big"))
    if not broken:
        return good
    bad = st.sampled_from([b"", bytes(size), b"\1" * (size - 1), b"\1" * (size + 1)])
    return st.one_of(good, good, good, bad)


_links = st.builds(
    Span.Link,
    trace_id=_ids(16, broken=True),
    span_id=_ids(8, broken=True),
    attributes=attribute_lists(2),
)


@st.composite
def spans(draw: st.DrawFn, broken: bool = False) -> Span:
    """Draw a span."""
    last = _MAX_UINT64 if broken else _MAX_TIME
    times = st.one_of(st.just(0), st.integers(0, _MAX_TIME), st.integers(_MAX_TIME - 2, last))
    return Span(
        trace_id=draw(_ids(16, broken)),
        span_id=draw(_ids(8, broken)),
        parent_span_id=draw(st.one_of(st.sampled_from([b"", bytes(8)]), _ids(8, broken))),
        trace_state=draw(st.sampled_from(["", "ot=th:c;rv:d123456789abcd", "vendor=é"])),
        flags=draw(st.integers(0, (1 << 32) - 1)),
        name=draw(st.one_of(st.sampled_from(["chat gpt-4o", "execute_tool é"]), texts)),
        kind=draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 99, -1])),  # type: ignore[arg-type]
        start_time_unix_nano=draw(times),
        end_time_unix_nano=draw(times),
        attributes=draw(attribute_lists()),
        events=draw(st.lists(events(), max_size=3)),
        links=draw(st.lists(_links, max_size=2)),
        status=draw(
            st.one_of(
                st.none(),
                st.builds(Status, code=st.sampled_from([0, 1, 2, 3, -5]), message=texts),
            )
        ),
    )


@st.composite
def requests(
    draw: st.DrawFn, broken: bool = False, max_spans: int = 4
) -> ExportTraceServiceRequest:
    """Draw a request of several resources and scopes, empty ones among them."""
    message = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 3))):
        resource = Resource(attributes=draw(attribute_lists(4)))
        group = ResourceSpans(resource=draw(st.sampled_from([resource, None])))
        for _ in range(draw(st.integers(0, 2))):
            scope = InstrumentationScope(name=draw(texts), attributes=draw(attribute_lists(3)))
            group.scope_spans.append(
                ScopeSpans(
                    scope=draw(st.sampled_from([scope, None])),
                    spans=draw(st.lists(spans(broken), max_size=max_spans)),
                )
            )
        message.resource_spans.append(group)
    return message


def _varint(number: int, padding: int = 0) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F)
    groups += [0] * min(padding, 5 - len(groups))
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


_unknown_fields = st.sampled_from(
    [
        _varint(1000 << 3) + _varint(1 << 60),
        _varint(1001 << 3 | 1) + b"8 bytes.",
        _varint(1002 << 3 | 2) + _varint(3) + b"\xff\x00\x80",
        _varint(1003 << 3 | 5) + b"four",
    ]
)


def _chunks(draw: st.DrawFn, message: Message) -> list[tuple[int, bytes]]:
    chunks: list[tuple[int, bytes]] = []
    for field, value in message.ListFields():
        for item in value if field.is_repeated else [value]:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                body = draw(encoded(item))
                length = _varint(len(body), draw(st.integers(0, 2)))
                chunks.append((field.number, _varint(field.number << 3 | 2) + length + body))
            else:
                alone = type(message)(**{field.name: item})
                chunks.append((field.number, alone.SerializeToString()))
    return chunks


@st.composite
def encoded(draw: st.DrawFn, message: Message) -> bytes:
    """Draw bytes that mean a message: fields in any order, lengths padded, unknown fields between.

    Items of one repeated field keep their order, which means something.
    """
    chunks = _chunks(draw, message)
    chunks += [(0, extra) for extra in draw(st.lists(_unknown_fields, max_size=1))]
    queues: dict[int, deque[bytes]] = {}
    for number, chunk in chunks:
        queues.setdefault(number, deque()).append(chunk)
    order = draw(st.permutations([number for number, _ in chunks]))
    return b"".join(queues[number].popleft() for number in order)
