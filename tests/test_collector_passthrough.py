"""What leaves the collector is what came in, byte for byte, and what it adds reads as meant."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from engine_build import SECOND, Box, Clock, Collector
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_build import EPOCH_NS, request, span

from samplers.collector.outcome import Accepted
from samplers.policy import parse
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterator

PEER = Path(__file__).parent / "peers_otlp"
SAMPLE = parse("sample", "name: sample\nbaseline: 0.25\n")

HIGH = 0xF1F2F3F4F5F6F7
"""An R that every threshold here keeps; also the end of the trace id."""

UNKNOWN = b"\x82\x7d\x03new"
"""Field 2000, which nobody knows."""


@cache
def received() -> bytes:
    """Return a request with all that may stand in one, and with what no version of OTLP has."""
    root = span(
        "Grüße", {"a": 1, "b": [1, "x", {"c": None}]}, trace=HIGH, trace_state="v=1,ot=th:8"
    )
    child = span(
        "step",
        {"bytes": b"\x00\xff", "float": -0.5, "yes": True},
        [("event", {"k": "v"})],
        parent=root,
        trace_state="v=1,ot=th:8",
        links=[root],
        status="error",
    )
    message = ExportTraceServiceRequest.FromString(
        request([root, child], {"service.name": "agent", "n": 7}, "library", {"s": True})
    )
    (resource,) = message.resource_spans
    (scope,) = resource.scope_spans
    for part in (*scope.spans, scope, scope.scope, resource, resource.resource):
        part.MergeFromString(UNKNOWN)
    return message.SerializeToString()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return what leaves of it."""
    box, clock = Box(), Clock()
    clock.now = EPOCH_NS
    collector = Collector(tmp_path_factory.mktemp("collector"), [SAMPLE], clock, box)
    assert collector.engine.receive(received()) == Accepted()
    clock.now += 10 * SECOND
    collector.engine.tick(clock.now)
    collector.close()
    return b"".join(box.requests)


def raw_spans(data: bytes) -> list[bytes]:
    scanned = scan(data)
    return [bytes(scanned.span_bytes(row)) for row in range(scanned.spans)]


def test_every_byte_of_a_kept_span_leaves_as_it_came(left: bytes) -> None:
    """The sampler only appends; resources and scopes keep what nobody knows, too."""
    for before, after in zip(raw_spans(received()), raw_spans(left), strict=True):
        assert after.startswith(before)
        assert UNKNOWN in before
    came, went = (ExportTraceServiceRequest.FromString(data) for data in (received(), left))
    for message in (came, went):
        del message.resource_spans[0].scope_spans[0].spans[:]
    assert went.SerializeToString(deterministic=True) == came.SerializeToString(deterministic=True)


def test_a_tracestate_is_merged_and_attributes_come_last(left: bytes) -> None:
    """As the protobuf library reads it: th raised, other members as they were, no more."""
    for before, after in zip(raw_spans(received()), raw_spans(left), strict=True):
        came, went = Span.FromString(before), Span.FromString(after)
        assert went.trace_state == "ot=th:c,v=1"
        added = [pair.key for pair in went.attributes[len(came.attributes) :]]
        assert all(key.startswith("tracekit.") for key in added)
        del went.attributes[len(came.attributes) :]
        went.trace_state = came.trace_state
        assert went == came


@pytest.fixture(scope="module")
def pdata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a program around the data model of the OpenTelemetry Collector, in Go."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the decoder to compare with is written in Go, which is not installed")
    program = tmp_path_factory.mktemp("go") / "decode"
    command = [go, "build", "-o", str(program), "."]
    done = subprocess.run(command, cwd=PEER, capture_output=True, text=True, check=False)
    if "dial tcp" in done.stderr or "module lookup disabled" in done.stderr:
        pytest.skip(f"the modules of the decoder cannot be fetched: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    return program


def decoded(program: Path, data: bytes) -> Iterator[dict[str, Any]]:
    done = subprocess.run([program], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return map(json.loads, done.stdout.splitlines())


@pytest.mark.slow
def test_the_opentelemetry_collector_reads_the_same(left: bytes, pdata: Path) -> None:
    """Its decoder, which shares no code with the protobuf library, sees what was meant."""
    came, went = list(decoded(pdata, received())), list(decoded(pdata, left))
    assert [one["name"] for one in came] == ["Grüße", "step"]
    for before, after, raw in zip(came, went, raw_spans(left), strict=True):
        library = Span.FromString(raw)
        assert after["trace_state"] == library.trace_state == "ot=th:c,v=1"
        assert after["keys"] == [pair.key for pair in library.attributes]
        assert after["keys"][: len(before["keys"])] == before["keys"]
        for pair in library.attributes[len(before["keys"]) :]:
            (value,) = MessageToDict(pair.value).values()
            assert after["attributes"][pair.key] == value
        added = {"trace_state", "keys", "attributes"}
        assert {k: v for k, v in after.items() if k not in added} == {
            k: v for k, v in before.items() if k not in added
        }
        assert before["attributes"].items() <= after["attributes"].items()
    root = went[0]["attributes"]
    assert root["tracekit.sampling.policy"] == "sample"
    assert (root["tracekit.sampling.probability"], root["tracekit.sampling.weight"]) == (0.25, 4)
