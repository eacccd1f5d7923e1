"""What a policy takes out of kept sessions leaves everything else byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_build import any_value, key_values, request, span
from strategies import encoded, requests

from samplers.policy import parse
from samplers.policy_limits import Step
from samplers.strip import Ladder, Strip
from tracekit.otlp.append import append
from tracekit.otlp.encode import length_delimited
from tracekit.otlp.rewrite import rewritten
from tracekit.otlp.scan import scan
from tracekit.otlp.varints import read_varint, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    Attributes = RepeatedCompositeFieldContainer[KeyValue]

SLOW = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))

NAMES = ("gen_ai.usage.input_tokens", "gen_ai.*", "llm.*", "a*", "exception.message", "é")
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2)
steps = st.one_of(
    st.builds(lambda found: {"redact": found}, names),
    st.builds(lambda found: {"remove": found}, names),
    st.builds(lambda found: {"remove_events": found}, st.just(["exception", "gen_ai.*"])),
    st.builds(
        lambda found, size: {"truncate": {"attributes": found, "bytes": size}},
        st.one_of(names, st.just(["*"])),
        st.integers(0, 12),
    ),
)


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


def cut(value: AnyValue, size: int) -> None:
    """Cut the texts of a value, a character at a time."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        text = value.string_value
        while len(text.encode()) > size:
            text = text[:-1]
        value.string_value = text
    for item in value.array_value.values if kind == "array_value" else ():
        cut(item, size)
    for pair in value.kvlist_value.values if kind == "kvlist_value" else ():
        cut(pair.value, size)


def applied(attributes: Attributes, step: dict[str, Any]) -> None:
    """Do to the attributes of a message what a step says, over the protobuf library."""
    if "remove" in step:
        left = [pair for pair in attributes if not matches(pair.key, step["remove"])]
        del attributes[:]
        attributes.extend(left)
    for pair in attributes:
        if "redact" in step and matches(pair.key, step["redact"]):
            pair.value.string_value = "[redacted]"
        if "truncate" in step and matches(pair.key, step["truncate"]["attributes"]):
            cut(pair.value, step["truncate"]["bytes"])


def expected(raw: bytes, chosen: list[dict[str, Any]]) -> ExportTraceServiceRequest:
    """Return what the library makes of a request and of some steps."""
    message = ExportTraceServiceRequest.FromString(raw)
    for step in chosen:
        for group in message.resource_spans:
            applied(group.resource.attributes, step)
            for scope in group.scope_spans:
                applied(scope.scope.attributes, step)
                for one in scope.spans:
                    applied(one.attributes, step)
                    events = [
                        event
                        for event in one.events
                        if not matches(event.name, step.get("remove_events", ()))
                    ]
                    del one.events[:]
                    one.events.extend(events)
                    inner: list[Any] = [*one.events, *one.links]
                    for each in inner:
                        applied(each.attributes, step)
    return message


