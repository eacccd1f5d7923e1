"""The collector's loop: requests in, sessions decided, kept ones out, all of them in the ledger.

    engine = Engine(journal, log, sessions, decider, sink=exporters, ledger=ledger)
    engine.recover()
    outcome = engine.receive(request)      # from any thread
    engine.tick(time.time_ns())            # from one thread, every now and then

What a crash leaves undone is done again after the restart: the journal is read back, its sessions
come due, and where the decision log has a decision, that one stands. What a target has is not sent
to it again, but for what was under way when the process died.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from samplers.collector.ahead import Ahead
from samplers.collector.batch import gather
from samplers.collector.census import Census
from samplers.collector.intake import Intake
from samplers.collector.mover import Mover
from samplers.collector.outbox import Kept
from samplers.collector.outlet import Outlet
from samplers.collector.policy_counts import PolicyCounts
from samplers.collector.pullback import pull_back
from samplers.decision import DecisionRecord
from samplers.session_types import LateSpans, Verdict
from samplers.strip import Ladder
from tracekit.errors import JournalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from samplers.collector.batch import Batch
    from samplers.collector.decider import Decider, Judged
    from samplers.collector.findings import Findings
    from samplers.collector.ledger import Ledger
    from samplers.collector.outcome import Outcome
    from samplers.collector.outlet import Sink
    from samplers.decisions import DecisionLog
    from samplers.journal import Journal
    from samplers.policy_model import Judgement
    from samplers.session_types import DueSession
    from samplers.sessions import Sessions

BATCH_SPANS: Final = 150_000
"""Spans decided at a time, where there is memory for it: the more, the less the fixed costs of a
batch weigh; more than this brings little."""

_LAST: Final = 1 << 62
_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400_000_000_000


def fingerprint(key: str) -> int:
    """Return the 128 bits a session goes by in the decision log."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16], "big")


class _Due(NamedTuple):
    """Sessions to decide together.

    Attributes:
        sessions: The sessions.
        upto: The journal's watermark from before they were taken out.
        now_ns: The time then.
    """

    sessions: list[DueSession]
    upto: int
    now_ns: int


