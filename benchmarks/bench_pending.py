"""Pending spans: how fast session assembly takes and gives them, and what one costs in memory.

Session assembly alone, between the scan of a request and the decision; the scan stands beside it.
Requests are scanned before the clock starts. What a span costs in memory is what the process grows
by, divided by spans; it includes sessions, names and hash tables.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from pathlib import Path

import generate
import measure

from samplers.assemble import assemble
from samplers.pending import Capacity
from samplers.sessions import Sessions, Verdict
from tracekit.otlp import layout
from tracekit.otlp.scan import Scan, scan

REQUESTS = 400
ROUNDS = 7
HELD = 2_000
"""Requests held at once where memory is measured: a million spans."""
NOW = generate.EPOCH_NS
LATER = NOW + 3_600 * 10**9


def fresh(template: bytes, rng: random.Random) -> bytes:
    """Return a request with other trace ids, span ids and session keys."""
    data, scanned = bytearray(template), scan(template)
    words, _ = scanned.words("session_key")
    traces: dict[bytes, tuple[bytes, bytes]] = {}
    for row in range(scanned.spans):
        trace, span = int(scanned.wire[layout.TRACE, row]), int(scanned.wire[layout.SPAN, row])
        before = template[trace : trace + 16]
        if before not in traces:
            traces[before] = rng.randbytes(16), f"{rng.randrange(10**6):06d}".encode()
        data[trace : trace + 16], digits = traces[before]
        data[span : span + 8] = rng.randbytes(8)
        key = int(words[row]) >> 32
        data[key : key + 6] = digits
    return bytes(data)


def resident() -> int:
    """Return the memory of this process that is its own and in use, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def ingest(scans: list[Scan], requests: list[bytes]) -> Sessions:
    """Take requests, as if they were one segment behind the other."""
    sessions = Sessions(Capacity(rows=2_000_000))
    for number, scanned in enumerate(scans):
        sessions.ingest(scanned, number, 0, NOW)
    assert sessions.stats()["pending_spans"] == len(requests) * generate.SPANS_PER_REQUEST
    return sessions


def decide(sessions: Sessions) -> int:
    """Take all sessions out, cap by cap; returns how many spans there were."""
    spans = 0
    while due := sessions.due(LATER, 100_000):
        for session in due:
            spans += len(session.rows)
            sessions.settle(session, Verdict(kept=False), LATER)
    return spans


def rates(requests: list[bytes]) -> list[measure.Result]:
    """Time each step over the same requests."""
    scans = [scan(data) for data in requests]
    spans = len(requests) * generate.SPANS_PER_REQUEST
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        steps = {}
        began = time.perf_counter()
        for data in requests:
            scan(data)
        steps["scan"] = time.perf_counter() - began
        began = time.perf_counter()
        sessions = ingest(scans, requests)
        steps["ingest"] = time.perf_counter() - began
        began = time.perf_counter()
        assert decide(sessions) == spans
        steps["due and settle"] = time.perf_counter() - began
        rows = [session.rows for session in ingest(scans, requests).due(LATER, spans)]
        began = time.perf_counter()
        assemble(rows, lambda segment, _, length: memoryview(requests[segment])[:length])
        steps["assemble"] = time.perf_counter() - began
        for name, took in steps.items():
            seconds.setdefault(name, []).append(took)
    return [
        measure.Result(name, median, f"{spans / median / 1e6:.2f} M spans/s", aim=aim)
        for name, took in seconds.items()
        for median in [statistics.median(took)]
        for aim in ["1.5 M spans/s" if name == "ingest" else ""]
    ]


def memory(templates: list[bytes], rng: random.Random) -> measure.Result:
    """Measure what a million pending spans add to the process."""
    sessions = Sessions(Capacity(rows=2_000_000))
    sessions.ingest(scan(fresh(templates[0], rng)), 0, 0, NOW)
    gc.collect()
    before, spans = resident(), 0
    start = time.perf_counter()
    for number in range(HELD):
        scanned = scan(fresh(templates[number % len(templates)], rng))
        spans += sessions.ingest(scanned, number, 0, NOW).spans
    took = time.perf_counter() - start
    gc.collect()
    grown = resident() - before
    rate = f"{grown / spans:.0f} B/span, {spans / 1e6:.2f} M spans"
    return measure.Result("memory", took, rate, aim="150 B/span")


def run() -> list[measure.Result]:
    """Measure rates, then memory."""
    rng = random.Random(1)
    templates = generate.requests(16)
    requests = [fresh(templates[number % 16], rng) for number in range(REQUESTS)]
    return [*rates(requests), memory(templates, rng)]


if __name__ == "__main__":
    measure.show(run())
