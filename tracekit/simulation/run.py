"""A run: many sessions, played by several processes, as OTLP requests in the order of time."""

from __future__ import annotations

import gc
import heapq
import multiprocessing
import os
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from tracekit.otlp.span_encoder import encode
from tracekit.simulation.scenario import Scenario
from tracekit.simulation.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit.simulation.truth import Row

_SESSIONS: Final = 256
"""Sessions that are played and interleaved at once, by one process."""
_SPANS: Final = 512
"""Most spans of a request, as exporters send them."""


class Request(NamedTuple):
    """An OTLP request.

    Attributes:
        end_ns: When the last of its spans ended, UTC, ns since 1970.
        spans: How many it has.
        data: `ExportTraceServiceRequest`.
    """

    end_ns: int
    spans: int
    data: bytes


class Batch(NamedTuple):
    """Sessions that start one after the other.

    Attributes:
        requests: Their spans, in the order they ended.
        rows: The truth about their tasks.
    """

    requests: list[Request]
    rows: list[Row]


class Run:
    """The sessions of a scenario.

    What comes out depends on the scenario, the seed and the number of sessions, not on the number
    of processes. More sessions are the same ones and others beside them.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        sessions: int | None = None,
        seed: int | None = None,
        jobs: int | None = None,
        derive: bool = False,
    ) -> None:
        """Prepare a run.

        Args:
            scenario: The scenario.
            sessions: How many; by default as many as the scenario says.
            seed: Seed; by default the scenario's.
            jobs: Processes; by default one per core, and one alone for few sessions.
            derive: Let the instrumentation compute stops and costs, as it does in an application.

        Raises:
            InputError: An entry names no mode, or parameters it does not have.
        """
        self.scenario = scenario
        self.sessions = scenario.sessions if sessions is None else sessions
        self.seed = scenario.seed if seed is None else seed
        self._derive = derive
        self._stage = _stage(scenario, self.seed, derive=derive)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        few = self.sessions <= 4 * _SESSIONS
        self.jobs = jobs or (1 if few else cores)

    @property
    def start_ns(self) -> int:
        """Return when the scenario starts, UTC, ns since 1970."""
        return self.scenario.start_ns

    def requests(self, tell: Callable[[Sequence[Row]], None]) -> Iterator[Request]:
        """Play, and yield requests in the order of time: sessions overlap as they do in life.

        Args:
            tell: Called with the truth about tasks, some sessions at a time.
        """
        starts = sorted((self._stage.start_ns(n), n) for n in range(self.sessions))
        parts = [starts[at : at + _SESSIONS] for at in range(0, len(starts), _SESSIONS)]
        held: list[tuple[int, int, Request]] = []
        order = count()
        following = [part[0][0] for part in parts[1:]] + [1 << 63]
        with self._batches([[n for _, n in part] for part in parts]) as batches:
            for batch, next_ns in zip(batches, following, strict=True):
                tell(batch.rows)
                for request in batch.requests:
                    heapq.heappush(held, (request.end_ns, next(order), request))
                while held and held[0][0] < next_ns:
                    yield heapq.heappop(held)[2]

    @contextmanager
    def _batches(self, parts: Sequence[Sequence[int]]) -> Iterator[Iterable[Batch]]:
        if self.jobs == 1:
            yield (played(self._stage, part) for part in parts)
            return
        settings = (self.scenario.model_dump_json(), self.seed, self._derive)
        with ProcessPoolExecutor(
            self.jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=settings,
        ) as pool:
            try:
                yield _in_order(pool, parts, self.jobs)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def played(stage: Stage, numbers: Iterable[int]) -> Batch:
    """Play some sessions, and return their spans in the order they ended."""
    spans: list[ReadableSpan] = []
    rows: list[Row] = []
    with _no_collection():
        for number in numbers:
            found, truth = stage.perform(number)
            spans += found
            rows += truth
        spans.sort(key=lambda span: span.end_time or 0)
        parts = [spans[at : at + _SPANS] for at in range(0, len(spans), _SPANS)]
        return Batch([Request(p[-1].end_time or 0, len(p), encode(p)) for p in parts], rows)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from walking all the spans that wait, again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _in_order(
    pool: ProcessPoolExecutor, parts: Sequence[Sequence[int]], jobs: int
) -> Iterator[Batch]:
    """Yield batches in order, with no more of them waiting than the processes need."""
    waiting: deque[Future[Batch]] = deque()
    for part in parts:
        waiting.append(pool.submit(_play, part))
        if len(waiting) > 2 * jobs:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _stage(scenario: Scenario, seed: int, *, derive: bool) -> Stage:
    if not derive:
        return Stage(scenario, seed)
    from tracekit.instrumentation.derive import Deriver  # noqa: PLC0415 - loads rules and prices

    return Stage(scenario, seed, deriver=Deriver())


# In a process of the pool.

_mine: list[Stage] = []


def _begin(scenario: str, seed: int, derive: bool) -> None:
    _mine.append(_stage(Scenario.model_validate_json(scenario), seed, derive=derive))


def _play(numbers: Sequence[int]) -> Batch:
    return played(_mine[0], numbers)
