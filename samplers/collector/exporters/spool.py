"""Records in numbered files: appended at one end, read from the other, removed file by file.

A record is a header of 16 bytes (mark, length, spans, checksum) and the bytes of a request. What a
crash left half written at the end is cut off when the files are opened again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_HEADER: Final = struct.Struct("<4sIII")
_MARK: Final = b"TKQ1"
_SUFFIX: Final = ".queue"
_SEED: Final = struct.Struct("<II")

HEADER_BYTES: Final = _HEADER.size


class CorruptError(Exception):
    """A record is not what was written."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record begins: a file by its number, and an offset in it."""

    segment: int
    offset: int


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A request that was put in.

    Attributes:
        start: Where it begins.
        end: Where the next one in the file begins.
        request: Its bytes.
        spans: How many spans it has.
    """

    start: Position
    end: Position
    request: bytes
    spans: int


@dataclasses.dataclass(slots=True)
class Segment:
    """A file, with what is in it.

    Attributes:
        number: Its number; later files have higher ones.
        fd: Its descriptor.
        size: Bytes of whole records.
        offsets: Where each record begins, and how many spans it has.
    """

    number: int
    fd: int
    size: int = 0
    offsets: list[tuple[int, int]] = dataclasses.field(default_factory=list)


class Spool:
    """The files of one queue. Not safe for threads: the queue has the lock.

    Attributes:
        segments: Oldest first; the last one is written to.
    """

    def __init__(self, folder: Path, segment_bytes: int, first: int) -> None:
        """Open the files of a folder.

        Args:
            folder: Where they are.
            segment_bytes: Size from which a new file is begun.
            first: Number of the oldest file still needed; older ones are removed.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        self.segments: list[Segment] = []
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            if int(path.stem) < first:
                path.unlink()
            else:
                self.segments.append(_opened(path))
        if self.segments:
            _cut(self.segments[-1])
        else:
            self._begin(max(first, 1))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(segment.size for segment in self.segments)

    @property
    def end(self) -> Position:
        """Where the next record will begin."""
        return Position(self.segments[-1].number, self.segments[-1].size)

    def append(self, request: bytes, spans: int) -> None:
        """Write a record.

        Raises:
            OSError: It cannot be written; nothing of it is left then.
        """
        if self.segments[-1].size >= self._segment_bytes:
            self.roll()
        segment = self.segments[-1]
        header = _HEADER.pack(_MARK, len(request), spans, _checksum(request, spans))
        size = HEADER_BYTES + len(request)
        try:
            written = os.pwritev(segment.fd, [header, request], segment.size)
            while written < size:  # the disk was full, or a signal came
                rest = memoryview(header + request)[written:]
                written += os.pwrite(segment.fd, rest, segment.size + written)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(segment.fd, segment.size)
            raise
        segment.offsets.append((segment.size, spans))
        segment.size += size

    def roll(self) -> None:
        """Begin a new file."""
        os.fdatasync(self.segments[-1].fd)
        self._begin(self.segments[-1].number + 1)

    def read(self, at: Position) -> Record | None:
        """Return the record at a position or, from the end of a file, the first of the next.

        Raises:
            CorruptError: It is damaged.
        """
        for segment in self.segments:
            if segment.number < at.segment:
                continue
            offset = at.offset if segment.number == at.segment else 0
            if offset < segment.size:
                return _record(segment, offset)
        return None

    def remove_before(self, number: int) -> None:
        """Remove files with lower numbers; never the one that is written to."""
        while len(self.segments) > 1 and self.segments[0].number < number:
            segment = self.segments.pop(0)
            os.close(segment.fd)
            self._path(segment.number).unlink(missing_ok=True)

    def sync(self) -> None:
        """Wait until everything is on disk."""
        os.fdatasync(self.segments[-1].fd)

    def close(self) -> None:
        """Close the files."""
        for segment in self.segments:
            os.close(segment.fd)
        self.segments.clear()

    def _begin(self, number: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self.segments.append(Segment(number, os.open(self._path(number), flags, 0o600)))
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012}{_SUFFIX}"


def _checksum(request: bytes, spans: int) -> int:
    return zlib.crc32(request, zlib.crc32(_SEED.pack(len(request), spans)))


def _opened(path: Path) -> Segment:
    """Open a file and find its records by their headers."""
    segment = Segment(int(path.stem), os.open(path, os.O_RDWR))
    whole = os.fstat(segment.fd).st_size
    while True:
        header = os.pread(segment.fd, HEADER_BYTES, segment.size)
        if len(header) < HEADER_BYTES:
            return segment
        mark, length, spans, _ = _HEADER.unpack(header)
        end = segment.size + HEADER_BYTES + length
        if mark != _MARK or end > whole:
            return segment
        segment.offsets.append((segment.size, spans))
        segment.size = end


def _cut(segment: Segment) -> None:
    """Cut off what follows the last whole record of the file that was being written."""
    for number, (offset, _) in enumerate(segment.offsets):
        try:
            _record(segment, offset)
        except CorruptError:
            segment.size = offset
            del segment.offsets[number:]
            break
    os.ftruncate(segment.fd, segment.size)


def _record(segment: Segment, offset: int) -> Record:
    header = os.pread(segment.fd, HEADER_BYTES, offset)
    mark, length, spans, checksum = _HEADER.unpack(header)
    request = os.pread(segment.fd, length, offset + HEADER_BYTES)
    if mark != _MARK or len(request) != length or _checksum(request, spans) != checksum:
        raise CorruptError
    end = Position(segment.number, offset + HEADER_BYTES + length)
    return Record(Position(segment.number, offset), end, request, spans)