@SLOW
@given(
    message=requests(max_spans=2), chosen=st.lists(steps, min_size=1, max_size=3), data=st.data()
)
def test_the_library_agrees_on_what_changed(
    message: ExportTraceServiceRequest, chosen: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Whatever the spelling of a request, it means afterwards what the steps say, no more."""
    raw = data.draw(encoded(message))
    out = Strip([Step.model_validate(step) for step in chosen])(raw)
    got, wanted = ExportTraceServiceRequest.FromString(out), expected(raw, chosen)
    # NaN equals nothing, and the presence of an empty message is no difference worth a rewrite.
    assert flat(got) == flat(wanted)
    assert scan(out).spans == scan(raw).spans


def flat(message: ExportTraceServiceRequest) -> list[bytes]:
    """Return the resources, scopes and spans of a request, each as bytes of one spelling."""
    return [
        part
        for group in message.resource_spans
        for part in (
            group.resource.SerializeToString(deterministic=True),
            *(
                piece.SerializeToString(deterministic=True)
                for scope in group.scope_spans
                for piece in (scope.scope, *scope.spans)
            ),
        )
    ]


def chunks(data: bytes) -> list[tuple[int, bytes]]:
    """Return the fields of a message, each with its number and all of its bytes."""
    found, at = [], 0
    while at < len(data):
        start = at
        tag, at = read_varint(data, at)
        match tag & 7:
            case 0:
                _, at = read_varint(data, at)
            case 2:
                size, at = read_varint(data, at)
                at += size
            case kind:
                at += {1: 8, 5: 4}[kind]
        found.append((tag >> 3, data[start:at]))
    return found


@SLOW
@given(requests(max_spans=2), steps, st.data())
def test_what_no_step_speaks_of_stays_byte_for_byte(
    message: ExportTraceServiceRequest, chosen: dict[str, Any], data: st.DataObject
) -> None:
    """Attributes of other keys, and fields of a span that hold no attributes, are as they were."""
    raw = data.draw(encoded(message))
    before, after = scan(raw), scan(Strip([Step.model_validate(chosen)])(raw))
    step = Step.model_validate(chosen)

    def is_reached(number: int, chunk: bytes) -> bool:
        if number == 9:
            pairs = Span.FromString(chunk).attributes
            return any(matches(pair.key, step.keys) for pair in pairs)
        return number in {11, 13}

    for row in range(before.spans):
        old, new = (
            [chunk for chunk in chunks(bytes(which.span_bytes(row))) if not is_reached(*chunk)]
            for which in (before, after)
        )
        assert old == new


def one(attributes: dict[str, Any], **more: Any) -> bytes:
    return request([span("chat", attributes, **more)])


def wrapped(data: bytes) -> bytes:
    """Return a span's bytes as a request."""
    scope = b"".join(length_delimited(0x12, data))
    return b"".join(length_delimited(0x0A, *length_delimited(0x12, scope)))


def stripped(raw: bytes, *chosen: dict[str, Any]) -> Span:
    out = Strip([Step.model_validate(step) for step in chosen])(raw)
    return ExportTraceServiceRequest.FromString(out).resource_spans[0].scope_spans[0].spans[0]


def values(message: Any) -> dict[str, Any]:
    return {pair.key: pair.value for pair in message.attributes}


@pytest.mark.parametrize(
    ("text", "size", "left"),
    [
        ("abc", 2, "ab"),
        ("abc", 3, "abc"),
        ("aé", 2, "a"),
        ("aé", 3, "aé"),
        ("日本", 5, "日"),
        ("🙂", 3, ""),
        ("x", 0, ""),
        ("e\u0301", 2, "e"),
    ],
)
def test_texts_are_cut_between_characters(text: str, size: int, left: str) -> None:
    """A text is cut to at most so many bytes of UTF-8, also inside lists and maps."""
    nested = {"k": [text, 7, {"in": text}]}
    found = values(
        stripped(one(nested | {"t": text}), {"truncate": {"attributes": ["*"], "bytes": size}})
    )
    assert found["t"].string_value == left
    assert found["k"] == any_value([left, 7, {"in": left}])


def test_secrets_are_scrubbed() -> None:
    """Known secrets, and patterns of the policy's own, are taken out of texts, at any depth."""
    raw = one(
        {"in": "mail a@example.com, order ORD-12", "deep": [{"x": "ORD-7"}], "n": 5},
        events=[("exception", {"exception.message": "no ORD-9"})],
    )
    scrub = {"scrub": {"patterns": {"order": r"ORD-\d+"}, "without": ["email"]}}
    found = stripped(raw, scrub)
    assert values(found)["in"].string_value == "mail a@example.com, order [redacted:order]"
    assert values(found)["deep"] == any_value([{"x": "[redacted:order]"}])
    assert values(found)["n"].int_value == 5
    assert found.events[0].attributes[0].value.string_value == "no [redacted:order]"


def test_the_message_of_a_status_is_scrubbed() -> None:
    """What an exception said stands there once more."""
    message = span("chat", status="error")
    message.status.message = "no user a@example.com"
    found = stripped(request([message]), {"scrub": {"attributes": ["none"]}})
    assert found.status.message == "no user [redacted:email]"
    assert found.status.code == 2


def test_a_redacted_value_is_gone_whatever_it_was() -> None:
    """A number, a list and a value spelt in two parts have a mark in their place."""
    twice = KeyValue(key="x", value=any_value("secret")).SerializeToString()
    twice += KeyValue(key="gen_ai.prompt").SerializeToString() + b"\x12\x00"
    message = span("chat", {"user.id": 7, "list": ["secret"], "stays": "s"})
    raw = request(
        [Span.FromString(message.SerializeToString() + b"\x4a" + varint(len(twice)) + twice)]
    )
    found = stripped(raw, {"redact": ["user.id", "list", "gen_ai.*"]})
    assert {key: value.string_value for key, value in values(found).items()} == {
        "user.id": "[redacted]", "list": "[redacted]", "stays": "s", "gen_ai.prompt": "[redacted]",
    }  # fmt: skip


def test_resources_and_scopes_are_reached() -> None:
    """An identity on the resource or the scope is taken out like one on a span."""
    raw = request([span("chat", {"user.id": "u"})], {"user.id": "u"}, "lib", {"user.id": "u"})
    out = ExportTraceServiceRequest.FromString(Strip([Step(remove=("user.id",))])(raw))
    (group,) = out.resource_spans
    assert not group.resource.attributes
    assert not group.scope_spans[0].scope.attributes
    assert not group.scope_spans[0].spans[0].attributes


TOLD = {
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.request.model": "gpt-4.1",
    "gen_ai.tool.name": "search",
    "tracekit.stop.reason": "completed.verified",
    "tracekit.cost.usd": 0.25,
    "error.type": "timeout",
}
PAYLOAD = {
    "gen_ai.input.messages": "[...]",
    "gen_ai.output.messages": "[...]",
    "gen_ai.tool.call.arguments": "{}",
    "gen_ai.tool.call.result": "ok",
    "gen_ai.prompt.0.content": "hi",
    "input.value": "hi",
    "metadata": '{"tenant_id": "acme", "note": "hi"}',
    "my.note": "hi",
}


def test_a_skeleton_tells_structure_stop_and_cost() -> None:
    """Ids, times, kinds, status, tokens, stop and cost stay; captured content and free text go."""
    message = span(
        "chat",
        TOLD | PAYLOAD,
        events=[("exception", {"exception.type": "E", "exception.message": "hi"})],
        status="error",
        trace_state="ot=th:8",
        links=[span("other", trace=5)],
    )
    message.status.message = "hi"
    raw = request([message], {"service.name": "shop", "my.note": "stays"})
    found = stripped(raw, {"skeleton": True})
    assert values(found) == {pair.key: pair.value for pair in key_values(TOLD)}
    assert [(event.name, [pair.key for pair in event.attributes]) for event in found.events] == [
        ("exception", ["exception.type"])
    ]
    assert (found.status.code, found.status.message) == (2, "")
    for name in ("name", "kind", "start_time_unix_nano", "end_time_unix_nano", "links", "trace_id"):
        assert getattr(found, name) == getattr(message, name)
    assert b"stays" in Strip([Step(skeleton=True)])(raw)


def test_a_request_without_such_keys_is_not_even_copied() -> None:
    """Where no key of the steps occurs the very same object comes back."""
    raw = one({"a": 1})
    assert Strip([Step(redact=("user.id",)), Step(remove_events=("x",))])(raw) is raw


@given(st.binary(max_size=30))
def test_rewriting_nothing_returns_the_same_bytes(extra: bytes) -> None:
    """Edits that leave their field alone, or speak of none that is there, change nothing."""
    raw = append(span("chat", {"a": extra}).SerializeToString(), None, {"b": 1})
    edits: dict[int, Callable[[bytes], bytes | None]] = {9: lambda data: data, 77: lambda _: None}
    assert rewritten(raw, edits) is raw


LADDER = """
name: p
strip: [{redact: [user.id]}]
degrade:
  - {name: short, above: 1.2, steps: [{remove: [gen_ai.input.messages]}]}
  - {name: bare, above: 3, steps: [{skeleton: true}]}
"""


def test_a_level_includes_those_before_it() -> None:
    """`strip` always applies, a level adds to the weaker ones, and one too high is the last."""
    ladder = Ladder(parse("p", LADDER))
    raw = one({"user.id": "u", "gen_ai.input.messages": "m", "gen_ai.output.messages": "m"})
    found = []
    for level in (0, 1, 2, 9):
        leaving = ladder.at(level)
        assert leaving.strip is not None
        out = ExportTraceServiceRequest.FromString(leaving.strip(raw))
        (message,) = out.resource_spans[0].scope_spans[0].spans
        found.append((leaving.level, len(values(message)), values(message)["user.id"]))
    mark = any_value("[redacted]")
    assert found == [("", 3, mark), ("short", 2, mark), ("bare", 1, mark), ("bare", 1, mark)]
    assert Ladder(parse("p", "name: p")).at(0).strip is None
