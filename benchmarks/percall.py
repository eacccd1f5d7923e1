"""Timing single calls that take microseconds; needs nothing but the standard library.

It also runs in the environment of the peers, which has no tracekit.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
import tracemalloc
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 25
CALLS = 400
COUNTED = 200


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to make a call.

    Attributes:
        name: What it is called in the report.
        call: Takes a number and returns it, or an awaitable of it.
        before: Prepares a round.
        after: Clears away what a round left.
        runs_async: Whether the call is awaited, in one event loop per round.
    """

    name: str
    call: Callable[[Any], Any]
    before: Callable[[], object] = nothing
    after: Callable[[], object] = nothing
    runs_async: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs.

    Attributes:
        name: The case.
        ns: Nanoseconds per call, one figure per round.
        peak_bytes: Bytes that one call had allocated at most, beyond those there before it.
        kept_blocks: Memory blocks that are left of a call: the ended span, held by the exporter.
    """

    name: str
    ns: list[float]
    peak_bytes: int
    kept_blocks: float

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can write it."""
        return asdict(self)

    @property
    def median(self) -> float:
        """Nanoseconds per call, median over the rounds."""
        return statistics.median(self.ns)


def compare(cases: list[Case], rounds: int = ROUNDS, calls: int = CALLS) -> list[Cost]:
    """Time the cases in turns, every second round backwards, garbage collected between rounds.

    Rounds are short, so that a slow moment of the machine hits neighbours alike; ratios are to be
    taken round by round.
    """
    ns: dict[str, list[float]] = {case.name: [] for case in cases}
    for case in cases:
        _round(case, calls)
    for turn in range(rounds):
        for case in cases if turn % 2 == 0 else reversed(cases):
            ns[case.name].append(_round(case, calls))
    return [Cost(case.name, ns[case.name], *_memory(case)) for case in cases]


def _round(case: Case, calls: int) -> float:
    case.before()
    gc.collect()
    gc.disable()
    try:
        if case.runs_async:
            took = asyncio.run(_awaited(case.call, calls))
        else:
            took = _called(case.call, calls)
    finally:
        gc.enable()
    case.after()
    return took / calls


def _called(call: Callable[[Any], Any], calls: int) -> int:
    start = time.perf_counter_ns()
    for number in range(calls):
        call(number)
    return time.perf_counter_ns() - start


async def _awaited(call: Callable[[Any], Awaitable[Any]], calls: int) -> int:
    start = time.perf_counter_ns()
    for number in range(calls):
        await call(number)
    return time.perf_counter_ns() - start


def _memory(case: Case) -> tuple[int, float]:
    """Return the peak of one call in bytes, and the blocks that are left of it."""
    call = (lambda n: asyncio.run(_awaited(case.call, n))) if case.runs_async else None
    case.before()
    if call is None:
        _called(case.call, COUNTED)
        gc.collect()
        before = sys.getallocatedblocks()
        _called(case.call, COUNTED)
        gc.collect()
        kept = (sys.getallocatedblocks() - before) / COUNTED
        peak = _peak(case.call)
    else:
        kept, peak = float("nan"), 0
    case.after()
    return peak, kept


def _peak(call: Callable[[Any], Any]) -> int:
    peaks = []
    tracemalloc.start()
    try:
        for number in range(COUNTED):
            tracemalloc.reset_peak()
            there = tracemalloc.get_traced_memory()[0]
            call(number)
            peaks.append(tracemalloc.get_traced_memory()[1] - there)
    finally:
        tracemalloc.stop()
    return int(statistics.median(peaks))


def ratio(cost: Cost, base: Cost) -> tuple[float, float, float]:
    """Return how many times as much a call takes: median and quartiles, round by round."""
    ratios = [a / b for a, b in zip(cost.ns, base.ns, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, low, high
