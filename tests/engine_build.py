"""A collector without threads or sockets: simulated sessions in, on a clock of their own."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from samplers.collector.decider import Decided, Decider, Judged
from samplers.collector.engine import BATCH_SPANS, Engine
from samplers.collector.exporters.queue import QueueFullError
from samplers.collector.findings import Findings
from samplers.collector.ledger import Ledger
from samplers.collector.outcome import Accepted
from samplers.decisions import DecisionLog
from samplers.journal import Journal
from samplers.pending import Capacity
from samplers.sessions import Sessions
from samplers.settings import MIB, JournalSettings
from samplers.terms import Decision
from tracekit.lake import Lake
from tracekit.lake.decided import DETECTIONS
from tracekit.otlp.scan import scan
from tracekit.simulation.run import Request, Run
from tracekit.simulation.scenario import load

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import pyarrow as pa

    from samplers.collector.outlet import Sink
    from samplers.policy_model import Judgement
    from samplers.session_types import DueSession, Limits

SECOND = 1_000_000_000
SETTINGS = JournalSettings(
    segment_bytes=MIB, quota_bytes=64 * MIB, lanes=1, fsync="never", keep_back_seconds=1e9
)

CAPACITY = Capacity(rows=60_000, decided=20_000)


class Clock:
    """A clock that is told the time.

    Attributes:
        now: Nanoseconds since 1970.
    """

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        """Return the time."""
        return self.now


class Box:
    """A sink that keeps what it gets.

    Attributes:
        requests: What came.
        is_full: Whether it refuses more.
    """

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.is_full = False

    def put(self, request: bytes, spans: int) -> None:
        """Keep a request."""
        if self.is_full:
            raise QueueFullError("full")
        assert scan(request).spans == spans
        self.requests.append(request)

    def spans(self) -> dict[str, list[str]]:
        """Return the span ids by trace, as often as they came."""
        found: dict[str, list[str]] = {}
        for request in self.requests:
            for row in scan(request).table.select(["trace_id", "span_id"]).to_pylist():
                found.setdefault(row["trace_id"], []).append(row["span_id"])
        return found


class Unseeing(Decider):
    """Decides without looking at a session, for tests of what is around a decision.

    Attributes:
        dropped: Keys of sessions to drop; all others are kept.
    """

    dropped: Collection[str] = ()

    def find(
        self, table: pa.Table, due: Sequence[DueSession], now_ns: int, *, with_rows: bool = False
    ) -> Findings:
        """Find out nothing."""
        del table, due, now_ns, with_rows
        return Findings()

    def decide(self, found: Findings, due: Sequence[DueSession], now_ns: int) -> Decided:
        """Keep sessions, or drop them."""
        del found, now_ns
        judged = [
            Judged(
                Decision(
                    session_id=session.key,
                    keep=session.key not in self.dropped,
                    randomness=1,
                    threshold=2 if session.key in self.dropped else 0,
                    probability=1.0,
                    inclusion=1.0,
                    policy="keep",
                    rule="all",
                    stratum="",
                    trigger=session.trigger,
                    reasons=(),
                    th_out=None,
                    erase=False,
                )
            )
            for session in due
        ]
        return Decided(judged, DETECTIONS.empty_table())


@cache
def simulated(sessions: int, seed: int) -> list[Request]:
    """Return the requests of simulated sessions, interleaved."""
    return list(Run(load("default"), sessions=sessions, seed=seed, jobs=1).requests(lambda _: None))


class Collector:
    """An engine with a journal and a lake in a folder; again on the same folder is a restart."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a collector
        self,
        folder: Path,
        policies: Sequence[Judgement],
        clock: Clock,
        box: Sink,
        limits: Limits | None = None,
        settings: JournalSettings = SETTINGS,
        capacity: Capacity = CAPACITY,
        *,
        models: bool = True,
        batches: int = 1,
        batch_spans: int = BATCH_SPANS,
    ) -> None:
        """Open the folder and take back what is in it.

        Args:
            folder: Of journal and lake.
            policies: What to keep.
            clock: The time.
            box: Where kept spans go.
            limits: When sessions are over.
            settings: Of the journal.
            capacity: How much may wait.
            models: Whether sessions are judged and stored; otherwise they are kept, unseen.
            batches: How many batches are looked at at a time.
            batch_spans: How many spans make a batch.
        """
        self.clock = clock
        self.journal = Journal(folder / "journal", settings, clock=clock)
        # Opened before the log, whose folder it makes.
        self.log = DecisionLog(
            folder / "journal", self.journal.syncer, self.journal.settings, clock=clock
        )
        self.lake = Lake.open(folder / "lake", create=True)
        kind = Decider if models else Unseeing
        self.decider = kind(policies, folder / "journal" / "policies.json", batches=batches)
        self.sessions = Sessions(capacity, limits)
        self.engine = Engine(
            self.journal,
            self.log,
            self.sessions,
            self.decider,
            sink=box,
            ledger=Ledger(self.lake, interval=1e9) if models else None,
            batch_spans=batch_spans,
            clock=clock,
        )
        self.engine.recover()

    def feed(self, requests: Sequence[Request], every: int = 200) -> None:
        """Receive requests when their last span ended, and tick now and then."""
        for number, request in enumerate(requests):
            self.clock.now = max(self.clock.now, request.end_ns)
            assert self.engine.receive(request.data) == Accepted()
            if number % every == 0:
                self.engine.tick(self.clock.now)

    def finish(self, after: int = 24 * 3600 * SECOND) -> None:
        """Let all sessions end, write the ledger, close."""
        self.clock.now += after
        self.engine.tick(self.clock.now)
        self.engine.tick(self.clock.now, flush=True)
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        self.engine.close()
        self.journal.close()
