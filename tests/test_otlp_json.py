"""OTLP/JSON as protobuf: what the specification says, and what tools write instead."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from strategies import requests

from tracekit.otlp.json_encoding import EncodingError, encode_request

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

IDS = ("traceId", "spanId", "parentSpanId")


def otlp_json(message: ExportTraceServiceRequest, *, snake: bool = False) -> dict[str, Any]:
    """Return a request as the JSON of the protobuf library, with ids in hex as OTLP has them."""
    plain = MessageToDict(
        message, use_integers_for_enums=not snake, preserving_proto_field_name=snake
    )
    document: dict[str, Any] = _hex_ids(plain, [*IDS, "trace_id", "span_id", "parent_span_id"])
    return document


def _hex_ids(value: Any, ids: list[str]) -> Any:
    if isinstance(value, list):
        return [_hex_ids(item, ids) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _hex(item) if key in ids else _hex_ids(item, ids) for key, item in value.items()}


def _hex(base64_text: str) -> str:
    return base64.b64decode(base64_text).hex()


def only_span(**fields: Any) -> Span:
    """Return the span that a JSON span becomes."""
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}
    request = ExportTraceServiceRequest.FromString(encode_request(document))
    return request.resource_spans[0].scope_spans[0].spans[0]


def only_value(value: Any) -> AnyValue:
    """Return the attribute value that a JSON value becomes."""
    return only_span(attributes=[{"key": "k", "value": value}]).attributes[0].value


@given(message=requests(broken=True))
def test_json_of_any_request_becomes_the_request_it_was_made_of(
    message: ExportTraceServiceRequest,
) -> None:
    """Encoding is the inverse of the protobuf library's own JSON, NaN and nesting included."""
    document = orjson.loads(orjson.dumps(otlp_json(message)))
    back = ExportTraceServiceRequest.FromString(encode_request(document))
    assert MessageToDict(back) == MessageToDict(message)


@given(message=requests())
def test_snake_case_keys_and_enum_names_mean_the_same(message: ExportTraceServiceRequest) -> None:
    """Tools that write protobuf's own field and enum names are understood."""
    back = ExportTraceServiceRequest.FromString(encode_request(otlp_json(message, snake=True)))
    assert MessageToDict(back) == MessageToDict(message)


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ({"intValue": "9223372036854775807"}, "int_value", (1 << 63) - 1),
        ({"intValue": -7}, "int_value", -7),
        ({"intValue": 5.0}, "int_value", 5),
        ({"doubleValue": 3}, "double_value", 3.0),
        ({"doubleValue": "-Infinity"}, "double_value", float("-inf")),
        ({"doubleValue": "2.5"}, "double_value", 2.5),
        ({"bytesValue": "_-8"}, "bytes_value", b"\xff\xef"),
        ({"bytesValue": "/+8="}, "bytes_value", b"\xff\xef"),
        ({"boolValue": False}, "bool_value", False),
        ({"stringValue": ""}, "string_value", ""),
        ({"string_value": "x"}, "string_value", "x"),
    ],
)
def test_values_are_read_in_every_spelling(value: Any, field: str, expected: object) -> None:
    """64-bit numbers come as text or number, doubles as words, bytes in either base64."""
    found = only_value(value)
    assert found.WhichOneof("value") == field
    assert getattr(found, field) == expected


def test_what_is_unknown_or_null_is_as_if_it_were_absent() -> None:
    """Fields of later versions of OTLP do not stop an import."""
    span = only_span(name="a", futureField={"x": 1}, traceState=None, kind="SPAN_KIND_CLIENT")
    assert (span.name, span.trace_state, span.kind) == ("a", "", 3)


def test_an_attribute_without_value_keeps_its_key() -> None:
    """An empty value is legal, and so is none."""
    span = only_span(
        attributes=[{"key": "a"}, {"key": "b", "value": {}}, {"key": "c", "value": None}]
    )
    assert [pair.key for pair in span.attributes] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"traceId": "xyz"}, "traceId: expected hex"),
        ({"traceId": 5}, "traceId: expected a string, found 5"),
        ({"kind": "SPAN_KIND_NEW"}, "kind: expected an integer"),
        ({"startTimeUnixNano": "-1"}, "startTimeUnixNano: -1 is out of range"),
        ({"startTimeUnixNano": True}, "startTimeUnixNano: expected an integer"),
        ({"attributes": {"a": 1}}, "attributes: expected an array"),
        ({"attributes": [{"key": "k", "value": {"intValue": "1.5"}}]}, "intValue: expected an int"),
        (
            {"attributes": [{"key": "k", "value": {"boolValue": "true"}}]},
            "boolValue: expected true",
        ),
        (
            {"attributes": [{"key": "k", "value": {"bytesValue": "?"}}]},
            "bytesValue: expected base64",
        ),
        ({"attributes": ["k"]}, "attributes: expected an object, found 'k'"),
        ({"events": [{"name": []}]}, "events: name: expected a string"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_path(fields: Any, message: str) -> None:
    """The error says which field is wrong, and what was found there."""
    with pytest.raises(EncodingError, match=f"resourceSpans: scopeSpans: spans: .*{message}"):
        only_span(**fields)


def test_values_nested_beyond_reason_are_refused() -> None:
    """A document made to exhaust the stack ends in an error, not in a crash."""
    value: Any = {"stringValue": "x"}
    for _ in range(2000):
        value = {"arrayValue": {"values": [value]}}
    with pytest.raises(EncodingError, match="nested too deeply"):
        only_value(value)
