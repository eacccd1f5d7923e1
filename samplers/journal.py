"""The journal: segment files that are write-ahead log, span buffer and recovery in one.

    journal = Journal(folder, JournalSettings()).start()
    for record in journal.recover():                # what an earlier run acknowledged, in order
        ...
    at = journal.append(request, received_ns, spans=n)   # returns when it is written: acknowledge
    journal.ingested(at)                            # its spans are in memory
    journal.view(at.segment)                        # the bytes, without a copy
    journal.release(at.segment, n)                  # decided, and exported where kept
    journal.tend()                                  # every second: closes and unlinks segments

Acknowledged means written: with fsync "interval" to the system's page cache, which the death of
the process does not touch; with "always" to the disk. Recovery changes no file and never fails on
what a crash left unfinished; a restart begins new segments behind the old ones.

Locks: a lane, then the shelf; neither is held while the disk is synced.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from samplers import frames
from samplers.frames import FILE
from samplers.lanes import Lanes, Location, Numbers
from samplers.reading import Maps, read_range
from samplers.recovery import Record, Recovered, as_record, pack_origin, recover
from samplers.segments import Shelf
from samplers.settings import JournalSettings
from samplers.syncing import Batch, Repeat, Syncer
from tracekit.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from samplers.frames import Draft
    from samplers.recovery import Origin


__all__ = ["Journal", "JournalSettings", "Location", "Record"]

_SECOND = 1_000_000_000
_TIGHT: Final = 0.75
"""Share of the quota from which on the journal counts as nearly full."""


class Pinned(NamedTuple):
    """A segment that cannot go yet.

    Attributes:
        segment: Its number.
        pending: Spans in it that wait.
        size: Its bytes.
    """

    segment: int
    pending: int
    size: int


class Journal:
    """A folder of segments. One process at a time; any number of its threads.

    Args:
        folder: Where the segments are; made if absent.
        settings: Sizes, times, and what an acknowledgement promises.
        clock: Nanoseconds since 1970; given by tests.
        pause: Sleeps; given by tests.

    Raises:
        JournalError: Another collector uses the folder, or a file in it is foreign or newer.
    """

    def __init__(
        self,
        folder: Path,
        settings: JournalSettings | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.settings = settings = settings or JournalSettings()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_file: int | None = _lock(folder)
        self._clock = clock
        self.syncer = Syncer(settings.commit_window_seconds, pause)
        try:
            self._shelf = Shelf(folder, settings, clock, self.syncer.sync)
        except BaseException:
            self._unlock()
            raise
        self._numbers = Numbers()
        self._lanes = Lanes(self._shelf, self._numbers, settings.lanes, settings.segment_bytes)
        self._maps = Maps(self._shelf.get, settings.open_segments)
        self._repeat: Repeat | None = None
        self._recovered = Recovered()
        self._ready = not self._shelf.all()

    def start(self, wait: Callable[[float], bool] | None = None) -> Self:
        """Begin to bring what is written to the disk every `fsync_seconds`.

        Args:
            wait: Waits so many seconds and returns whether to stop; given by tests.
        """
        if self.settings.fsync == "interval":
            self._repeat = Repeat(self.settings.fsync_seconds, self.syncer.sync, wait).start()
        return self

    def append(
        self, request: bytes, received_ns: int, *, spans: int, meta: bytes = b""
    ) -> Location:
        """Write a request; once this returns it may be acknowledged.

        Its spans count as pending until they are released. Call `ingested` when they are in
        memory.

        Args:
            request: Bytes of one OTLP request, already found valid.
            received_ns: When it was received.
            spans: Number of spans in it.
            meta: What is known beside the request and must survive a restart, such as its tenant.

        Raises:
            JournalFullError: No room; the sender may retry.
            JournalError: The disk fails; nothing was acknowledged.
        """
        self._check_ready()
        drafted = frames.draft(
            frames.REQUEST, (request,), meta=meta, spans=spans, received_ns=received_ns
        )
        at, handle = self._lanes.append(drafted)
        if self.settings.fsync != "never":
            batch = self.syncer.wrote(handle)
            if self.settings.fsync == "always":
                self._wait(batch, at, drafted)
        return at

    def append_moved(self, request: bytes, origin: Origin, like: Record) -> Location:
        """Write spans again that are in an older segment: see `samplers.moving`.

        Args:
            request: A request of just these spans.
            origin: Where each of them is now, in the order of the request.
            like: The record they are from; its time and its meta are kept.
        """
        payload = (request, pack_origin(origin))
        drafted = frames.draft(
            frames.MOVED,
            payload,
            meta=like.meta,
            spans=len(origin.offsets),
            received_ns=like.received_ns,
        )
        at, handle = self._lanes.append(drafted, self.settings.reserve_bytes)
        self.syncer.wrote(handle)  # on the disk before the old segment is unlinked, not before that
        self._shelf.count(moved_spans=len(origin.offsets))
        self.ingested(at)
        return at

    def ingested(self, at: Location) -> None:
        """Say that the spans of a record are in memory; `watermark` may pass it."""
        self._numbers.close(at.sequence)

    def watermark(self) -> int:
        """Return a sequence: every record up to it is in memory, so a decision has seen it."""
        return self._numbers.watermark()

    def hold(self, segment: int, spans: int) -> None:
        """Count spans of a segment as pending again: a dropped session was pulled back.

        Raises:
            JournalError: The segment has aged out.
        """
        self._shelf.hold(segment, spans, self._clock())
        self._shelf.count(pulled_back_spans=spans)

    def release(self, segment: int, spans: int, at_ns: int | None = None) -> None:
        """Count spans as no longer pending: dropped, or kept and exported.

        Args:
            segment: Where they are.
            spans: How many.
            at_ns: When that was, if it was not now: after a restart, when it was decided.
        """
        self._shelf.release(segment, spans, self._clock() if at_ns is None else at_ns)

    def read(self, segment: int, offset: int, length: int) -> bytes:
        """Return a range of a segment.

        Raises:
            JournalError: The segment has aged out.
        """
        return read_range(self._shelf.get(segment), offset, length)

    def view(self, segment: int) -> memoryview:
        """Return all of a segment that is written so far, mapped read-only; for many ranges.

        Raises:
            JournalError: The segment has aged out.
        """
        return self._maps.view(segment)

    def records(self, segment: int) -> Iterator[Record]:
        """Yield the records of one segment, in order.

        Raises:
            JournalError: The segment has aged out.
        """
        one = self._shelf.get(segment)
        written = self._maps.view(segment)[: one.end]
        for frame in frames.walk(written, segment, frames.Found()):
            yield as_record(segment, frame)

    def segments(self) -> list[int]:
        """Return the numbers of all segments, oldest first."""
        return [segment.number for segment in self._shelf.all()]

    def pinned(self) -> list[Pinned]:
        """Return the segments that could go but for their pending spans, oldest first.

        Those are closed ones that are older than `keep_back_seconds`; while the journal is nearly
        full, any age will do.
        """
        begun = self._clock() - round(self.settings.keep_back_seconds * _SECOND)
        is_tight = self._shelf.bytes > _TIGHT * self.settings.quota_bytes
        return [
            Pinned(one.number, one.pending, one.size)
            for one in self._shelf.all()
            if one.pending and one.handle is None and (is_tight or one.created_ns <= begun)
        ]

    def recover(self) -> Iterator[Record]:
        """Yield what an earlier run wrote, in the order it was received, then open for appends.

        Every span of a record counts as pending from the moment the record is yielded. Spans that
        were moved come twice, one copy behind the other, until the older segment is gone.
        """
        if self._ready:
            return
        old = [segment for segment in self._shelf.all() if segment.handle is None]
        # An earlier run may have lost its records to age, but their numbers stay used.
        highest = max([0, *(segment.base - 1 for segment in old)])
        for record in recover(old, self._recovered):
            self._shelf.hold(record.segment, record.spans, record.received_ns)
            self._numbers.next = record.turn + 1
            highest = max(highest, record.sequence)
            yield record
        self._numbers.next = highest + 1
        self._ready = True

    def tend(self) -> list[int]:
        """Close segments that are old, unlink those that have aged out; return the unlinked."""
        self._check_ready()
        oldest = self._clock() - round(self.settings.segment_seconds * _SECOND)
        self._lanes.close(
            lambda one: (
                one.created_ns <= oldest
                and one.end > FILE.size
                and not (one.of_moved and one.pending)
            )  # what waited for long gathers in one file
        )
        gone = self._shelf.age_out()
        self._maps.forget(gone)
        return gone

    def sync(self) -> None:
        """Bring everything written so far to the disk."""
        self.syncer.sync()

    def close(self) -> None:
        """Bring everything to the disk and let go of the folder."""
        if self._repeat is not None:
            self._repeat.close()
            self._repeat = None
        self._lanes.close(lambda _: True)
        self.syncer.sync()
        self._unlock()

    def state(self) -> dict[str, int]:
        """Return counters since the start, and what is on the disk now, for metrics."""
        segments = self._shelf.all()
        return {
            **self._shelf.counts,
            **self._recovered.counts(),
            "records": self._shelf.written_records,
            "bytes": self._shelf.written_bytes,
            "fsyncs": self.syncer.fsyncs,
            "fsync_errors": self.syncer.errors,
            "segments": len(segments),
            "segment_bytes": self._shelf.bytes,
            "quota_bytes": self.settings.quota_bytes,
            "pending_spans": sum(segment.pending for segment in segments),
        }

    def _wait(self, batch: Batch, at: Location, frame: Draft) -> None:
        try:
            self.syncer.wait(batch)
        except JournalError:
            # The sender will send it again: this copy may be there after a restart or not.
            self._shelf.release(at.segment, frame.spans, self._clock())
            self.ingested(at)
            raise

    def _check_ready(self) -> None:
        if not self._ready:
            raise RuntimeError("recover() must be read to its end before anything is appended")

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _lock(folder: Path) -> int:
    """Make sure no other process writes here; the lock goes with its process, however it ends."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise JournalError(
            f"another collector uses the journal in {folder}: stop it, or name another folder"
        ) from None
    return descriptor
