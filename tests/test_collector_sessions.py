"""When sessions are decided, through the whole engine: what ends them, what follows, what joins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from engine_build import SECOND, Box, Clock, Collector, Unseeing
from lake_build import rows
from otlp_build import EPOCH_NS, request, span
from soaking import request as of_bytes
from soaking import span_bytes

from samplers.collector.engine import fingerprint
from samplers.collector.outcome import Accepted
from samplers.pending import Capacity
from samplers.policy import preset
from samplers.session_types import Limits
from samplers.settings import MIB, JournalSettings

if TYPE_CHECKING:
    from pathlib import Path

    from samplers.decision import DecisionRecord

PARENT = (99).to_bytes(8, "big")
KEY = {"session.id": "chat"}
ENDED = {**KEY, "tracekit.done.status": "ok"}
LIMITS = Limits(
    root_delay=5 * SECOND,
    keyed_root_delay=30 * SECOND,
    done_delay=3 * SECOND,
    idle=300 * SECOND,
    max_age=1000 * SECOND,
    max_spans=20,
    tail_spans=5,
    max_bytes=20_000,
)
KEEP = preset("keep-all")


def child(trace: int = 1, **changes: object) -> bytes:
    """Return a request of one span below a root that has not come."""
    return request([span(trace=trace, parent=PARENT, **changes)])  # type: ignore[arg-type]


def root(trace: int = 1, attributes: dict[str, str] | None = None) -> bytes:
    return request([span("root", attributes, trace=trace)])


def begun(folder: Path, box: Box, clock: Clock, limits: Limits = LIMITS) -> Collector:
    """Return a collector that keeps all it gets."""
    clock.now = max(clock.now, EPOCH_NS)
    return Collector(folder, [KEEP], clock, box, limits, models=False)


def tick(collector: Collector, seconds: float) -> None:
    """Let time pass up to a second after the beginning, and decide."""
    collector.clock.now = EPOCH_NS + round(seconds * SECOND)
    collector.engine.tick(collector.clock.now)


def receive(collector: Collector, *requests: bytes) -> None:
    for data in requests:
        assert collector.engine.receive(data) == Accepted()


def decided(collector: Collector, key: str = f"{1:032x}") -> DecisionRecord | None:
    return collector.log.get(fingerprint(key))


@pytest.mark.parametrize(
    ("trigger", "after", "key", "requests"),
    [
        ("root", 5, f"{1:032x}", [child(), root()]),
        ("root", 30, "chat", [child(attributes=KEY), root(attributes=KEY)]),
        ("root", 30, "chat", [root(1, KEY), child(2, attributes=KEY), root(2)]),
        ("done", 3, "chat", [child(attributes=ENDED)]),
        ("idle", 300, f"{1:032x}", [child()]),
        ("idle", 300, f"{1:032x}", [child(start=9e8, end=9e8)]),
        ("max_spans", 0, f"{1:032x}", [child() for _ in range(21)]),
        ("max_bytes", 0, f"{1:032x}", [child(attributes={"pad": "x" * 20_001})]),
    ],
    ids=["root", "keyed-root", "last-root", "done", "idle", "skewed-clock", "spans", "bytes"],
)
def test_a_session_is_decided_when_it_is_over(
    tmp_path: Path, trigger: str, after: float, key: str, requests: list[bytes]
) -> None:
    """Not a moment before, for the reason on record, with all of its spans, which leave."""
    box = Box()
    collector = begun(tmp_path, box, Clock())
    receive(collector, *requests)
    if after:
        tick(collector, after - 0.001)
        assert decided(collector, key) is None
    tick(collector, after)
    record = decided(collector, key)
    assert record is not None
    assert (record.trigger, record.spans) == (trigger, len(requests))
    assert sum(map(len, box.spans().values())) == len(requests)
    collector.close()


def test_a_session_that_never_rests_is_decided_at_its_maximum_age(tmp_path: Path) -> None:
    """Though spans keep coming; those that come then follow the decision."""
    box = Box()
    collector = begun(tmp_path, box, Clock())
    for second in range(0, 1200, 200):
        tick(collector, second)
        receive(collector, child())
    record = decided(collector)
    assert record is not None
    assert (record.trigger, record.spans) == ("max_age", 5)
    tick(collector, 1200)
    assert len(box.spans()[f"{1:032x}"]) == 6
    collector.close()


def test_what_a_client_sends_again_counts_once(tmp_path: Path) -> None:
    """Before the decision, after it, and after a restart."""
    box, clock = Box(), Clock()
    collector = begun(tmp_path, box, clock)
    parts = [child(), child(), root()]
    receive(collector, *parts, *parts)
    tick(collector, 5)
    receive(collector, *parts)
    tick(collector, 6)
    record = decided(collector)
    assert record is not None
    assert record.spans == 3
    collector.close()
    again = begun(tmp_path, box, clock)
    receive(again, *parts)
    tick(again, 600)
    assert len(box.spans()[f"{1:032x}"]) == 3
    assert again.journal.state()["pending_spans"] == 0
    again.close()


def test_a_session_of_several_processes_leaves_as_one(tmp_path: Path) -> None:
    """Its traces come from processes that know nothing of each other; each keeps its resource."""
    box = Box()
    collector = begun(tmp_path, box, Clock())
    for number, name in enumerate(("planner", "worker", "worker"), 1):
        spans = [span(name, KEY, trace=number), span("step", trace=number, parent=PARENT)]
        receive(collector, request(spans, {"service.name": name}))
    tick(collector, 30)
    record = decided(collector, "chat")
    assert record is not None
    assert (record.spans, len(record.traces)) == (6, 3)
    assert {trace: len(ids) for trace, ids in box.spans().items()} == {
        f"{number:032x}": 2 for number in (1, 2, 3)
    }
    left = b"".join(box.requests)
    assert (left.count(b"planner"), left.count(b"worker")) == (2, 4)  # names and resources
    collector.close()


def test_a_session_joined_after_a_restart_is_one(tmp_path: Path) -> None:
    """Traces that came without a key, and the key that joins them only in the next run."""
    box, clock = Box(), Clock()
    collector = begun(tmp_path, box, clock)
    receive(collector, child(1), child(2))
    collector.close()
    again = begun(tmp_path, box, clock)
    receive(again, child(2, attributes=KEY))
    again.close()
    third = begun(tmp_path, box, clock)
    receive(third, root(1, KEY), root(2))
    tick(third, 30)
    record = decided(third, "chat")
    assert record is not None
    assert (record.spans, len(record.traces)) == (5, 2)
    assert third.engine.counts["sessions"] == 1
    third.close()


@pytest.mark.parametrize("is_kept", [True, False])
def test_spans_that_come_after_a_restart_follow(tmp_path: Path, *, is_kept: bool) -> None:
    """With the same T, though nothing of the session is in the journal any more."""
    box, clock = Box(), Clock()
    clock.now = EPOCH_NS
    settings = JournalSettings(
        segment_bytes=MIB, quota_bytes=8 * MIB, segment_seconds=1, keep_back_seconds=1, lanes=1
    )

    def opened() -> Collector:
        found = Collector(tmp_path, [KEEP], clock, box, LIMITS, settings, models=False)
        assert isinstance(found.decider, Unseeing)
        found.decider.dropped = () if is_kept else (f"{trace:032x}",)
        return found

    trace = 1 << 60
    collector = opened()
    receive(collector, root(trace))
    for second in (5, 10, 20):  # decided, its segment closed, its segment gone
        tick(collector, second)
        collector.engine.tend()
        receive(collector, root(second))
    first = decided(collector, f"{trace:032x}")
    assert first is not None
    assert first.keep == is_kept
    assert not set(first.segments) & set(collector.journal.segments())
    collector.close()
    again = opened()
    receive(again, child(trace))
    tick(again, 400)
    assert len(box.spans().get(f"{trace:032x}", [])) == (2 if is_kept else 0)
    assert decided(again, f"{trace:032x}") == first
    again.finish()


def test_a_runaway_session_is_told_and_starves_nobody(tmp_path: Path) -> None:
    """Of 200,000 spans the first and the last leave; in the same round all others are decided."""
    trace, others, box, clock = 1 << 100, range(1, 41), Box(), Clock()
    clock.now = EPOCH_NS
    settings = JournalSettings(segment_bytes=8 * MIB, quota_bytes=64 * MIB, lanes=1, fsync="never")
    limits = replace(LIMITS, max_spans=20_000, tail_spans=1_000, max_bytes=1 << 30)
    capacity = Capacity(rows=40_000, decided=1_000)
    collector = Collector(
        tmp_path, [preset("keep-anomalies")], clock, box, limits, settings, capacity
    )
    for first in range(0, 200_000, 5_000):
        spans = (span_bytes(trace, first + n + 1, 99, 0, b"") for n in range(5_000))
        receive(collector, of_bytes(spans), *([root(1 + first // 5_000)]))
        if first == 50_000:
            tick(collector, 10)  # others have ended long ago
            assert collector.engine.counts["sessions"] == 12
    record = decided(collector, f"{trace:032x}")
    assert record is not None
    assert (record.trigger, record.keep) == ("max_spans", True)
    assert "runaway" in record.reasons
    assert b"runaway" in b"".join(box.requests)
    tick(collector, 20)
    assert collector.engine.counts["sessions"] == 1 + len(others)
    collector.finish()
    left = sorted(int(one, 16) for one in box.spans()[f"{trace:032x}"])
    assert left[:20_000] == list(range(1, 20_001))
    assert left[-1_000:] == list(range(199_001, 200_001))
    assert len(left) < 25_000
    question = f"SELECT kept, spans FROM sessions WHERE session_id = '{trace:032x}'"
    assert rows(collector.lake, question) == [(True, len(left))]
    assert collector.sessions.stats()["cut_spans"] + len(left) == 200_000
