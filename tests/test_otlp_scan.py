"""The scanner against the protobuf library, on generated, recorded and broken requests."""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress

import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_build import request, span
from strategies import encoded, requests

from tracekit.errors import InputError
from tracekit.otlp.encode import select
from tracekit.otlp.reference import scan_reference
from tracekit.otlp.scan import scan
from tracekit.otlp.varints import varint

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def plain(table: pa.Table) -> dict[str, list[object]]:
    """Return a table as lists, so that dictionaries with other numbering compare equal."""
    return {name: table.column(name).to_pylist() for name in table.column_names}


def assert_same(data: bytes, key: int = 0) -> None:
    expected = scan_reference(data, key)
    got = scan(data, key).table
    assert got.schema.equals(expected.schema)
    for name, column in plain(expected).items():
        assert got.column(name).to_pylist() == column, name


@SLOW
@given(message=requests(), key=st.integers(0, 2**64 - 1))
def test_scanner_equals_the_reference_on_generated_requests(
    message: ExportTraceServiceRequest, key: int
) -> None:
    """Every column of every generated request is what the protobuf library says."""
    assert_same(message.SerializeToString(), key)


@SLOW
@given(data=requests().flatmap(encoded), key=st.integers(0, 2**64 - 1))
def test_scanner_equals_the_reference_however_a_request_is_spelt(data: bytes, key: int) -> None:
    """Shuffled fields, padded lengths and unknown fields change nothing."""
    assert_same(data, key)


@SLOW
@given(messages=st.lists(requests(), min_size=2, max_size=3))
def test_concatenated_requests_scan_as_one(messages: list[ExportTraceServiceRequest]) -> None:
    """Requests one behind the other are one request, as protobuf has it."""
    assert_same(b"".join(message.SerializeToString() for message in messages))


def _shuffled(fields: list[bytes], order: list[int]) -> bytes:
    return b"".join(fields[i] for i in order)


@given(order=st.permutations(range(4)))
def test_fields_may_come_in_any_order(order: list[int]) -> None:
    """A resource or scope behind the spans that use it counts all the same."""
    message = ExportTraceServiceRequest.FromString(
        request([span("a", {"gen_ai.request.model": "m"})], resource={"service.name": "svc"})
    )
    resource_spans = message.resource_spans[0]
    scope_spans = resource_spans.scope_spans[0].SerializeToString()
    pieces = [
        b"\x0a" + varint(len(body)) + body for body in [resource_spans.resource.SerializeToString()]
    ]
    pieces += [b"\x12" + varint(len(scope_spans)) + scope_spans]
    pieces += [b"\x1a\x03url", b"\xa2\x06\x02xx"]
    body = _shuffled(pieces, order)
    data = b"\x0a" + varint(len(body)) + body
    assert_same(data)
    assert scan(data).table.column("service_name").to_pylist() == ["svc"]


@SLOW
@given(message=requests(), data=st.data())
def test_selected_spans_leave_as_they_came(
    message: ExportTraceServiceRequest, data: st.DataObject
) -> None:
    """A selection holds the chosen spans' bytes and everything of their resource and scope."""
    message.resource_spans.add().schema_url = "https://example.org/empty"
    scanned = scan(message.SerializeToString())
    rows = (
        data.draw(st.lists(st.integers(0, scanned.spans - 1), unique=True).map(sorted))
        if (scanned.spans)
        else []
    )
    chosen = scan(select(scanned, rows))
    assert [bytes(chosen.span_bytes(i)) for i in range(chosen.spans)] == [
        bytes(scanned.span_bytes(i)) for i in rows
    ]
    assert plain(chosen.table) == plain(scanned.table.take(rows or pa.array([], pa.int64())))


def test_unknown_fields_survive_a_selection() -> None:
    """Bytes of fields that no version knows yet are sent on."""
    unknown = b"\xa2\x1f\x05hello"
    message = ExportTraceServiceRequest.FromString(request([span("a"), span("b")]))
    spans = message.resource_spans[0].scope_spans[0].spans
    scope = b"".join(
        b"\x12" + varint(len(body)) + body
        for body in (s.SerializeToString() + unknown for s in spans)
    )
    scope += unknown
    resource = b"\x12" + varint(len(scope)) + scope + unknown
    data = b"\x0a" + varint(len(resource)) + resource
    assert select(scan(data), [0, 1]).count(unknown) == 4