class Engine:
    """The parts of a collector put together.

    Attributes:
        counts: What happened since the start, for metrics.
        census: Sessions counted as they were decided.
        policies: What each policy would have kept, the live one and its shadows.
        was_busy: Whether the last tick had a batch to decide that was full, or nearly.
    """

    def __init__(  # noqa: PLR0913 - the parts of a collector
        self,
        journal: Journal,
        log: DecisionLog,
        sessions: Sessions,
        decider: Decider,
        *,
        sink: Sink | None = None,
        ledger: Ledger | None = None,
        batch_spans: int = BATCH_SPANS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Put the parts together.

        Args:
            journal: Opened; read back by `recover`.
            log: In the same folder.
            sessions: Empty.
            decider: The policies.
            sink: Where kept spans go.
            ledger: Where rows of all sessions go.
            batch_spans: How many spans are decided at a time, at least one session's.
            clock: Nanoseconds since 1970.
        """
        self.counts: Counter[str] = Counter()
        self.census = Census()
        self.policies = PolicyCounts()
        self.was_busy = False
        self._journal = journal
        self._decisions = log
        self._sessions = sessions
        self._decider = decider
        self._ledger = ledger
        self._outlet = Outlet(journal, log, sink, ledger, Ladder(decider.live), clock())
        self._lock = threading.Lock()
        self._intake = Intake(journal, sessions, self._lock, self.counts, clock)
        self._mover = Mover(journal, sessions, self._lock)
        self._frozen_on = -1
        self._batch_spans = batch_spans
        self._held: deque[_Due] = deque()
        self._ahead: Ahead[_Due, tuple[Batch, Findings]] = Ahead(self._look, decider.batches)

    def receive(self, request: bytes, tenant: str = "") -> Outcome:
        """Take a request, from any thread: see `Intake.receive`."""
        return self._intake.receive(request, tenant)

    def recover(self) -> int:
        """Take in what an earlier run acknowledged; return how many spans that were.

        Sessions come due at the times they would have: decided ones leave the memory again, so
        that the journal may be longer than what can wait.
        """
        before = self.counts["spans"]
        decided_ns = 0
        for record in self._journal.recover():
            now = record.received_ns
            is_crowded = self._sessions.pending_spans > self._sessions.capacity.rows // 2
            if is_crowded and now >= decided_ns + _SECOND:
                self._decide_due(now, record.turn - 1)
                decided_ns = now
            self._outlet.remember(record)
            if self._intake.take_back(record):
                continue
            self._decide_due(now, record.turn - 1)
            if not self._intake.take_back(record):
                raise UsageError(
                    "the journal holds more spans of open sessions than fit into memory: lower "
                    "sessions.max_age or sessions.idle, so that some of them end"
                )
        for target in set(self._decisions.targets()) - set(self._outlet.targets):
            self._decisions.abandon(target)  # nobody will ever take what waits for it
        return self.counts["spans"] - before

    @property
    def exported_spans(self) -> int:
        """Spans handed to the exporters."""
        return self._outlet.exported_spans

    @property
    def stripped_bytes(self) -> Counter[str]:
        """Bytes taken out of what was exported, by the level of the degrade ladder."""
        return self._outlet.stripped_bytes

    def replace_policies(self, policies: Sequence[Judgement]) -> None:
        """Decide by other policies from the next batch on; call it from the thread that ticks."""
        self._decider.replace(policies)
        self._outlet.ladder = Ladder(policies[0])

    def rehearse(self, session: DueSession, data: bytes) -> None:
        """Judge a session to no effect, so that the first real one need not wait for it.

        Args:
            session: The session.
            data: What its rows point into.
        """
        batch = gather([session.key], [session.rows], lambda *_: data, 0)
        self._decider.find(batch.table, [session], 0)

    def tick(self, now_ns: int, *, flush: bool = False) -> None:
        """Decide what is due, export it, and let go of what is done.

        Args:
            now_ns: The time.
            flush: Write the ledger at once.
        """
        self.was_busy = False
        self._outlet.send()
        self._follow(now_ns)
        self._decide_due(now_ns)
        self._follow(now_ns)
        self._outlet.flush(now_ns, at_once=flush)
        self._intake.is_full = False

    def tend(self) -> None:
        """Close, clear and unlink segments, forget old decisions; call it every second."""
        self.counts["moved_spans"] += self._mover.move()
        self._journal.tend()
        live = self._journal.segments()
        self._decisions.compact(live)
        self._outlet.forget(live)

    def forget(self) -> None:
        """Let go of the memory that the last batches took, when no more are expected at once."""
        self._decider.forget()

    def freeze(self, now_ns: int) -> None:
        """Once a day take the baselines of cohorts from the ledger, where there is one."""
        today = now_ns // _DAY
        if self._ledger is None or today == self._frozen_on:
            return
        if self._decider.frozen_day < today - 1:
            self._decider.freeze(self._ledger.lake, now_ns)
        self._frozen_on = today

    def close(self) -> None:
        """End the threads that look at batches."""
        self._ahead.close()

    def _decide_due(self, now_ns: int, most: int = _LAST) -> None:
        """Decide what is due, a batch after the other; those behind it are looked at meanwhile.

        Args:
            now_ns: The time.
            most: The last record of the journal whose spans are in memory, where that is known.
        """
        try:
            while True:
                while self._ahead.has_room and (due := self._take(now_ns, most)) is not None:
                    self._ahead.put(due)
                if not self._ahead:
                    return
                self._decide(*self._ahead.take())
        finally:  # after a fault the others are looked at again the next time
            self._held.extend(self._ahead.clear())

    def _take(self, now_ns: int, most: int) -> _Due | None:
        """Take sessions out to be decided, as many as make a batch."""
        while not self._outlet.is_blocked:
            if self._held:
                return self._held.popleft()._replace(now_ns=now_ns)
            with self._lock:
                # Whatever was received up to here is in what is taken out below.
                upto = min(self._journal.watermark(), most)
                due = self._sessions.due(now_ns, self._batch_spans)
            if not due:
                return None
            self.was_busy |= sum(len(one.rows) for one in due) > self._batch_spans // 2
            tails = [LateSpans(one.key, one.rows, one.verdict) for one in due if one.verdict]
            self._follow_these([tail for tail in tails if len(tail.rows)], upto, now_ns)
            fresh = [one for one in due if one.verdict is None]
            self._settle_empty([one for one in fresh if not len(one.rows)], now_ns)
            if fresh := [one for one in fresh if len(one.rows)]:
                return _Due(fresh, upto, now_ns)
        return None

    def _look(self, due: _Due) -> tuple[Batch, Findings]:
        """Find out about sessions, in any thread."""
        sessions = due.sessions
        batch = self._outlet.gather([one.key for one in sessions], [one.rows for one in sessions])
        with_rows = self._ledger is not None
        found = self._decider.find(batch.table, sessions, due.now_ns, with_rows=with_rows)
        return batch, found

    def _settle_empty(self, due: Iterable[DueSession], now_ns: int) -> None:
        with self._lock:
            for one in due:
                self._intake.late.extend(self._sessions.settle(one, Verdict(kept=False), now_ns))

    def _decide(self, taken: _Due, looked: tuple[Batch, Findings]) -> None:
        due, upto, now_ns = taken
        batch, found = looked
        judgement = self._decider.decide(found, due, now_ns)
        judged = judgement.sessions
        made = [self._record(*pair, now_ns) for pair in zip(due, judged, strict=True)]
        final = [self._is_final(*pair) for pair in zip(due, made, strict=True)]
        recorded = [record for record, is_final in zip(made, final, strict=True) if is_final]
        try:
            standing = {record.session: record for record in self._decisions.decide(recorded)}
        except JournalError:
            self._held.append(taken)  # again when the disk has room
            raise
        self._decider.save()
        records = [standing.get(record.session, record) for record in made]
        with self._lock:
            for one, record in zip(due, records, strict=True):
                late = self._sessions.settle(one, _verdict(record), now_ns)
                self._intake.late.extend(late)
        decided = [one.key for one, is_final in zip(due, final, strict=True) if is_final]
        self._outlet.detected(judgement.of(decided))
        leaving: list[Kept] = []
        dropped: list[Kept] = []
        for number, (one, record) in enumerate(zip(due, records, strict=True)):
            if not final[number]:
                self.counts["interim"] += 1
                continue
            is_old = record is not made[number]
            its = Kept(number, one.key, one.rows, record, judged[number], is_old=is_old)
            self._count(record, is_old=is_old)
            if not is_old:
                self.policies.note(judged[number].decision, one)
            (leaving if record.keep else dropped).append(its)
        self._outlet.drop(batch, dropped, upto, judgement.rows)
        self._outlet.keep(batch, leaving, upto)

    def _is_final(self, session: DueSession, record: DecisionRecord) -> bool:
        """Return whether a decision goes on record: to keep is final, also from an earlier run."""
        if record.keep or not session.is_interim:
            return True
        earlier = self._decisions.get(record.session)
        return earlier is not None and earlier.keep

    def _record(self, session: DueSession, judged: Judged, now_ns: int) -> DecisionRecord:
        decision = judged.decision
        return DecisionRecord(
            session=fingerprint(session.key),
            keep=decision.keep,
            threshold=decision.threshold,
            policy=decision.policy,
            rule=decision.rule,
            stratum=decision.stratum,
            probability=decision.probability,
            trigger=decision.trigger,
            reasons=decision.reasons,
            decided_ns=now_ns,
            spans=session.spans,
            segments=tuple(sorted(set(session.rows["segment"].tolist()))),
            traces=session.traces,
            targets=self._outlet.targets if decision.keep else (),
            inclusion=decision.inclusion,
            th_out=decision.th_out,
            erase=decision.erase,
            degrade=decision.degrade,
            randomness=decision.randomness,
            bytes=session.bytes,
        )

    def _count(self, record: DecisionRecord, *, is_old: bool) -> None:
        if is_old:
            self.counts["decided_before"] += 1
            return
        self.counts["sessions"] += 1
        self.counts["kept"] += record.keep
        self.census.count(record)

    def pull_back(self, key: str, now_ns: int) -> DecisionRecord:
        """Keep a session that was dropped; call it from the thread that ticks.

        Raises:
            UsageError: Nothing is on record about it, or it was kept anyhow.
            JournalError: Its spans have aged out, at least some of them.
        """
        found = self._decisions.get(fingerprint(key))
        record = pull_back(key, found, self._journal, self._decisions, self._outlet, now_ns=now_ns)
        with self._lock:  # what comes late follows the new decision
            late = self._sessions.restore([], record.traces, _verdict(record), now_ns)
            self._intake.late.extend(late)
        self.counts["pulled_back"] += 1
        return record

    def _follow(self, now_ns: int) -> None:
        with self._lock:
            upto = self._journal.watermark()
            late, self._intake.late = self._intake.late, []
        self._follow_these(late, upto, now_ns)

    def _follow_these(self, late: Sequence[LateSpans], upto: int, now_ns: int) -> None:
        leaving: list[LateSpans] = []
        for one in late:
            self._decisions.late(fingerprint(one.key), set(one.rows["segment"].tolist()))
            if one.verdict.kept:
                leaving.append(one)
            else:
                self._outlet.release(one.rows, now_ns)
        if leaving:
            batch = self._outlet.gather([one.key for one in leaving], [one.rows for one in leaving])
            kept = [
                Kept(number, one.key, one.rows, self._standing(one, now_ns))
                for number, one in enumerate(leaving)
            ]
            self._outlet.keep(batch, kept, upto)

    def _standing(self, late: LateSpans, now_ns: int) -> DecisionRecord:
        """Return the decision that late spans follow; if the log forgot it, what memory has."""
        session = fingerprint(late.key)
        verdict = late.verdict
        return self._decisions.get(session) or DecisionRecord(
            session=session,
            keep=True,
            threshold=verdict.threshold,
            policy="",
            rule=verdict.rule,
            stratum="",
            probability=None,
            inclusion=1 / verdict.weight if verdict.weight else None,
            trigger="",
            reasons=(),
            decided_ns=now_ns,
            spans=0,
            segments=(),
            traces=(),
            erase=not verdict.weight,
        )


def _verdict(record: DecisionRecord) -> Verdict:
    weight = 1 / record.inclusion if record.inclusion else 0.0
    return Verdict(record.keep, record.threshold or 0, weight, record.rule)
