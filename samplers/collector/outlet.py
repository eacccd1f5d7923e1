"""What leaves the collector: kept spans to the exporters, all sessions to the lake.

A segment of the journal may go when its spans are with everybody who is to have them, so that is
when they are released, and not before.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from samplers.collector.batch import gather, of_request
from samplers.collector.exporters.queue import QueueFullError
from samplers.collector.outbox import parcels

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    import pyarrow as pa

    from samplers.collector.batch import Batch
    from samplers.collector.ledger import Ledger, Released
    from samplers.collector.outbox import Kept, Parcel
    from samplers.decisions import DecisionLog
    from samplers.journal import Journal
    from samplers.recovery import Record
    from samplers.session_types import Rows
    from samplers.strip import Ladder
    from tracekit.lake.derived import Derived

EXPORT: Final = "exporters"
"""The exporters' queues in the decision log: every request is in all of them or in none."""

LAKE: Final = "lake"
"""The lake in the decision log."""


class Sink(Protocol):
    """Where kept spans go; what it takes it does not lose."""

    def put(self, request: bytes, spans: int) -> None:
        """Take a request, or raise QueueFullError."""


class Outlet:
    """Exports, and keeps account of it. Used by one thread.

    Args:
        journal: Where the spans are.
        log: Where it is noted who has which session.
        sink: Where kept spans go.
        ledger: Where rows of all sessions go.
        ladder: What is taken out of what the sink gets.
        began_ns: When this run began; decisions from before are those of earlier runs.

    Attributes:
        ladder: As above.
        fingerprint_key: Key of the fingerprints in the lake.
        exported_spans: Spans handed to the sink so far.
        stripped_bytes: Bytes taken out so far, by the level of the ladder.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a collector that it connects
        self,
        journal: Journal,
        log: DecisionLog,
        sink: Sink | None,
        ledger: Ledger | None,
        ladder: Ladder,
        began_ns: int,
    ) -> None:
        self.ladder = ladder
        self._began_ns = began_ns
        self._journal = journal
        self._log = log
        self._sink = sink
        self._ledger = ledger
        self.fingerprint_key = 0 if ledger is None else ledger.lake.info.fingerprint_key
        self._waiting: deque[tuple[Parcel, Released]] = deque()
        self._places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.exported_spans = 0
        self.stripped_bytes: Counter[str] = Counter()

    @property
    def targets(self) -> tuple[str, ...]:
        """Who is to have kept sessions."""
        both = ((EXPORT, self._sink), (LAKE, self._ledger))
        return tuple(name for name, target in both if target is not None)

    @property
    def is_blocked(self) -> bool:
        """Whether nothing should be decided now, since nobody takes what was."""
        return bool(self._waiting) or (self._ledger is not None and self._ledger.is_full)

    def gather(self, keys: Sequence[str], rows: Sequence[Rows]) -> Batch:
        """Return the spans of sessions, by their keys and where they are in the journal."""
        return gather(keys, rows, self._read, self.fingerprint_key)

    def _read(self, segment: int, offset: int, length: int) -> memoryview:
        return self._journal.view(segment)[offset : offset + length]

    def remember(self, record: Record) -> None:
        """Note the place of a record that was read back: its spans may be exported already."""
        insort(self._places[record.segment], (record.offset, record.turn))

    def forget(self, live: Collection[int]) -> None:
        """Forget the places in segments that are gone."""
        for segment in set(self._places) - set(live):
            del self._places[segment]

    def detected(self, found: pa.Table) -> None:
        """Write into the ledger what the detectors found in sessions that are decided."""
        if self._ledger is not None:
            self._ledger.detected(found)

    def drop(
        self, batch: Batch, dropped: Sequence[Kept], upto: int, rows: Sequence[Derived] = ()
    ) -> None:
        """Write dropped sessions into the ledger.

        Args:
            batch: The spans.
            dropped: The sessions.
            upto: The journal's watermark from before they were gathered.
            rows: What was derived of the batch's sessions.
        """
        released: Released = Counter()
        for its in dropped:
            released.update(_released(its.rows, its.record.decided_ns))
        if self._ledger is None:
            self._release(released)
            return
        lacking = [its for its in dropped if not self._is_stored(its)]
        places = {its.key: its.rows for its in lacking}
        for derived in rows:
            found = derived.of(places)
            self._ledger.derived(found, {key: places.pop(key) for key in found.sessions})
        self._ledger.add(batch.of([its.number for its in lacking if its.key in places]))
        for its in lacking:
            self._ledger.decided(its.key, its.record)
        self._ledger.settle({its.record.session: upto for its in dropped}, released)

    def _is_stored(self, its: Kept) -> bool:
        """Return whether the ledger has a dropped session, decided by an earlier run.

        What is left of it in the journal may be a part, as segments age out one by one, or a copy
        of its end that came after the decision: it must not replace the row.
        """
        is_earlier = its.is_old and its.record.decided_ns <= self._began_ns
        return is_earlier and self._log.is_exported(its.record.session, LAKE, 0)

    def keep(self, batch: Batch, kept: Iterable[Kept], upto: int) -> None:
        """Export sessions, or the spans of them that a target does not have yet."""
        released: Released = Counter()
        groups: defaultdict[tuple[tuple[str, ...], int], list[tuple[Kept, list[int]]]]
        groups = defaultdict(list)
        for its in kept:
            released.update(_released(its.rows, its.record.decided_ns))
            for targets, rows in self._chosen(batch, its).items():
                groups[targets, its.record.degrade].append((its, rows))
                if self._ledger is not None and LAKE in targets:
                    self._ledger.decided(its.key, its.record)
        leaving: list[Parcel] = []
        for (targets, level), chosen in groups.items():
            if self._ledger is not None and LAKE in targets:
                self._store(parcels(batch, chosen, upto, self.ladder.whole), self._ledger)
            if EXPORT in targets:
                leaving += self._stripped(batch, chosen, upto, level)
        for parcel in leaving:
            self._waiting.append((parcel, released if parcel is leaving[-1] else Counter()))
        if not leaving:
            self._done(released)
        self.send()

    def _store(self, made: Iterable[Parcel], ledger: Ledger) -> None:
        """Give sessions to the lake: as they came, since its rows must not depend on the ladder."""
        for parcel in made:
            again = of_request(parcel.request, parcel.keys, parcel.sizes, self.fingerprint_key)
            ledger.add(again.table)
            ledger.settle(parcel.whole, {})

    def _stripped(
        self, batch: Batch, chosen: Sequence[tuple[Kept, list[int]]], upto: int, level: int
    ) -> Iterator[Parcel]:
        leaving = self.ladder.at(level)
        for parcel in parcels(batch, chosen, upto, leaving):
            self.stripped_bytes[leaving.level] += parcel.stripped
            yield parcel

    def send(self) -> None:
        """Hand what waits to the exporters, as far as they have room."""
        while self._waiting and self._sink is not None:
            parcel, released = self._waiting[0]
            try:
                self._sink.put(parcel.request, parcel.spans)
            except QueueFullError:
                return
            self._waiting.popleft()
            self.exported_spans += parcel.spans
            if parcel.whole:
                self._log.exported(EXPORT, parcel.whole)
            self._done(released)

    def flush(self, now_ns: int, *, at_once: bool = False) -> None:
        """Write the ledger, when it is time."""
        if self._ledger is None:
            return
        upto, released = self._ledger.flush(now_ns, self._table, at_once=at_once)
        if upto:
            self._log.exported(LAKE, upto)
        self._release(released)

    def _table(self, keys: Sequence[str], rows: Sequence[Rows]) -> pa.Table:
        return self.gather(keys, rows).table

    def release(self, rows: Rows, at_ns: int) -> None:
        """Let go of spans that nobody is to have."""
        self._release(_released(rows, at_ns))

    def _chosen(self, batch: Batch, its: Kept) -> dict[tuple[str, ...], list[int]]:
        """Return the rows of a session by who is to have them."""
        rows = batch.rows(its.number)
        if not its.is_old:
            return {self.targets: list(rows)} if self.targets else {}
        targets = set(self.targets) & set(its.record.targets)
        missing = {target: self._missing(its, target) for target in sorted(targets)}
        chosen: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            lacking = tuple(target for target, lack in missing.items() if lack[place])
            if lacking:
                chosen[lacking].append(row)
        return chosen

    def _missing(self, its: Kept, target: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return which spans of a session decided by an earlier run a target does not have."""
        missing = np.ones(len(its.rows), np.bool_)
        for segment in np.unique(its.rows["segment"]).tolist():
            if segment not in self._places:
                continue
            offsets, sequences = (np.array(one) for one in zip(*self._places[segment], strict=True))
            here = np.flatnonzero(its.rows["segment"] == segment)
            at = np.searchsorted(offsets, its.rows["offset"][here].astype(np.int64), "right") - 1
            found = sequences[at].tolist()
            known = {
                sequence: self._log.is_exported(its.record.session, target, sequence)
                for sequence in set(found)
            }
            missing[here] = [not known[sequence] for sequence in found]
        return missing

    def _done(self, released: Released) -> None:
        if self._ledger is None:
            self._release(released)
        else:
            self._ledger.settle({}, released)

    def _release(self, released: Released) -> None:
        for (segment, at_ns), spans in released.items():
            self._journal.release(segment, spans, at_ns)


def _released(rows: Rows, at_ns: int) -> Released:
    if len(rows) and (rows["segment"] == rows["segment"][0]).all():  # nearly always
        return Counter({(int(rows["segment"][0]), at_ns): len(rows)})
    segments, counts = np.unique(rows["segment"], return_counts=True)
    pairs: Sequence[tuple[int, int]] = list(zip(segments.tolist(), counts.tolist(), strict=True))
    return Counter({(segment, at_ns): count for segment, count in pairs})