BASE = request(
    [
        span(
            "chat gpt-4o",
            {
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.response.finish_reasons": ["stop"],
                "gen_ai.usage.input_tokens": 12,
                "nested": {"a": [1, {"b": "c"}]},
                "té": "ü" * 9,
            },
            events=[("exception", {"exception.type": "ValueError"})],
        ),
        span("execute_tool x", {"gen_ai.tool.name": "x"}),
    ],
    resource={"service.name": "svc"},
)


def outcome(data: bytes) -> dict[str, list[object]] | None:
    """Return what the scanner makes of bytes, or None where it refuses them."""
    try:
        return plain(scan(data).table)
    except InputError as error:
        if "at byte" not in str(error):  # a reason without its place is a defect
            raise
        return None


def judged(data: bytes) -> dict[str, list[object]] | None:
    """Return what the reference makes of bytes, or None where it or protobuf refuses them."""
    try:
        return plain(scan_reference(data))
    except (InputError, DecodeError):
        return None


@pytest.mark.parametrize("cut", range(1, len(BASE)))
def test_truncated_requests_are_refused(cut: int) -> None:
    """A request cut anywhere is an error with a reason and a position, unless it is still valid."""
    assert outcome(BASE[:cut]) == judged(BASE[:cut])


@SLOW
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_corrupted_requests_are_refused_or_read_right(edits: list[tuple[int, int]]) -> None:
    """Flipped bytes end in an error or in exactly the columns the protobuf library reads."""
    data = bytearray(BASE)
    for position, value in edits:
        data[position] = value
    got, expected = outcome(bytes(data)), judged(bytes(data))
    if got is not None and expected is not None:
        assert got == expected


class GuardPage:
    """Memory whose last byte lies before a page that kills the process when it is touched."""

    def __init__(self, pages: int = 16) -> None:
        self.size = pages * mmap.PAGESIZE
        self.map = mmap.mmap(-1, self.size + mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.map)) + self.size
        libc = ctypes.CDLL(None, use_errno=True)
        result = libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), 0)
        assert result == 0, "the page after the buffer could not be protected"

    def ending_with(self, data: bytes) -> memoryview:
        """Return a view of the data whose end is the end of the readable memory."""
        self.map[self.size - len(data) : self.size] = data
        return memoryview(self.map)[self.size - len(data) : self.size]


def test_nothing_is_read_past_the_end() -> None:
    """The scanner's unchecked loads stay inside the request, however it is cut."""
    page = GuardPage()
    for end in range(len(BASE) + 1):
        with suppress(InputError):
            assert scan(page.ending_with(BASE[:end])).table.num_rows >= 0


@SLOW
@given(data=requests(broken=True).flatmap(encoded))
def test_broken_spans_are_refused_by_both(data: bytes) -> None:
    """A request with an impossible id or time is refused where the reference refuses it."""
    assert outcome(data) == judged(data)


@pytest.mark.slow
@settings(SLOW, max_examples=5_000)
@given(data=requests(broken=True).flatmap(encoded), cut=st.integers(0, 400), flip=st.integers(0))
def test_scanner_survives_a_long_fuzz(data: bytes, cut: int, flip: int) -> None:
    """Thousands of generated requests, cut and flipped, end in an error or the right columns."""
    damaged = bytearray(data[: len(data) - cut] if cut < len(data) and flip % 3 == 0 else data)
    if damaged and flip % 2:
        damaged[flip % len(damaged)] ^= 1 << (flip % 8)
    got, expected = outcome(bytes(damaged)), judged(bytes(damaged))
    if got is not None and expected is not None:
        assert got == expected


@SLOW
@given(data=st.binary(max_size=400))
@example(b"\x0a\x80\x80\x80\x80\x08")
def test_random_bytes_never_crash(data: bytes) -> None:
    """Random bytes end in an error or in the columns the protobuf library reads."""
    got, expected = outcome(data), judged(data)
    if got is not None and expected is not None:
        assert got == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x0a" + varint(2**31) + b"x", "a length of 2 GB that is not there"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "the largest ten-byte length"),
        (b"\x0a" + b"\xff" * 10 + b"\x01", "an eleven-byte length"),
        (b"\x00\x00", "field number zero"),
        (b"\x0b\x0c", "a group"),
        (b"\x0f", "wire type seven"),
        (b"\x0a\x02\x12\x05", "a length past the end of its parent"),
    ],
)
def test_impossible_wire_data_is_refused(data: bytes, why: str) -> None:
    """Lengths past the end, groups and field zero are errors, found without allocating."""
    with pytest.raises(InputError, match=r"not valid protobuf, at byte \d+"):
        scan(data)
    assert why


