"""The segment files of a journal: what each still holds, when it may go, and room for new ones."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samplers.frames import FILE, SEGMENT_MAGIC, FileHeader, pack_file, read_file_header
from samplers.syncing import Handle, sync_folder, write_all
from tracekit.errors import JournalError, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from samplers.settings import JournalSettings

SUFFIX = ".segment"
_SECOND = 1_000_000_000


@dataclass(slots=True, eq=False)
class Segment:
    """One segment file.

    Attributes:
        number: Ascending; never used twice.
        path: The file.
        base: No record in it has a lower sequence.
        created_ns: When it was begun.
        end: Where its last record ends.
        size: Bytes it takes on the disk: `end`, and what a crash left behind it.
        of_moved: Whether it holds moved spans only.
        pending: Spans in it that wait for a decision or for their export.
        active_ns: When it was last written to, or last released from.
        handle: Open for writing; None when it is closed.
    """

    number: int
    path: Path
    base: int
    created_ns: int
    end: int
    size: int
    active_ns: int
    handle: Handle | None
    of_moved: bool = False
    pending: int = 0


class Shelf:
    """All segments of a journal, with their counts. Safe to use from several threads.

    Args:
        folder: Where the files are.
        settings: Of the journal.
        clock: Nanoseconds since 1970.
        before_unlink: Called before files go; what replaces them must be on the disk then.
    """

    def __init__(
        self,
        folder: Path,
        settings: JournalSettings,
        clock: Callable[[], int],
        before_unlink: Callable[[], object],
    ) -> None:
        self.bytes = 0
        self.written_records = 0
        self.written_bytes = 0
        self.counts: Counter[str] = Counter()
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._before_unlink = before_unlink
        self._lock = threading.Lock()
        self._segments: dict[int, Segment] = {}
        self._next = 1
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            self._adopt(path)

    def _adopt(self, path: Path) -> None:
        """Take in a file of an earlier run; it is read, and never written to again."""
        if not path.stem.isdecimal():
            raise JournalError(f"{path} is not a file of the journal: move it out of that folder")
        header = read_file_header(path, SEGMENT_MAGIC)
        number = int(path.stem)
        if header is not None and header.number != number:
            raise JournalError(f"{path} was segment {header.number}: give it its name back")
        header = header or FileHeader(number, 0, self._clock())
        size = path.stat().st_size
        self._segments[number] = Segment(
            number=number,
            path=path,
            base=header.base,
            created_ns=header.created_ns,
            end=min(size, FILE.size),
            size=size,
            active_ns=header.created_ns,
            handle=None,
            of_moved=header.of_moved,
        )
        self.bytes += size
        self._next = max(self._next, number + 1)

    def count(self, **amounts: int) -> None:
        """Add to counters."""
        with self._lock:
            self.counts.update(amounts)

    def create(self, base: int, *, of_moved: bool = False) -> Segment:
        """Begin a segment whose records have at least the sequence `base`."""
        with self._lock:
            number = self._next
            self._next += 1
        path = self._folder / f"{number:010}{SUFFIX}"
        header = FileHeader(number, base, self._clock(), of_moved)
        handle = Handle(path)
        try:
            write_all(handle.fd, [pack_file(SEGMENT_MAGIC, header)], 0)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        segment = Segment(
            number=number,
            path=path,
            base=base,
            created_ns=header.created_ns,
            end=FILE.size,
            size=FILE.size,
            active_ns=header.created_ns,
            handle=handle,
            of_moved=of_moved,
        )
        with self._lock:
            self._segments[number] = segment
            self.bytes += FILE.size
        return segment

    def get(self, number: int) -> Segment:
        """Return a segment.

        Raises:
            JournalError: It has aged out.
        """
        with self._lock:
            return self._get(number)

    def _get(self, number: int) -> Segment:
        segment = self._segments.get(number)
        if segment is None:
            raise JournalError(f"segment {number} of the journal has aged out")
        return segment

    def all(self) -> list[Segment]:
        """Return every segment, oldest first."""
        with self._lock:
            return sorted(self._segments.values(), key=lambda segment: segment.number)

    def wrote(self, segment: Segment, spans: int, size: int, at_ns: int) -> None:
        """Count a record that was written to the end of a segment, its spans as pending."""
        with self._lock:
            segment.end += size
            segment.size = segment.end
            segment.pending += spans
            segment.active_ns = max(segment.active_ns, at_ns)
            self.written_records += 1
            self.written_bytes += size

    def hold(self, number: int, spans: int, at_ns: int) -> None:
        """Count spans of a segment as pending.

        Raises:
            JournalError: It has aged out.
        """
        with self._lock:
            segment = self._get(number)
            segment.pending += spans
            segment.active_ns = max(segment.active_ns, at_ns)

    def release(self, number: int, spans: int, at_ns: int) -> None:
        """Count spans as no longer pending; the keep-back time begins anew.

        Raises:
            ValueError: More is released than was held: a mistake that would lose spans.
        """
        with self._lock:
            segment = self._get(number)
            if spans > segment.pending:
                raise ValueError(f"{spans} released of {segment.pending} in segment {number}")
            segment.pending -= spans
            segment.active_ns = max(segment.active_ns, at_ns)

    def reserve(self, size: int, beyond: int = 0) -> None:
        """Take room for a record; old segments kept back only for late verdicts go first.

        Raises:
            JournalFullError: Everything left is still needed.
        """
        limit = self._settings.quota_bytes + beyond
        if self.bytes + size > limit:
            self.drop_early(self.bytes + size - limit, "quota")
        with self._lock:
            if self.bytes + size > limit:
                self.counts["refused_quota"] += 1
                raise self.full(f"quota of {self._settings.quota_bytes:,} bytes is used up")
            self.bytes += size

    def give_back(self, size: int) -> None:
        """Return room that was not used after all."""
        with self._lock:
            self.bytes -= size

    def full(self, why: str) -> JournalFullError:
        """Return the error that says the journal is full."""
        wait = self._settings.retry_seconds
        return JournalFullError(f"the journal in {self._folder} is full ({why}): retry", wait)

    def drop_early(self, needed: int, reason: str) -> int:
        """Unlink segments with nothing pending before their time, oldest first; return bytes."""
        gone: list[Segment] = []
        for segment in self._free():
            if sum(other.size for other in gone) >= needed:
                break
            gone.append(segment)
        freed = sum(segment.size for segment in gone)
        self.count(**{f"dropped_early_{reason}": len(self._unlink(gone))})
        return freed

    def age_out(self) -> list[int]:
        """Unlink segments with nothing pending whose keep-back time has passed; return which."""
        deadline = self._clock() - round(self._settings.keep_back_seconds * _SECOND)
        gone = self._unlink([one for one in self._free() if one.active_ns <= deadline])
        self.count(aged_out=len(gone))
        return gone

    def _free(self) -> list[Segment]:
        """Return closed segments with nothing pending; never the last: its number must remain."""
        return [one for one in self.all()[:-1] if one.pending == 0 and one.handle is None]

    def _unlink(self, segments: list[Segment]) -> list[int]:
        if not segments:
            return []
        self._before_unlink()
        with self._lock:
            # Somebody may have pulled spans back, or unlinked, since these were found free.
            gone = [one for one in segments if one.pending == 0 and one.number in self._segments]
            for segment in gone:
                del self._segments[segment.number]
                self.bytes -= segment.size
                segment.path.unlink(missing_ok=True)
        sync_folder(self._folder)  # decisions about them are forgotten only after this
        return [segment.number for segment in gone]
