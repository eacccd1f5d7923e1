"""What waits for one target: on disk, bounded, and given out at least once.

    queue.put(request, spans)   # raises QueueFullError, or drops the oldest, when it is full
    record = queue.take()       # waits; None when the queue is closed
    queue.acknowledge(record)   # or queue.park(record)

A record that is taken and not acknowledged is given out again by the next process. Records may be
acknowledged in any order; the bookmark moves over them in the order they were put in, so that one
which takes long makes those behind it wait at some point.
"""

from __future__ import annotations

import collections
import dataclasses
import fcntl
import logging
import os
import threading
from typing import TYPE_CHECKING, Final

from samplers.collector.exporters.bookmark import Bookmark
from samplers.collector.exporters.file import sized
from samplers.collector.exporters.spool import (
    HEADER_BYTES,
    CorruptError,
    Position,
    Record,
    Segment,
    Spool,
)
from tracekit.errors import TracekitError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from samplers.collector.settings.exporters import QueueSettings

_log = logging.getLogger(__name__)

GIVEN_AT_MOST: Final = 64
"""Requests given out past the oldest one not acknowledged: so many a crash may send twice."""


class QueueFullError(TracekitError):
    """There is no room for a request; it is welcome when the target has taken others."""


@dataclasses.dataclass(slots=True)
class QueueCounts:
    """What became of requests that were not delivered, since the queue was opened.

    Attributes:
        dropped: Given up because the queue was full.
        dropped_spans: Their spans.
        parked: Kept aside because the target refused them.
        parked_spans: Their spans.
        unparked: Refused by the target with no room left to keep them aside; they are lost.
        corrupt: Files with damaged records, the rest of which was passed over.
    """

    dropped: int = 0
    dropped_spans: int = 0
    parked: int = 0
    parked_spans: int = 0
    unparked: int = 0
    corrupt: int = 0


