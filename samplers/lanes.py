"""Appending from several threads: each writes whole frames to the end of a segment of its own.

A frame is written under the lock of its lane, never reserved and filled later: a segment has no
holes, so what a crash leaves unfinished is always the last thing in it.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from samplers.frames import FILE, HEAD, MOVED
from samplers.syncing import write_all
from tracekit.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from samplers.frames import Draft
    from samplers.segments import Segment, Shelf
    from samplers.syncing import Handle

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a system answers when there is no room: on the disk, for this user, in one file."""


class Location(NamedTuple):
    """Where a request is in the journal.

    Attributes:
        segment: Number of the segment file.
        offset: Where the request begins in that file.
        sequence: Number of its record.
    """

    segment: int
    offset: int
    sequence: int


class Numbers:
    """Hands out sequence numbers and knows which records are not ingested yet."""

    def __init__(self) -> None:
        self.next = 1
        self._open: set[int] = set()
        self._lock = threading.Lock()

    def take(self) -> int:
        """Return the next number; it is open until `close`."""
        with self._lock:
            number = self.next
            self.next += 1
            self._open.add(number)
            return number

    def close(self, number: int) -> None:
        """Say that a record is ingested, or was never written."""
        with self._lock:
            self._open.discard(number)

    def watermark(self) -> int:
        """Return the highest number with no open one at or below it."""
        with self._lock:
            return min(self._open, default=self.next) - 1


class Lane:
    """One segment being written; used under its lock."""

    def __init__(
        self, shelf: Shelf, numbers: Numbers, segment_bytes: int, *, of_moved: bool = False
    ) -> None:
        self.lock = threading.Lock()
        self._of_moved = of_moved
        self.segment: Segment | None = None
        self._shelf = shelf
        self._numbers = numbers
        self._segment_bytes = segment_bytes

    def close(self) -> None:
        """Write no more to the current segment."""
        if self.segment is not None:
            self.segment.handle = None
            self.segment = None

    def append(self, frame: Draft) -> tuple[Location, Handle]:
        """Write a frame behind the last one and count its spans as pending.

        Raises:
            OSError: It could not be written; nothing of it is left.
        """
        segment, handle = self._room(frame.size)
        sequence = self._numbers.take()
        try:
            pieces = (frame.head(segment.number, sequence), *frame.pieces)
            self._write(segment, handle, pieces)
        except BaseException:
            self._numbers.close(sequence)
            raise
        start = segment.end + HEAD.size + len(frame.pieces[0])
        self._shelf.wrote(segment, frame.spans, frame.size, frame.received_ns)
        return Location(segment.number, start, sequence), handle

    def _write(self, segment: Segment, handle: Handle, pieces: Sequence[bytes]) -> None:
        try:
            write_all(handle.fd, pieces, segment.end)
        except OSError as error:
            handle.suspect = True  # until what was written of it is gone again
            with suppress(OSError):
                os.ftruncate(handle.fd, segment.end)
                handle.suspect = False
            # A limit on the size of a file is met by another file; a full disk is not.
            if error.errno == errno.EFBIG and segment.end > FILE.size:
                self.close()
            raise

    def _room(self, size: int) -> tuple[Segment, Handle]:
        segment = self.segment
        if segment is not None and segment.handle is not None:
            empty = segment.end == FILE.size
            fits = empty or segment.end + size <= self._segment_bytes
            if fits and not segment.handle.suspect:
                return segment, segment.handle
        self.close()
        self.segment = self._shelf.create(self._numbers.next, of_moved=self._of_moved)
        assert self.segment.handle is not None  # noqa: S101  it was just opened
        return self.segment, self.segment.handle


class Lanes:
    """Writes frames on whichever lane is free; moved spans have a lane of their own.

    What has waited for hours will wait on: apart from what is over in a minute it is not moved
    again soon.
    """

    def __init__(self, shelf: Shelf, numbers: Numbers, lanes: int, segment_bytes: int) -> None:
        self._shelf = shelf
        self._lanes = [Lane(shelf, numbers, segment_bytes) for _ in range(lanes)]
        self._moved = Lane(shelf, numbers, segment_bytes, of_moved=True)

    def append(self, frame: Draft, beyond: int = 0) -> tuple[Location, Handle]:
        """Write a frame; return where it is, and the file that must reach the disk for it.

        Args:
            frame: The frame.
            beyond: Bytes it may take beyond the quota.

        Raises:
            JournalFullError: No room within the quota, or on the disk.
            JournalError: The disk fails.
        """
        self._shelf.reserve(frame.size, beyond)
        try:
            return self._try(frame)
        except BaseException:
            self._shelf.give_back(frame.size)
            raise

    def _try(self, frame: Draft) -> tuple[Location, Handle]:
        for again in (True, False):
            try:
                with self._lane(frame) as lane:
                    return lane.append(frame)
            except OSError as error:
                if error.errno not in FULL:
                    raise JournalError(f"the journal cannot be written: {error}") from error
                self._make_room(frame, error, again=again)
        raise AssertionError  # the second failure raises

    def _make_room(self, frame: Draft, error: OSError, *, again: bool) -> None:
        one_file = error.errno == errno.EFBIG
        if again and (one_file or self._shelf.drop_early(frame.size, "disk") > 0):
            return
        self._shelf.count(refused_disk=1)
        raise self._shelf.full(str(error.strerror)) from error

    @contextmanager
    def _lane(self, frame: Draft) -> Iterator[Lane]:
        """Hold a lane: the first that is free, so that few are in use when there is little to do.

        When none is free, threads spread.
        """
        lanes = [self._moved] if frame.kind == MOVED else self._lanes
        for lane in lanes:
            if lane.lock.acquire(blocking=False):
                break
        else:
            lane = lanes[threading.get_ident() // 64 % len(lanes)]
            lane.lock.acquire()
        try:
            yield lane
        finally:
            lane.lock.release()

    def close(self, which: Callable[[Segment], bool]) -> None:
        """Close the segments for which `which` holds."""
        for lane in (*self._lanes, self._moved):
            with lane.lock:
                if lane.segment is not None and which(lane.segment):
                    lane.close()
