"""Kept sessions leave without what the policy takes out; the lake does not depend on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine_build import SECOND, Box, Clock, Collector
from lake_build import rows
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_build import EPOCH_NS, request, span

from samplers.collector.outcome import Accepted
from samplers.policy import parse, preset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from samplers.policy_model import Policy

OUTPUT = "gen_ai.output.messages"
ANSWER = '[{"role": "assistant", "parts": [{"type": "text", "content": "```py\\nx ="}]}]'
"""Ends inside a code fence, which the models see and the ledger says."""


def sent(number: int, name: str = "chat") -> bytes:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.output_tokens": 7,
        "user.id": "u",
        OUTPUT: ANSWER,
    }
    parent = None if name == "chat" else (99).to_bytes(8, "big")
    start = 60.0 * number
    one = span(name, attributes, trace=number << 50, parent=parent, start=start, end=start + 1)
    return request([one], {"service.name": "shop"})


def played(folder: Path, policy: Policy, rounds: int = 1) -> tuple[Collector, Box]:
    """Return a collector and its box after rounds of six sessions, ten seconds apart."""
    clock, box = Clock(), Box()
    clock.now = EPOCH_NS
    collector = Collector(folder, [policy], clock, box)
    for number in range(6 * rounds):
        assert collector.engine.receive(sent(number + 1)) == Accepted()
        if number % 6 == 5:
            clock.now += 10 * SECOND
            collector.engine.tick(clock.now)
    return collector, box


def left(box: Box) -> Iterator[Span]:
    """Yield the spans that left, in order."""
    for data in box.requests:
        for group in ExportTraceServiceRequest.FromString(data).resource_spans:
            for scope in group.scope_spans:
                yield from scope.spans


def texts(message: Span) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in message.attributes}


LADDER = """
name: p
baseline: 1
strip: [{redact: [user.id]}]
budgets: {bytes_per_day: 3MB}
degrade:
  - {name: short, above: 2, ratio: 0.1, steps: [{truncate: {attributes: ["*"], bytes: 30}}]}
  - {name: bare, above: 1000, ratio: 0.1, steps: [{skeleton: true}]}
"""
BARE = "name: p\nbaseline: 1\nstrip: [{skeleton: true}, {redact: [user.id]}]"


def test_over_a_budget_of_bytes_the_ladder_takes_payload_out(tmp_path: Path) -> None:
    """What is kept under pressure leaves shorter and says its level; `strip` always applies."""
    collector, box = played(tmp_path, parse("p", LADDER), 2)
    levels = [texts(message).get("tracekit.sampling.degrade", "") for message in left(box)]
    assert levels == [""] * 6 + ["short"] * 6
    for message, level in zip(left(box), levels, strict=True):
        found = texts(message)
        assert found["user.id"] == "[redacted]"
        assert found[OUTPUT] == (ANSWER[:30] if level else ANSWER)
        assert found["tracekit.stop.reason"] == "truncated.mid_artifact"
    assert collector.engine.stripped_bytes["short"] == 6 * (
        len(ANSWER) - 30 - len("[redacted]") + 1
    )
    collector.finish()


def test_late_spans_leave_at_the_level_of_their_session(tmp_path: Path) -> None:
    """A span that comes after the decision is stripped like those before it."""
    text = LADDER.replace("above: 1000", "above: 2")
    collector, box = played(tmp_path, parse("p", text), 2)
    *_, last = left(box)
    assert texts(last)["tracekit.sampling.degrade"] == "bare"
    number = int.from_bytes(last.trace_id, "big") >> 50
    before = len(list(left(box)))
    assert collector.engine.receive(sent(number, "late")) == Accepted()
    collector.engine.tick(collector.clock.now)
    late = list(left(box))[before:]
    assert [message.name for message in late] == ["late"]
    assert OUTPUT not in texts(late[0])
    assert texts(late[0])["tracekit.sampling.degrade"] == "bare"
    collector.finish()


def test_the_lake_does_not_depend_on_what_is_taken_out(tmp_path: Path) -> None:
    """Stops, fingerprints and costs come from the spans as they came, whatever leaves."""
    spans = "SELECT trace_id, name, output_state, user_id, stop_raw FROM spans ORDER BY 1"
    ledger = "SELECT session_id, stop_reason, cost_usd, user_id FROM sessions ORDER BY 1"
    found = []
    for name, policy in (
        (
            "bare",
            parse("p", "name: p\nbaseline: 1\nstrip: [{skeleton: true}, {redact: [user.id]}]"),
        ),
        ("all", preset("keep-all")),
    ):
        collector, box = played(tmp_path / name, policy)
        collector.finish()
        found.append((rows(collector.lake, spans), rows(collector.lake, ledger)))
        assert any(OUTPUT in texts(message) for message in left(box)) is (name == "all")
    assert found[0] == found[1]
    assert found[0][1][0][1:] == ("truncated.mid_artifact", None, "u")


CHANGED = """
name: p
baseline: 1
input_unsampled: true
strip: [{remove: [gen_ai.output.messages]}]
"""


def test_a_changed_policy_takes_out_what_it_says(tmp_path: Path) -> None:
    """After a reload the steps, and what it vouches for, are those of the new policy."""
    collector, box = played(tmp_path, preset("keep-all"))
    collector.engine.replace_policies([parse("p", CHANGED)])
    collector.engine.receive(sent(7))
    collector.clock.now += 10 * SECOND
    collector.engine.tick(collector.clock.now)
    assert [OUTPUT in texts(message) for message in left(box)] == [True] * 6 + [False]
    assert [message.trace_state for message in left(box)] == [""] * 6 + ["ot=th:0"]
    collector.finish()
    states = "SELECT coalesce(trace_state, ''), count(*) FROM spans GROUP BY 1 ORDER BY 1"
    assert rows(collector.lake, states) == [("", 6), ("ot=th:0", 1)]
