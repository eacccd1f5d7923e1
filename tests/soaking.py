"""Six hours of traffic in virtual time: sessions of seconds to hours, one in 10,000 anomalous.

    python tests/soaking.py --sessions 100000        # or: make soak

All of it goes through the whole engine: journal, session assembly, models, detectors, policy,
decision log, export and ledger. What comes out is compared with what went in.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine_build import SECOND, Box, Clock, Collector
from lake_build import rows
from otlp_build import EPOCH_NS

from samplers.collector.outcome import Accepted
from samplers.pending import Capacity
from samplers.policy import parse
from samplers.session_types import Limits
from samplers.settings import MIB, JournalSettings
from tracekit.otlp.append import encode_attributes
from tracekit.otlp.encode import length_delimited
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOUR: Final = 3600
HOURS: Final = 6
STEP: Final = 10
"""Seconds between two requests, and between two rounds of upkeep."""

LONGEST: Final = 3.86
"""Power of ten of the longest session, in seconds: two hours, so that later hours are alike."""

SILENCE: Final = 1200
"""Longest silence of a session, seconds; it is over after half as much again."""

BASELINE: Final = 0.02
POLICY: Final = f"""
name: soak
rules:
  - {{name: failures, when: outcome_declared = 'failure', keep: all}}
  - {{name: tool-errors, when: tool_errors > 0, keep: all}}
  - {{name: tokens, when: input_tokens > 1000000, keep: all}}