def test_a_value_nested_too_deep_is_refused() -> None:
    """Deep nesting is an error, not a stack overflow."""
    body = b""
    for _ in range(70):
        body = b"\x0a" + varint(len(body)) + body  # the value of an array
        body = b"\x2a" + varint(len(body)) + body  # an array as a value
    attribute = b"\x0a\x01k\x12" + varint(len(body)) + body
    span_body = b"\x4a" + varint(len(attribute)) + attribute
    for tag in (b"\x12", b"\x12", b"\x0a"):
        span_body = tag + varint(len(span_body)) + span_body
    with pytest.raises(InputError, match="deeper than 64"):
        scan(span_body)


@pytest.mark.parametrize("field", ["name", "key", "value", "event", "scope", "status", "state"])
def test_invalid_utf8_never_reaches_a_column(field: str) -> None:
    """A text that is not UTF-8 refuses the request, wherever it stands."""
    data = bytearray(
        request(
            [span("NAMENAME", {"KEYKEYKEY": "VALUEVALUE"}, events=[("EVENTEVENT", {})])],
            scope="SCOPESCOPE",
        )
    )
    message = ExportTraceServiceRequest.FromString(bytes(data))
    one = message.resource_spans[0].scope_spans[0].spans[0]
    one.status.message, one.trace_state = "STATUSSTATUS", "STATESTATE"
    data = bytearray(message.SerializeToString())
    at = data.index(field.upper().encode())
    data[at + 2] = 0xC0
    with pytest.raises(InputError, match="not valid UTF-8"):
        scan(bytes(data))
    with pytest.raises(DecodeError):
        ExportTraceServiceRequest.FromString(bytes(data))


def test_more_symbols_than_expected_grow_the_table() -> None:
    """Thousands of distinct names scan as well as a few."""
    data = request([span(f"name {i}") for i in range(5000)])
    assert scan(data).table.column("name").to_pylist() == [f"name {i}" for i in range(5000)]


@SLOW
@given(messages=st.lists(requests(), min_size=2, max_size=4))
def test_tables_of_several_requests_join(messages: list[ExportTraceServiceRequest]) -> None:
    """Tables are valid Arrow whose dictionaries unify, whatever is null in them."""
    tables = [scan(message.SerializeToString()).table for message in messages]
    for table in tables:
        table.validate(full=True)
    joined = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    joined.validate(full=True)
    for name in joined.column_names:
        expected = [value for table in tables for value in table.column(name).to_pylist()]
        assert joined.column(name).to_pylist() == expected


def test_an_empty_request_has_no_rows() -> None:
    """No bytes are a valid request without spans."""
    table = scan(b"").table
    assert table.num_rows == 0
    assert table.schema.equals(scan_reference(b"").schema)


def framed(tag: bytes, *pieces: bytes) -> bytes:
    body = b"".join(pieces)
    return tag + varint(len(body)) + body


def test_a_broken_value_where_nobody_looks_is_refused() -> None:
    """What is accepted can be read later: a list below a link claims an item of 2**60 bytes."""
    huge = b"\xc2\x3e" + b"\x80" * 8 + b"\x10"
    items = framed(
        b"\x32", framed(b"\x0a", framed(b"\x12", framed(b"\x2a", framed(b"\x0a", huge))))
    )
    link = framed(b"\x6a", framed(b"\x22", framed(b"\x0a", b"k"), framed(b"\x12", items)))
    packed = {"mlflow.spanInputs": '{"messages": []}', "mlflow.trace.cost": '{"total_cost": 1}'}
    body = span("packed", packed).SerializeToString() + link
    data = framed(b"\x0a", framed(b"\x12", framed(b"\x12", body)))
    with pytest.raises(InputError, match=r"not valid protobuf, at byte \d+"):
        scan(data)
