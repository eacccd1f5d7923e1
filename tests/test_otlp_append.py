"""Spans leave as they came, with a merged tracestate and attributes appended."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_build import key_values, span
from strategies import encoded, requests, spans

from tracekit.otlp.append import Stage, append, encode_attributes, merged, suffixes
from tracekit.otlp.encode import length_delimited, select
from tracekit.otlp.scan import scan
from tracekit.otlp.tracestate import ALWAYS, NEVER, encode_randomness, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))

ADDED: Mapping[str, str | int | float | bool] = {
    "tracekit.sampling.policy": "errors é",
    "tracekit.sampling.probability": 0.25,
    "tracekit.sampling.sessions": -7,
    "tracekit.sampling.late": True,
}

HIGH = 0xF0000000000000
"""An R that most thresholds keep."""


def wrapped(data: bytes) -> bytes:
    """Return a span's bytes as a request."""
    scope = b"".join(length_delimited(0x12, data))
    return b"".join(length_delimited(0x0A, *length_delimited(0x12, scope)))


def unknown_fields(message: Span) -> list[object]:
    fields: Any = UnknownFieldSet(message)  # its stub forgets that it iterates
    return [field.data for field in fields]


def stages(randomness: int) -> st.SearchStrategy[Stage]:
    thresholds = st.one_of(st.none(), st.just(ALWAYS), st.integers(0, NEVER - 1))
    values = st.one_of(st.just(randomness), st.integers(0, NEVER - 1))
    return st.builds(Stage, thresholds, values)


def own_randomness(message: Span) -> int:
    said = read(message.trace_state).randomness
    return int.from_bytes(message.trace_id[-7:], "big") if said is None else said


@SLOW
@given(message=spans(), data=st.data())
def test_library_reads_what_was_appended_and_all_else_as_it_was(
    message: Span, data: st.DataObject
) -> None:
    """The protobuf library sees the merged tracestate, the attributes at the end, and no change."""
    stage = data.draw(stages(own_randomness(message)))
    raw = data.draw(encoded(message))
    out = append(raw, stage, ADDED)
    assert out.startswith(raw)
    expected = Span.FromString(raw)
    expected.attributes.extend(key_values(ADDED))
    expected.trace_state = merged(
        message.trace_state, int.from_bytes(message.trace_id, "big"), stage
    )
    got = Span.FromString(out)
    assert got == expected or got.SerializeToString() == expected.SerializeToString()  # NaN
    assert unknown_fields(got) == unknown_fields(Span.FromString(raw))


@SLOW
@given(message=spans(), data=st.data())
def test_scanner_reads_what_was_appended(message: Span, data: st.DataObject) -> None:
    """The project's own decoder agrees with the library about the tracestate that counts."""
    stage = data.draw(stages(own_randomness(message)))
    out = append(data.draw(encoded(message)), stage, ADDED)
    scanned = scan(wrapped(out)).table
    assert (scanned["trace_state"][0].as_py() or "") == Span.FromString(out).trace_state
    assert scanned["sampling_policy"][0].as_py() == "errors é"
    assert scanned["sampling_probability"][0].as_py() == 0.25


@SLOW
@given(message=requests(), data=st.data())
def test_many_spans_at_once_are_the_same_as_one_by_one(
    message: ExportTraceServiceRequest, data: st.DataObject
) -> None:
    """Appending to rows of a request gives each span the bytes it would get alone."""
    scanned = scan(message.SerializeToString())
    rows = sorted(data.draw(st.sets(st.integers(0, scanned.spans - 1)))) if scanned.spans else []
    stage = data.draw(st.one_of(st.none(), stages(HIGH)))
    out = scan(select(scanned, rows, suffixes(scanned, rows, stage, ADDED)))
    assert [bytes(out.span_bytes(i)) for i in range(out.spans)] == [
        append(scanned.span_bytes(row), stage, ADDED) for row in rows
    ]


@given(
    members=st.lists(st.sampled_from(["a=1", "vendor@x=é", "b=ot:1"]), unique=True),
    at=st.integers(0, 3),
    randomness=st.integers(0, NEVER - 1),
    before=st.one_of(st.none(), st.integers(0, NEVER - 1)),
    chosen=st.integers(1, NEVER - 1),
)
def test_threshold_is_only_raised(
    members: list[str], at: int, randomness: int, before: int | None, chosen: int
) -> None:
    """What comes out is the larger threshold, the same rv, an unknown sub-key, and all others."""
    ot = f"rv:{encode_randomness(randomness)};x:y"
    if before is not None:
        ot = f"th:{format(before, '014x')};{ot}"
    state = ",".join([*members[:at], f"ot={ot}", *members[at:]])
    after = merged(state, 1, Stage(chosen, randomness))
    kept = [member for member in after.split(",") if not member.startswith("ot=")]
    assert kept == members
    result = read(after)
    assert (result.randomness, result.rest) == (randomness, ("x:y",))
    if randomness < max(chosen, before or 0):
        assert result.threshold is None
    else:
        assert result.threshold == max(chosen, before or 0)


