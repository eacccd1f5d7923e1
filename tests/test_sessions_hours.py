"""Six hours of virtual time: sessions of seconds to hours, each decided whole, memory flat."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from typing import TYPE_CHECKING

from sessions_build import NOW, SECOND, Harness
from sessions_model import Sent

from samplers.pending import Capacity
from samplers.sessions import Limits, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

HOURS = 6
TICK = 10
SESSIONS = 1_200
PAUSE = 200
"""Longest silence of a session, seconds: below the idle time."""


def session(rng: random.Random, number: int, start: float) -> Iterator[tuple[float, Sent]]:
    """Yield receive time and span: traces in turn, the outermost one open until the end."""
    key = f"chat-{number}" if rng.random() < 0.7 else ""
    length = min(10 ** rng.uniform(0.3, 4), HOURS * 3600 - start - 60)
    count = max(2, min(rng.randrange(5, 120), int(length)), int(length / PAUSE) + 2)
    traces = rng.randrange(1, 4) if key else 1
    moments = [start + length * i / (count - 1) for i in range(count)]
    outer = 10 * number
    # Who comes first says nothing about the session: the key is on few spans, not on the first.
    for position, moment in enumerate(moments[:-1]):
        trace = outer + position * traces // count
        named = key if position % 3 == 1 or trace != outer else ""
        yield moment, Sent(trace, position + 2, named)
        if rng.random() < 0.02:
            yield moment + rng.uniform(0, 2), Sent(trace, position + 2, named)
    for trace in range(outer + 1, outer + traces):
        yield moments[-1], Sent(trace, trace + 1_000, key, is_root=True)
    yield moments[-1] + rng.uniform(0, 1.5), Sent(outer, 1, key, is_root=True)


def traffic(rng: random.Random) -> Iterator[tuple[float, int, Sent]]:
    """Yield receive time, session and span of all of them, in order of time."""
    starts = sorted(rng.uniform(0, HOURS * 3600 - 120) for _ in range(SESSIONS))
    streams = [
        [(moment, number, sent) for moment, sent in sorted(session(rng, number, start))]
        for number, start in enumerate(starts, 1)
    ]
    return heapq.merge(*streams)


def test_sessions_of_hours_are_decided_whole() -> None:
    """Each session comes out once, with every span of it; what waits is what is under way."""
    limits = Limits(idle=300 * SECOND, max_age=24 * 3600 * SECOND)
    harness = Harness(limits, Capacity(rows=30_000), per_segment=1)
    decided: dict[str, set[Sent]] = {}
    expected: dict[int, set[Sent]] = {}
    pending: Counter[int] = Counter()
    stream = traffic(random.Random(7))
    head = next(stream, None)
    for tick in range(TICK, HOURS * 3600 + 400, TICK):
        batch = []
        while head is not None and head[0] < tick:
            batch.append(head[2])
            expected.setdefault(head[1], set()).add(head[2])
            head = next(stream, None)
        now = NOW + tick * SECOND
        if batch:
            assert harness.send(batch, now).late == ()
        for due in harness.sessions.due(now):
            assert due.key not in decided
            decided[due.key] = set(harness.spans(due.rows))
            assert len(due.rows) == len(decided[due.key])
            assert harness.sessions.settle(due, Verdict(kept=True), now) == []
        pending[tick // 3600] = max(
            pending[tick // 3600], harness.sessions.stats()["pending_spans"]
        )
    assert head is None
    assert harness.sessions.stats()["pending_spans"] == 0
    whole = {min(sent.trace for sent in spans): spans for spans in expected.values()}
    assert {min(sent.trace for sent in spans): spans for spans in decided.values()} == whole
    assert len(decided) == SESSIONS
    received = sum(len(spans) for spans in expected.values())
    assert max(pending.values()) < received / 4
