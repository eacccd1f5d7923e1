"""The rules of the scanner, on its readable implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otlp_build import EPOCH_NS, key_values, request, span
from strategies import encoded, requests

from tracekit.errors import InputError
from tracekit.otlp.fingerprint import fingerprint
from tracekit.otlp.reference import scan_reference
from tracekit.schema import arrow_schema, attribute_columns, scanned_columns

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENT = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # drawing a whole request takes its time on a busy machine


def row(one: Span, **around: Any) -> dict[str, Any]:
    """Return the scanned columns of one span that are not null."""
    (result,) = scan_reference(request([one], **around)).to_pylist()
    return {name: value for name, value in result.items() if value is not None}


def test_wire_fields_become_columns() -> None:
    """Every field of the span message that has a column is in it, in hexadecimal or words."""
    other = span(trace=7, span_id=9)
    parent = span(trace=0xABC, span_id=0xDEF)
    child = span("chat", parent=parent, kind="client", status="error", start=2, end=2.5)
    child.links.add(trace_id=other.trace_id, span_id=other.span_id)
    child.trace_state = "ot=th:c"
    assert row(child, scope="my.scope") | {"span_id": "?"} == {
        "trace_id": f"{0xABC:032x}",
        "span_id": "?",
        "parent_span_id": f"{0xDEF:016x}",
        "link_trace_id": f"{7:032x}",
        "link_span_id": f"{9:016x}",
        "trace_state": "ot=th:c",
        "name": "chat",
        "span_kind": "client",
        "scope_name": "my.scope",
        "start_ns": EPOCH_NS + 2_000_000_000,
        "end_ns": EPOCH_NS + 2_500_000_000,
        "status": "error",
    }


def test_what_a_span_does_not_say_is_null() -> None:
    """A bare span has ids, name, kind, start and status, and nothing else."""
    bare = span("", end=None, parent=bytes(8))
    assert set(row(bare)) == {"trace_id", "span_id", "name", "span_kind", "start_ns", "status"}


def test_unknown_kinds_and_statuses_are_the_unset_ones() -> None:
    """Numbers that no version of OTLP had when this was written are not guessed at."""
    odd = span()
    odd.kind = 77  # type: ignore[assignment]
    odd.status.code = -1  # type: ignore[assignment]
    assert (row(odd)["span_kind"], row(odd)["status"]) == ("unspecified", "unset")


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("trace_id", b"", "trace id"),
        ("trace_id", bytes(16), "trace id"),
        ("trace_id", b"\1" * 15, "trace id"),
        ("span_id", bytes(8), "span id"),
        ("span_id", b"\1" * 9, "span id"),
        ("parent_span_id", b"\1" * 3, "parent span id"),
        ("start_time_unix_nano", 1 << 63, "start"),
        ("end_time_unix_nano", 1 << 63, "end"),
    ],
)
def test_malformed_span_is_refused(field: str, value: Any, complaint: str) -> None:
    """A span no one can place is an error that says what is wrong with it."""
    bad = span("some name")
    setattr(bad, field, value)
    with pytest.raises(InputError, match=f"'some name': {complaint}"):
        scan_reference(request([span(), bad]))


@pytest.mark.parametrize("data", [b"\x0a\x05", b"%PDF-1.7 not a trace", b"\xff" * 20])
def test_bytes_that_are_no_request_are_refused(data: bytes) -> None:
    """Bytes of another format are an input error."""
    with pytest.raises(InputError, match="no OTLP trace request"):
        scan_reference(data)


def test_link_with_bad_ids_is_left_out() -> None:
    """A malformed link does not spoil its span, and the next link does not stand in for it."""
    linked = span(links=[span(), span()])
    linked.links[0].trace_id = b"short"
    assert not {"link_trace_id", "link_span_id"} & set(row(linked))


def test_span_comes_before_scope_before_resource() -> None:
    """An attribute of the span beats one of the scope, which beats one of the resource."""
    around = {"resource": {"session.id": "r"}, "scope_attributes": {"session.id": "c"}}
    assert row(span(attributes={"session.id": "s"}), **around)["session_key"] == "s"
    assert row(span(), **around)["session_key"] == "c"
    assert row(span(), resource={"session.id": "r"})["session_key"] == "r"


def test_worst_alias_of_the_span_beats_the_best_of_the_resource() -> None:
    """The level counts before the rank."""
    one = span(attributes={"langsmith.metadata.conversation_id": "s"})
    assert row(one, resource={"tracekit.session.id": "r"})["session_key"] == "s"


def test_better_alias_wins_whatever_the_order() -> None:
    """Within a level the alias of better rank wins, wherever it stands."""
    both = {"session.id": "a", "gen_ai.conversation.id": "b"}
    swapped = dict(reversed(both.items()))
    assert {row(span(attributes=attributes))["session_key"] for attributes in (both, swapped)} == {
        "b"
    }


def test_last_of_two_equal_keys_wins() -> None:
    """Of a repeated key the last usable value counts."""
    twice = span()
    for value in ("a", "b", ""):
        twice.attributes.extend(key_values({"session.id": value}))
    assert row(twice)["session_key"] == "b"


def test_value_a_column_cannot_hold_is_as_if_absent() -> None:
    """An alias with an unusable value gives way to the next one."""
    attributes = {"gen_ai.usage.input_tokens": "many", "gen_ai.usage.prompt_tokens": 12}
    assert row(span(attributes=attributes))["usage_input"] == 12


def test_event_attributes_count_in_their_event_only() -> None:
    """An alias of an event reads that event, the last of several, and no other attribute."""
    events = [
        ("exception", {"exception.type": "A"}),
        ("exception", {"exception.type": "B"}),
        ("log", {"exception.type": "C", "session.id": "D"}),
    ]
    scanned = row(span(events=events))
    assert scanned["error_type"] == "B"
    assert "session_key" not in scanned


def test_packed_values_fill_only_what_no_alias_filled() -> None:
    """A value unpacked from JSON yields to a plain attribute, even to one of the resource."""
    packed = span(attributes={"langfuse.observation.cost_details": '{"total": 0.5}'})
    assert row(packed)["cost_reported"] == 0.5
    assert row(packed, resource={"operation.cost": 0.25})["cost_reported"] == 0.25


def test_one_key_can_feed_several_columns() -> None:
    """The output of an entity is both content and a fingerprint."""
    scanned = row(span(attributes={"gen_ai.output.messages": "[]"}))
    assert scanned["output_content"] == "[]"
    assert scanned["output_hash"] == fingerprint(b"[]")


def test_fingerprints_take_the_key() -> None:
    """The key given to the scan keys the hash columns."""
    data = request([span(attributes={"gen_ai.tool.call.arguments": "{}"})])
    (hashed,) = scan_reference(data, key=99).column("tool_args_hash").to_pylist()
    assert hashed == fingerprint(b"{}", 99)


def test_dialect_mark_is_read_from_the_span_itself() -> None:
    """A fingerprint on a resource, scope or event marks no span; an unusable value does."""
    assert "dialect_mark" not in row(
        span(events=[("e", {"traceloop.span.kind": "x"})]),
        resource={"traceloop.span.kind": "x"},
        scope_attributes={"traceloop.span.kind": "x"},
    )
    assert row(span(attributes={"traceloop.span.kind": None}))["dialect_mark"] == "openllmetry"


def test_empty_request_gives_an_empty_table() -> None:
    """No spans, no rows, the same columns."""
    table = scan_reference(b"")
    assert (table.num_rows, table.schema) == (0, arrow_schema(scanned_columns()))


@PATIENT
@given(st.data())
def test_rows_are_the_same_however_a_message_is_spelt(data: st.DataObject) -> None:
    """Field order, padded lengths and unknown fields change nothing; concatenation adds rows."""
    message = data.draw(requests())
    expected = scan_reference(message.SerializeToString())
    spelt = data.draw(encoded(message))
    assert scan_reference(spelt).equals(expected)
    assert scan_reference(spelt + spelt).num_rows == 2 * expected.num_rows


@PATIENT
@given(requests(broken=True))
def test_any_request_is_scanned_or_refused(message: ExportTraceServiceRequest) -> None:
    """Whatever spans say, the result is one row each, or an input error."""
    try:
        table = scan_reference(message.SerializeToString())
    except InputError:
        return
    spans = sum(len(s.spans) for r in message.resource_spans for s in r.scope_spans)
    assert table.num_rows == spans
    assert table.column_names[-1] == attribute_columns()[-1].name
