"""Finished spans become the OTLP message that OpenTelemetry's own encoder makes of them."""

from __future__ import annotations

import enum
import logging
import subprocess
import sys
from collections import UserDict, UserList
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace.span import TraceState

from tracekit.otlp.span_encoder import encode

texts = st.one_of(
    st.sampled_from(["", "stop", "gpt-4o", "é", "日本語 🙂"]),
    st.text(max_size=20),
    st.sampled_from([*range(100, 140), 1 << 14]).map("x".__mul__),  # lengths of 1, 2 and 3 bytes
)
scalars = st.one_of(
    texts,
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, 300),
    st.booleans(),
    st.floats(allow_nan=False),  # nan equals nothing, itself included
    st.sampled_from([1, 1.0, True, 0, 0.0, -0.0, False]),
    st.binary(max_size=20),
    st.none(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts, inner, max_size=3),
    ),
    max_leaves=6,
)
keys = st.one_of(
    st.sampled_from(["gen_ai.usage.input_tokens", "gen_ai.response.finish_reasons", "k"]),
    st.text(min_size=1, max_size=20),
)
mappings = st.dictionaries(keys, values, max_size=5)
attributes = st.one_of(
    st.none(),
    mappings,
    mappings.map(lambda items: BoundedAttributes(maxlen=3, attributes=items, immutable=True)),
)
times = st.one_of(st.none(), st.integers(0, (1 << 64) - 1))
states = st.dictionaries(
    st.sampled_from(["ot", "vendor", "a"]), st.sampled_from(["th:8", "1", "x y"]), max_size=3
).map(lambda items: TraceState(list(items.items())))
contexts = st.builds(
    SpanContext,
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
    states,
)
events = st.builds(Event, texts, attributes, st.integers(0, (1 << 63) - 1))
links = st.builds(Link, contexts, attributes)
statuses = st.one_of(
    st.sampled_from([Status(StatusCode.UNSET), Status(StatusCode.OK)]),
    st.builds(Status, st.just(StatusCode.ERROR), st.one_of(st.none(), texts)),
)
resources = st.sampled_from(
    [
        Resource({"service.name": "shop"}, "https://example.com/schema"),
        Resource({"service.name": "shop"}, "https://example.com/schema"),  # equal, not the same
        Resource({"service.name": "shop", "process.pid": 7}),
        Resource({}),
    ]
)
scopes = st.sampled_from(
    [
        InstrumentationScope("tracekit", "0.1"),
        InstrumentationScope("tracekit", "0.1"),
        InstrumentationScope("lib", None, "https://example.com/schema", {"a": True}),
        InstrumentationScope(""),
        None,
    ]
)


def bounded(items: list[Any]) -> BoundedList[Any]:
    return BoundedList.from_seq(2, items)


spans = st.builds(
    ReadableSpan,
    texts,
    contexts,
    st.one_of(st.none(), contexts),
    resources,
    attributes,
    st.one_of(st.lists(events, max_size=3), st.lists(events, max_size=4).map(bounded)),
    st.one_of(st.lists(links, max_size=3), st.lists(links, max_size=4).map(bounded)),
    st.sampled_from(SpanKind),
    st.none(),
    statuses,
    times,
    times,
    scopes,
)


def parsed(batch: list[ReadableSpan]) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(encode(batch))


def with_value(value: Any) -> ReadableSpan:
    """Return a span with an attribute that no SDK looked at before."""
    context = SpanContext(1, 2, is_remote=False)
    return ReadableSpan("step", context, attributes={"before": 1, "value": value, "after": 2})


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(spans, max_size=6))
def test_any_batch_parses_to_the_official_message(batch: list[ReadableSpan]) -> None:
    """Every field, type of value, grouping and order is that of OpenTelemetry's encoder."""
    assert parsed(batch) == encode_spans(batch)


def test_spans_of_the_sdk_parse_to_the_official_message() -> None:
    """Spans that went through a tracer, with exceptions, links and things dropped for a limit."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(2, 2, 2, 2, 2, 5))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("lib", "1")
    outer = tracer.start_span("outer", attributes={"tags": ["a", "b"]})
    links_to = [Link(outer.get_span_context(), {"why": "x"})] * 3
    inner = tracer.start_span("inner", set_span_in_context(outer), links=links_to)
    inner.set_attribute("long", "more than five")
    for number in range(4):
        inner.add_event("tick", {"number": number})
    inner.record_exception(KeyError("gone"))
    inner.end()
    outer.end()
    batch = list(kept.get_finished_spans())
    assert parsed(batch) == encode_spans(batch)


def test_no_spans_are_no_bytes() -> None:
    """An empty batch is an empty request."""
    assert encode([]) == b""


class _Level(enum.IntEnum):
    HIGH = 3


class _Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value", [_Level.HIGH, _Name("n"), UserList(["a", 1]), UserDict({"a": b"\x00"}), range(3)]
)
def test_relatives_of_known_types_are_written_as_those(value: Any) -> None:
    """Enumerations, named strings, and whatever acts as a sequence or mapping."""
    assert parsed([with_value(value)]) == encode_spans([with_value(value)])


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1, [1, 1 << 64], object(), {1, 2}])
def test_a_value_without_a_place_is_left_out(
    value: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The other attributes of the span are there; the log names the one that is not."""
    with caplog.at_level(logging.WARNING, "tracekit"):
        (group,) = parsed([with_value(value)]).resource_spans
    (found,) = group.scope_spans[0].spans
    assert [item.key for item in found.attributes] == ["before", "after"]
    assert "the attribute value is left out" in caplog.text


def test_text_that_is_no_unicode_is_written_with_question_marks() -> None:
    """Half of a surrogate pair, as cut strings have, does not lose the span."""
    (group,) = parsed([with_value("half \ud83d of it")]).resource_spans
    assert group.scope_spans[0].spans[0].attributes[1].value.string_value == "half ? of it"


def test_many_values_of_a_key_do_not_pile_up() -> None:
    """Spans are right also when more keys and values were seen than are remembered."""
    batch = [with_value(f"id-{number}") for number in range(200)]
    context = SpanContext(1, 3, is_remote=False)
    many = {f"key-{number}": number for number in range(5000)}
    batch.append(ReadableSpan("wide", context, attributes=many))
    assert parsed(batch) == encode_spans(batch)


def test_the_encoder_is_light() -> None:
    """Importing it in an application loads none of the analysis libraries."""
    code = (
        "import sys, tracekit.inbox, tracekit.otlp.span_encoder, "
        "tracekit.instrumentation.lake_exporter\n"
        "heavy = {'numpy', 'pyarrow', 'duckdb', 'numba', 'pydantic', 'yaml', 'google.protobuf'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
