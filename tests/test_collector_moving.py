"""Sessions that run for hours do not fill the disk; a crash while they are moved costs nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from engine_build import SECOND, Box, Clock, Collector
from otlp_build import EPOCH_NS, request, span

from samplers.collector.outcome import Accepted, RetryLater
from samplers.policy import preset
from samplers.session_types import Limits
from samplers.settings import JournalSettings
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 60 * SECOND
KIB = 1 << 10
ALL = preset("keep-all")
LIMITS = Limits(idle=6 * 60 * MINUTE, max_age=24 * 60 * MINUTE, root_delay=SECOND)
PARENT = (99).to_bytes(8, "big")


def settings(quota: int = 4096 * KIB) -> JournalSettings:
    """Return settings of a journal whose segments hold a few requests and are kept two minutes."""
    return JournalSettings(
        segment_bytes=32 * KIB,
        quota_bytes=quota,
        reserve_bytes=256 * KIB,
        segment_seconds=60,
        keep_back_seconds=120,
        lanes=1,
        fsync="never",
    )


def minute(number: int, sessions: int = 1) -> bytes:
    """Return what comes in a minute: a span of each long session, and a short one of 8 KiB."""
    long = [
        span(f"step {number}", {"n": number}, trace=one, parent=PARENT, start=60 * number)
        for one in range(1, sessions + 1)
    ]
    short = span("short", {"pad": "x" * 8 * KIB}, trace=1 << 40 | number, start=60 * number)
    return request([*long, short], {"service.name": "agent"}, "library")


def begun(folder: Path, box: Box, clock: Clock, quota: int = 4096 * KIB) -> Collector:
    clock.now = max(clock.now, EPOCH_NS)
    return Collector(folder, [ALL], clock, box, LIMITS, settings(quota), models=False)


def play(collector: Collector, minutes: range, sessions: int = 1) -> None:
    """Let minutes pass; every tenth of them sessions are decided."""
    for number in minutes:
        collector.clock.now += MINUTE
        assert collector.engine.receive(minute(number, sessions)) == Accepted()
        if number % 10 == 9:
            collector.engine.tick(collector.clock.now + SECOND)
        collector.engine.tend()


def expected(minutes: int, sessions: int = 1) -> Counter[tuple[str, str]]:
    """Return the spans of the long sessions as they were sent, by trace and name."""
    return Counter(
        (f"{one:032x}", f"step {number}")
        for number in range(minutes)
        for one in range(1, sessions + 1)
    )


def left(box: Box) -> Counter[tuple[str, str]]:
    """Return the spans of long sessions that left, by trace and name."""
    return Counter(
        (row["trace_id"], row["name"])
        for data in box.requests
        for row in scan(data).table.select(["trace_id", "name"]).to_pylist()
        if row["name"] != "short"
    )


def test_a_session_of_hours_pins_no_segments(tmp_path: Path) -> None:
    """Its spans gather in few files, those it came in are unlinked, and it leaves whole."""
    box, clock = Box(), Clock()
    collector = begun(tmp_path, box, clock)
    play(collector, range(180))
    state = collector.journal.state()
    assert state["bytes"] > 180 * 8 * KIB
    assert state["segment_bytes"] < 20 * 8 * KIB  # those of the last ten minutes, undecided or held
    assert state["pending_spans"] <= 180 + 10
    assert collector.engine.counts["moved_spans"] >= 100
    collector.finish()
    assert left(box) == expected(180)
    assert collector.journal.state()["pending_spans"] == 0
    again = begun(tmp_path, box, clock)
    assert again.sessions.pending_spans >= 180
    again.finish()  # what was moved and exported is not exported again
    assert left(box) == expected(180)


def test_a_restart_finds_moved_spans_in_the_order_they_came(tmp_path: Path) -> None:
    """Sessions whose first segments are gone are put together as they were, in time and order."""
    box, clock = Box(), Clock()
    collector = begun(tmp_path, box, clock)
    play(collector, range(50), sessions=3)
    first = collector.journal.segments()[0]
    assert first > 1
    before = {one.key: one for one in collector.sessions.due(1 << 62)}
    collector.close()
    again = begun(tmp_path, box, clock)
    after = {one.key: one for one in again.sessions.due(1 << 62)}
    again.close()
    for key in (f"{number:032x}" for number in (1, 2, 3)):
        one, other = before[key], after[key]
        assert (one.spans, one.bytes, one.first_seen_ns, one.last_seen_ns) == (
            (other.spans, other.bytes, other.first_seen_ns, other.last_seen_ns)
        )
        assert one.rows["span"].tolist() == other.rows["span"].tolist()
    third = begun(tmp_path, box, clock)
    third.finish()
    assert left(box) == expected(50, 3)


class CrashError(Exception):
    """The end of a process."""


@pytest.mark.parametrize("calls", [1, 2, 3])
@pytest.mark.parametrize("step", ["written", "noted"])
def test_a_crash_in_the_middle_of_a_move_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, calls: int
) -> None:
    """Between any two steps of a move, a restart finds each span once, and goes on moving."""
    box, clock = Box(), Clock()
    collector = begun(tmp_path, box, clock)
    play(collector, range(9), sessions=2)
    part, name = {
        "written": (collector.sessions, "moved"),  # both copies are there, the old one counts
        "noted": (collector.journal, "release"),  # the new one counts, the old one is held still
    }[step]
    real, seen = getattr(part, name), 0

    def crashing(*arguments: object) -> object:
        nonlocal seen
        seen += 1
        if seen == calls:
            raise CrashError
        return real(*arguments)

    collector.engine.tick(clock.now + 10 * SECOND)
    clock.now += 3 * MINUTE
    with monkeypatch.context() as patch:
        patch.setattr(part, name, crashing)
        with pytest.raises(CrashError):
            collector.engine.tend()
    collector.journal.close()
    again = begun(tmp_path, box, clock)
    assert again.journal.state()["recovered_records"] > 9
    assert again.sessions.pending_spans == 2 * 9 + 9
    again.engine.tick(clock.now)
    assert again.sessions.pending_spans == again.journal.state()["pending_spans"] == 2 * 9
    again.engine.tend()
    play(again, range(9, 20), sessions=2)
    again.finish()
    assert left(box) == expected(20, 2)
    assert again.journal.state()["pending_spans"] == 0


def test_long_sessions_are_taken_up_to_the_quota_and_not_beyond(tmp_path: Path) -> None:
    """Full of spans that wait, the journal refuses for now; when sessions end it takes again."""
    box, clock = Box(), Clock()
    quota = 256 * KIB
    collector = begun(tmp_path, box, clock, quota)
    number = 0
    while True:
        waiting = request(
            [span("step", {"pad": "y" * KIB}, trace=one, parent=PARENT) for one in range(1, 11)]
        )
        clock.now += SECOND
        outcome = collector.engine.receive(waiting)
        collector.engine.tend()
        if outcome != Accepted():
            break
        number += 1
    assert isinstance(outcome, RetryLater)
    assert outcome.full
    assert number * 10 * KIB > quota / 2
    assert collector.journal.state()["segment_bytes"] <= quota + 256 * KIB
    clock.now += 24 * 60 * MINUTE
    collector.engine.tick(clock.now)
    assert collector.engine.receive(waiting) == Accepted()
    collector.finish()
    assert sum(map(len, box.spans().values())) == 10 * (number + 1)
