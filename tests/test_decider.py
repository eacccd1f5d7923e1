"""What a batch of decisions is made of, beside the models and the rules."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from engine_build import Box, Clock, Collector, simulated
from hypothesis import given
from hypothesis import strategies as st
from otlp_build import request, span

from samplers.collector.batch import of_request
from samplers.collector.findings import traces_of
from samplers.policy import preset
from samplers.warm import warm
from tracekit.otlp import tracestate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from samplers.session_types import DueSession

STATES = (None, "", "ot=th:8", "ot=rv:00000000000001", "vendor=1", "ot=th:8;rv:ffffffffffffff")
Spans = list[tuple[int, "str | None"]]


def due(sessions: Sequence[Spans]) -> list[DueSession]:
    """Return sessions of as many spans, `s0`, `s1` and so on."""
    made = [SimpleNamespace(key=f"s{at}", rows=range(len(its))) for at, its in enumerate(sessions)]
    return cast("list[DueSession]", made)


def table(sessions: Sequence[Spans]) -> pa.Table:
    """Return their spans, one session after the other."""
    spans = [one for its in sessions for one in its]
    return pa.table(
        {
            "trace_id": pa.array([f"{trace:032x}" for trace, _ in spans], pa.string()),
            "trace_state": pa.array([state for _, state in spans], pa.string()),
        }
    )


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 3), st.sampled_from(STATES)),
            min_size=1,
            max_size=6,
        ),
        max_size=5,
    )
)
def test_each_trace_is_told_of_as_often_as_its_spans_differ(sessions: list[Spans]) -> None:
    """The id and the sampling of every trace, by session, whatever else the spans have."""
    expected: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for session, its in zip(due(sessions), sessions, strict=True):
        expected[session.key] |= {(trace, tracestate.read(state or "")) for trace, state in its}
    found = traces_of(table(sessions), due(sessions))
    assert {key: set(traces) for key, traces in found.items()} == expected


def test_roots_of_a_session_come_by_their_start() -> None:
    """The earliest root first; where there is none, the first span stands for the session."""
    spans = [
        span(trace=1, start=5),
        span(trace=2, start=0),
        span(trace=3, parent=bytes(7) + b"\1", span_id=3),
    ]
    batch = of_request(request(spans), ["a", "b"], [2, 1], 0)
    assert (batch.heads(0), batch.heads(1)) == ([1, 0], [2])
    assert batch.of([1])["span_id"].to_pylist() == [f"{3:016x}"]


def test_a_rehearsal_leaves_no_trace(tmp_path: Path) -> None:
    """Decisions are the same with and without it, down to the counts of the strata."""
    boxes, saved = (Box(), Box()), []
    for name, box in zip(("with", "without"), boxes, strict=True):
        (tmp_path / name).mkdir()
        collector = Collector(tmp_path / name, [preset("keep-anomalies")], Clock(), box)
        if name == "with":
            warm(collector.engine.rehearse)
        collector.feed(simulated(40, 1))
        collector.finish()
    assert boxes[0].spans() == boxes[1].spans()
    saved = [
        (tmp_path / name / "journal" / "policies.json").read_bytes() for name in ("with", "without")
    ]
    assert saved[0] == saved[1]