@pytest.mark.parametrize(
    ("state", "stage", "after"),
    [
        ("ot=th:8;rv:f0000000000000", Stage(None, HIGH), "ot=rv:f0000000000000"),
        ("ot=th:8;rv:f0000000000000", Stage(ALWAYS, 5), "ot=th:8;rv:f0000000000000"),
        ("ot=th:8;rv:10000000000000", Stage(ALWAYS, 5), "ot=rv:10000000000000"),
        ("ot=th:8;rv:f0000000000000", Stage(1 << 55 | 1 << 54, HIGH), "ot=th:c;rv:f0000000000000"),
        ("ot=th:8;rv:f0000000000000", Stage(1 << 55 | 1 << 54, 5), "ot=rv:f0000000000000"),
        ("a=1,ot=th:8,b=2", Stage(None, 5), "a=1,b=2"),
        ("a=1,ot=th:8,b=2", Stage(1 << 55 | 1 << 54, HIGH), "ot=th:c,a=1,b=2"),
        ("", Stage(1 << 55, HIGH), "ot=th:8"),
        ("", Stage(1 << 55, 5), ""),
        ("", Stage(ALWAYS, 5), ""),
        ("a=1", Stage(ALWAYS, 5, is_first=True), "ot=th:0,a=1"),
        ("ot=th:8", Stage(ALWAYS, 5, is_first=True), "ot=th:8"),
    ],
    ids=[
        "unknown", "kept-all", "was-inconsistent", "raised", "another-r", "last-erased", "trace-r",
        "first-stage", "first-stage-another-r", "first-stage-kept-all",
        "vouched-for", "vouched-for-in-vain",
    ],
)  # fmt: skip
def test_tracestate_after_a_stage(state: str, stage: Stage, after: str) -> None:
    """Each rule of OTEP-235 for a later stage, by example; the trace's own R is f0..."""
    assert merged(state, HIGH, stage) == after


def test_erased_tracestate_is_appended_as_empty() -> None:
    """A tracestate that lost its only member overrides the old one by an empty text."""
    raw = span(trace_state="ot=th:8", trace=HIGH).SerializeToString()
    out = append(raw, Stage(None, HIGH))
    assert out == raw + b"\x1a\x00"
    assert Span.FromString(out).trace_state == ""
    assert scan(wrapped(out)).table["trace_state"][0].as_py() is None


def test_nothing_to_say_leaves_the_bytes_alone() -> None:
    """A span whose tracestate stays and that gets no attribute is not touched."""
    raw = span(trace_state="ot=th:8", trace=HIGH).SerializeToString()
    assert append(raw, Stage(1 << 54, HIGH)) == raw
    assert append(raw) == raw


def test_first_of_two_tracestates_does_not_count() -> None:
    """A span that already carries two is merged with its last."""
    raw = span(trace_state="ot=th:8", trace=HIGH).SerializeToString() + b"\x1a\x07ot=th:c"
    assert append(raw, Stage(1 << 55, HIGH)) == raw
    scanned = scan(wrapped(raw))
    assert suffixes(scanned, [0], Stage(None, HIGH)) == [b"\x1a\x00"]


def test_attribute_values_of_all_kinds() -> None:
    """Texts, numbers and truth values come out as the library writes them."""
    expected = Span(attributes=key_values(ADDED)).SerializeToString()
    assert encode_attributes(ADDED) == expected


READ = """
import sys
from google.protobuf.internal import api_implementation
from opentelemetry.proto.trace.v1.trace_pb2 import Span
assert api_implementation.Type() == "python", api_implementation.Type()
span = Span.FromString(bytes.fromhex(sys.argv[1]))
print(span.trace_state, span.name, [pair.key for pair in span.attributes])
"""


def test_second_implementation_of_protobuf_agrees() -> None:
    """The library's decoder in plain Python, which shares no code with the compiled one, agrees."""
    raw = span("é", {"a": 1}, trace_state="v=1,ot=th:8", trace=HIGH).SerializeToString()
    out = append(raw, Stage(1 << 55 | 1 << 54, HIGH), ADDED)
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "ignore", "-c", READ, out.hex()],
        env=os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stdout.strip() == f"ot=th:c,v=1 é {['a', *ADDED]}", done.stderr