baseline: {BASELINE}
"""

LIMITS: Final = Limits(idle=SILENCE * 3 // 2 * SECOND, max_age=8 * HOUR * SECOND)
CAPACITY: Final = Capacity(rows=200_000, decided=60_000)

JOURNAL: Final = JournalSettings(
    segment_bytes=MIB,
    quota_bytes=128 * MIB,
    reserve_bytes=8 * MIB,
    segment_seconds=60,
    keep_back_seconds=120,
    lanes=1,
    fsync="never",
    log_bytes=MIB,
)

ROOT: Final = encode_attributes({"gen_ai.operation.name": "invoke_agent"})
STEPS: Final = tuple(
    encode_attributes(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4.1-mini",
            "gen_ai.usage.input_tokens": 100 * n,
            "gen_ai.usage.output_tokens": 10 * n,
            "note": "x" * (60 * n),
        }
    )
    for n in range(1, 5)
)
ANOMALIES: Final = (
    encode_attributes({"tracekit.done.status": "failed"}),
    encode_attributes({"gen_ai.operation.name": "execute_tool", "error.type": "timeout"})
    + b"\x7a\x02\x18\x02",  # status: error
    encode_attributes({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 2_000_000}),
)
"""What is wrong with an anomalous session: attributes of its last span but one, in turn."""


@dataclass
class Sent:
    """What was sent of a session.

    Attributes:
        spans: How many different spans.
        check: Their ids combined by exclusive or.
        is_odd: Whether something is wrong with it.
    """

    spans: int = 0
    check: int = 0
    is_odd: bool = False


@dataclass
class Soaked:
    """What came of it.

    Attributes:
        sessions: Sessions sent.
        spans: Spans sent.
        kept: Sessions that left.
        halves: Of these, those that left in part, or with a span twice.
        odd: Anomalous sessions.
        missed: Of these, those that were not kept.
        refused: Requests refused.
        ledger: Sessions in the ledger, and how many of them are kept there.
        moved: Spans moved out of old segments.
        journal_bytes: By hour, most bytes of the journal's segments.
        written_bytes: Bytes of all requests.
        segments: By hour, most segments on disk.
        pending: By hour, most spans waiting.
        entries: By hour, most entries in the tables of keys and decisions.
        rss: By hour, most memory so far, MiB.
        seconds: How long it took.
    """

    sessions: int = 0
    spans: int = 0
    kept: int = 0
    halves: int = 0
    odd: int = 0
    missed: int = 0
    refused: int = 0
    ledger: tuple[int, int] = (0, 0)
    moved: int = 0
    written_bytes: int = 0
    journal_bytes: Counter[int] = field(default_factory=Counter)
    segments: Counter[int] = field(default_factory=Counter)
    pending: Counter[int] = field(default_factory=Counter)
    entries: Counter[int] = field(default_factory=Counter)
    rss: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def share(self) -> tuple[float, float]:
        """Share kept of the sessions without anomaly, and how far chance may take it.

        Five standard deviations of the binomial distribution.
        """
        usual = self.sessions - self.odd
        found = (self.kept - self.odd + self.missed) / usual
        return found, 5 * math.sqrt(BASELINE * (1 - BASELINE) / usual)

    @property
    def faults(self) -> list[str]:
        """Return what is not as it must be."""
        found, tolerance = self.share
        checks = {
            "a session left in part": self.halves == 0,
            "an anomaly was missed": self.missed == 0,
            "the share kept is not the baseline": abs(found - BASELINE) <= tolerance,
            "a request was refused": self.refused == 0,
            "the ledger has not every session once": self.ledger == (self.sessions, self.kept),
            "nothing was moved": self.moved > 0,
        }
        return [fault for fault, holds in checks.items() if not holds]

    @property
    def growth(self) -> list[str]:
        """Return what grew in the second half, and should not have but for the usual swings."""
        tables = {
            "spans waiting": self.pending,
            "table entries": self.entries,
            "segments": self.segments,
            "journal": self.journal_bytes,
            "memory": self.rss,
        }
        middle = HOURS // 2
        return [
            f"{name} grow"
            for name, table in tables.items()
            if max(table[hour] for hour in range(middle, HOURS)) > 1.25 * table[middle - 1]
        ]

    def __str__(self) -> str:
        found, tolerance = self.share
        hours = range(HOURS)
        lines = [
            f"{self.sessions:,} sessions, {self.spans:,} spans, {self.seconds:,.0f} s",
            f"kept {self.kept:,}, {self.halves} of them in part",
            f"anomalies {self.odd}, missed {self.missed}",
            f"baseline {found:.4f} of {BASELINE}, +- {tolerance:.4f} by chance",
            f"ledger {self.ledger[0]:,} sessions, {self.ledger[1]:,} kept",
            f"refused {self.refused}, spans moved {self.moved:,}",
            "hour            " + "".join(f"{hour + 1:>9}" for hour in hours),
        ]
        for name, table, unit in (
            ("spans waiting", self.pending, 1),
            ("table entries", self.entries, 1),
            ("segments", self.segments, 1),
            ("journal KiB", self.journal_bytes, 1024),
            ("memory MiB", self.rss, 1),
        ):
            cells = "".join(f"{table[hour] // unit:>9,}" for hour in hours)
            lines.append(f"{name:16}{cells}")
        wrong = self.faults + self.growth
        return "\n".join([*lines, *wrong, "NOT CLEAN" if wrong else "clean"])


Event = tuple[float, int, bool, int, bytes]
"""When a span is received, of which session, whether again, its id, and its bytes."""


def shape(rng: random.Random) -> tuple[float, float]:
    """Return when a session begins and how long it takes, in seconds."""
    length = 10 ** rng.uniform(0.3, LONGEST)
    return rng.uniform(0, HOURS * HOUR - length - 60), length


def traffic(sessions: int, seed: int, every: int) -> Iterator[Event]:
    """Yield the spans of all sessions in time; only those under way are in memory."""

    def of(number: int) -> random.Random:
        return random.Random(f"{seed}-{number}")

    starts = sorted((shape(of(number))[0], number) for number in range(1, sessions + 1))
    ahead: list[Event] = []
    for start, number in starts:
        while ahead and ahead[0][0] < start:
            yield heapq.heappop(ahead)
        for event in events(of(number), number, is_odd=number % every == 1):
            heapq.heappush(ahead, event)
    while ahead:
        yield heapq.heappop(ahead)


def events(rng: random.Random, number: int, *, is_odd: bool) -> Iterator[Event]:
    """Yield the spans of a session: two in three have a key and up to three traces."""
    start, length = shape(rng)
    steps = max(rng.randrange(1, 6), math.ceil(length / SILENCE) + 1)
    key = encode_attributes({"session.id": f"chat-{number}"}) if number % 3 else b""
    traces = [rng.getrandbits(128) for _ in range(rng.randrange(1, 4) if key else 1)]
    ids = count(number << 16 | len(traces) + 1)
    for step in range(steps):
        moment = start + length * step / steps
        at = step % len(traces)
        said = ANOMALIES[number % 3] if is_odd and step == steps - 1 else rng.choice(STEPS)
        span_id = next(ids)
        data = span_bytes(traces[at], span_id, number << 16 | at + 1, moment, said + key)
        yield moment, number, False, span_id, data
        if rng.random() < 0.01:  # a client that got no answer sends it again
            yield moment + rng.uniform(0, 15), number, True, span_id, data
    for at, trace in enumerate(traces):
        span_id = number << 16 | at + 1
        data = span_bytes(trace, span_id, 0, start, ROOT + key, start + length)
        yield start + length + rng.uniform(0, 2), number, False, span_id, data


def span_bytes(  # noqa: PLR0913, PLR0917 - the fields of a span
    trace: int, span: int, parent: int, start: float, more: bytes, end: float | None = None
) -> bytes:
    """Return a span; built by hand, since a library takes longer than what is tested."""
    times = (EPOCH_NS + round(at * SECOND) for at in (start, start + 1 if end is None else end))
    above = b"\x22\x08" + parent.to_bytes(8, "big") if parent else b""
    ids = b"\x0a\x10%b\x12\x08%b%b" % (trace.to_bytes(16, "big"), span.to_bytes(8, "big"), above)
    start_ns, end_ns = (at.to_bytes(8, "little") for at in times)
    return b"%b\x2a\x04step\x39%b\x41%b%b" % (ids, start_ns, end_ns, more)


def request(spans: Iterable[bytes]) -> bytes:
    """Return a request of spans."""
    scope = b"".join(piece for one in spans for piece in length_delimited(0x12, one))
    return b"".join(length_delimited(0x0A, *length_delimited(0x12, scope)))


def soak(folder: Path, sessions: int, *, seed: int = 1, tick: int = 600) -> Soaked:
    """Play the traffic.

    Args:
        folder: An empty folder.
        sessions: How many sessions.
        seed: Of their shapes.
        tick: Seconds of virtual time between two rounds of decisions, a multiple of `STEP`.
    """
    begun, result = time.perf_counter(), Soaked(sessions=sessions)
    every = min(10_000, sessions // 3)
    coming = traffic(sessions, seed, every)
    box, clock = Box(), Clock()
    clock.now = EPOCH_NS
    collector = Collector(folder, [parse("soak", POLICY)], clock, box, LIMITS, JOURNAL, CAPACITY)
    sent = {number: Sent(is_odd=number % every == 1) for number in range(1, sessions + 1)}
    head = next(coming, None)
    for second in range(STEP, HOURS * HOUR + 1, STEP):
        batch = []
        while head is not None and head[0] < second:
            batch.append(head)
            head = next(coming, None)
        clock.now = EPOCH_NS + second * SECOND
        _note(sent, batch)
        data = request(event[-1] for event in batch)
        result.written_bytes += len(data)
        result.refused += collector.engine.receive(data) != Accepted()
        if second % tick == 0:
            collector.engine.tick(clock.now, flush=True)
        collector.engine.tend()
        _measure(result, collector, (second - 1) // HOUR)
    assert head is None, "the traffic is longer than the time"
    collector.finish()
    _compare(result, collector, box, sent)
    result.seconds = time.perf_counter() - begun
    return result


def _note(sent: dict[int, Sent], batch: list[Event]) -> None:
    for _, number, is_again, span, _ in batch:
        if not is_again:
            sent[number].spans += 1
            sent[number].check ^= span


def _measure(result: Soaked, collector: Collector, hour: int) -> None:
    journal, pending = collector.journal.state(), collector.sessions.stats()
    entries = pending["sessions"] + collector.log.state()["sessions"]
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for table, value in (
        (result.journal_bytes, journal["segment_bytes"]),
        (result.segments, journal["segments"]),
        (result.pending, pending["pending_spans"]),
        (result.entries, entries),
        (result.rss, used),
    ):
        table[hour] = max(table[hour], value)


def _compare(result: Soaked, collector: Collector, box: Box, sent: dict[int, Sent]) -> None:
    left: dict[int, Sent] = defaultdict(Sent)
    for data in box.requests:
        for span in scan(data).table["span_id"].to_pylist():
            identity = int(span, 16)
            one = left[identity >> 16]
            one.spans += 1
            one.check ^= identity
    result.spans = sum(one.spans for one in sent.values())
    result.kept = len(left)
    result.odd = sum(one.is_odd for one in sent.values())
    result.missed = sum(one.is_odd and number not in left for number, one in sent.items())
    result.halves = sum(
        (one.spans, one.check) != (sent[number].spans, sent[number].check)
        for number, one in left.items()
    )
    result.moved = collector.engine.counts["moved_spans"]
    question = "SELECT count(*), count(*) FILTER (WHERE kept) FROM sessions"
    (result.ledger,) = rows(collector.lake, question)


def main() -> None:
    """Play it and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = soak(Path(folder), options.sessions, seed=options.seed)
    sys.stdout.write(f"{result}\n")
    sys.exit(bool(result.faults + result.growth))


if __name__ == "__main__":
    main()