class Queue:
    """A queue in a folder of its own."""

    def __init__(self, folder: Path, settings: QueueSettings) -> None:
        """Open a queue, with what a former process left in it.

        Args:
            folder: Its folder; made where it is not there.
            settings: Its bounds.

        Raises:
            UsageError: Another process has it open, or the folder cannot be written.
        """
        self._settings = settings
        self._folder = folder
        self._lock_fd = _locked(folder)
        self._bookmark = Bookmark(folder / "acknowledged")
        self._spool = Spool(folder, settings.segment, self._bookmark.position.segment)
        if self._bookmark.position > self._spool.end:  # a power cut took what it stood behind
            self._bookmark.move(self._spool.end)
        self._next = self._bookmark.position
        self._given: collections.OrderedDict[Position, Position] = collections.OrderedDict()
        self._done: set[Position] = set()
        self._parking = os.open(folder / "parked.pb", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._change = threading.Condition()
        self._closed = False
        self.counts = QueueCounts()
        self._waiting = sum(
            Position(segment.number, offset) >= self._next
            for segment in self._spool.segments
            for offset, _ in segment.offsets
        )

    @property
    def size(self) -> int:
        """Bytes on disk."""
        with self._change:
            return 0 if self._closed else self._spool.size

    @property
    def waiting(self) -> int:
        """Requests that are not acknowledged."""
        return self._waiting

    def check_room(self, size: int) -> None:
        """Make sure that a request of so many bytes can be put in; only `put` takes room away.

        Raises:
            QueueFullError: There is none, and none may be made.
        """
        with self._change:
            if not self._fits(size) and not self._may_drop(size):
                self._reclaim(size)

    def put(self, request: bytes, spans: int) -> None:
        """Write a request; a crash of this process does not lose it, a power cut may until `sync`.

        Raises:
            QueueFullError: There is no room, by the quota or on the disk.
        """
        with self._change:
            while not self._fits(len(request)):
                if self._may_drop(len(request)):
                    self._drop_oldest()
                else:
                    self._reclaim(len(request))
            try:
                self._spool.append(request, spans)
            except OSError as error:
                raise QueueFullError(
                    f"queue {self._folder}: cannot be written ({error.strerror})"
                ) from error
            self._waiting += 1
            self._change.notify()

    def take(self) -> Record | None:
        """Return the next request, when there is one; None when the queue is closed."""
        with self._change:
            while not self._closed:
                record = self._read() if len(self._given) < GIVEN_AT_MOST else None
                if record is not None:
                    self._next = record.end
                    self._given[record.start] = record.end
                    return record
                self._change.wait()
            return None

    def acknowledge(self, record: Record) -> None:
        """Forget a request: it need not be given out again."""
        with self._change:
            if self._closed or record.start not in self._given:
                return  # dropped meanwhile, and counted there
            self._done.add(record.start)
            self._waiting -= 1
            reached = None
            while self._given and next(iter(self._given)) in self._done:
                start, reached = self._given.popitem(last=False)
                self._done.discard(start)
            if reached is not None:
                self._move(reached)
            self._change.notify_all()

    def park(self, record: Record) -> None:
        """Keep a request aside that its target refused for good, and acknowledge it."""
        content = sized(record.request)
        with self._change:
            if self._closed:
                return
            kept = os.fstat(self._parking).st_size
            if kept + len(content) > self._settings.parked or not self._write_parked(content, kept):
                self.counts.unparked += 1
            self.counts.parked += 1
            self.counts.parked_spans += record.spans
        self.acknowledge(record)

    def sync(self) -> None:
        """Wait until everything put in is on disk."""
        with self._change:
            if not self._closed:
                self._spool.sync()

    def wait_empty(self, seconds: float) -> bool:
        """Wait until every request is acknowledged; false where that takes longer."""
        with self._change:
            return self._change.wait_for(lambda: self._closed or not self._waiting, seconds)

    def close(self) -> None:
        """Close the files and wake who waits. What is not acknowledged stays for the next open."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._spool.sync()
            self._spool.close()
            self._bookmark.close()
            os.close(self._parking)
            os.close(self._lock_fd)
            self._change.notify_all()

    def _fits(self, size: int) -> bool:
        return self._spool.size + HEADER_BYTES + size <= self._settings.quota

    def _may_drop(self, size: int) -> bool:
        settings = self._settings
        return settings.when_full == "drop_oldest" and size + HEADER_BYTES <= settings.quota

    def _reclaim(self, size: int) -> None:
        """Get back the room of what is done but still in the file that is written to."""
        if not self._waiting and self._spool.size:
            self._spool.roll()
            self._move(self._spool.end)
            if self._fits(size):
                return
        raise QueueFullError(
            f"queue {self._folder}: {self._waiting:,} requests wait, and the quota of "
            f"{self._settings.quota:,} bytes is used up: is the target down?"
        )

    def _drop_oldest(self) -> None:
        if len(self._spool.segments) == 1:
            self._spool.roll()
        oldest = self._spool.segments[0]
        for offset, spans in oldest.offsets:
            start = Position(oldest.number, offset)
            if start in self._done or start < self._bookmark.position:
                continue
            self.counts.dropped += 1
            self.counts.dropped_spans += spans
            self._waiting -= 1
        for start in [start for start in self._given if start.segment == oldest.number]:
            del self._given[start]
            self._done.discard(start)
        after = Position(self._spool.segments[1].number, 0)
        self._next = max(self._next, after)
        self._move(max(self._bookmark.position, after))
        _log.warning("queue %s is full: its oldest requests were dropped", self._folder)

    def _move(self, position: Position) -> None:
        for segment in self._spool.segments[:-1]:
            if position == Position(segment.number, segment.size):
                position = Position(segment.number + 1, 0)  # nothing of this file is needed
        self._bookmark.move(position)
        self._next = max(self._next, position)
        self._spool.remove_before(position.segment)

    def _read(self) -> Record | None:
        while True:
            try:
                return self._spool.read(self._next)
            except CorruptError:
                self._pass_over(next(s for s in self._spool.segments if s.number == self._at()))

    def _at(self) -> int:
        """Return the number of the file in which the next record is."""
        for segment in self._spool.segments:
            if Position(segment.number, segment.size) > self._next:
                return segment.number
        return self._next.segment

    def _pass_over(self, segment: Segment) -> None:
        left = [
            spans
            for offset, spans in segment.offsets
            if Position(segment.number, offset) >= self._next
        ]
        _log.error(
            "queue %s: file %d is damaged: %d requests are lost",
            self._folder,
            segment.number,
            len(left),
        )
        self.counts.corrupt += 1
        self._waiting -= len(left)
        if segment is self._spool.segments[-1]:
            self._spool.roll()
        self._next = Position(segment.number + 1, 0)

    def _write_parked(self, content: bytes, before: int) -> bool:
        try:
            if os.write(self._parking, content) == len(content):
                return True
            os.ftruncate(self._parking, before)
        except OSError as error:
            _log.warning("queue %s: cannot keep a request aside (%s)", self._folder, error)
        return False


def _locked(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"queue {folder}: cannot be written ({error.strerror})") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise UsageError(
            f"queue {folder}: another process has it open: stop that one, or choose another folder"
        ) from error
    return fd
