"""How files of the journal are written: a header, then frames that prove themselves.

A file is a header (`FILE`) and frames one behind the other. A frame is its own header (`HEAD`),
`meta` bytes and a payload, with one checksum over the header and one over the rest. The checksum
of the header begins at the number of the file, so bytes of another file never pass as frames.
A reader goes from frame to frame by length and never searches: a payload that looks like frames
(it comes from the network) is never taken for one.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from tracekit.errors import InputError, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION: Final = 1
"""Of the format of segments and decision logs. A file of a higher version is refused."""

SEGMENT_MAGIC: Final = b"TKSEGMNT"
LOG_MAGIC: Final = b"TKDECIDE"

FILE: Final = struct.Struct("<8sHHIQqI4x")
"""Magic, version, flags, number, lowest sequence, created (ns), checksum of what is before it."""

HEAD: Final = struct.Struct("<4sIIIBxHIqQ")
"""Magic, checksums of header and rest, length, kind, meta length, spans, received ns, sequence."""

_FRAME_MAGIC: Final = b"TKFR"
_CHECKED: Final = 8  # the checksum of a header covers what follows it
_FILE_CHECKED: Final = FILE.size - 8
_OF_MOVED: Final = 1  # the flag of a file that holds moved spans, and nothing else

REQUEST, MOVED, DECISIONS, EXPORTED, LATE, ABANDONED = range(1, 7)
"""Kinds of frames: spans as they came, spans moved out of an older segment, those of a log."""

MAX_PAYLOAD: Final = (1 << 31) - 1
"""Bytes of one payload: what the scanner takes at once."""

MAX_META: Final = (1 << 16) - 1


class FileHeader(NamedTuple):
    """What the header of a file says.

    Attributes:
        number: Number of the file; also the seed of its checksums.
        base: No frame of the file has a lower sequence.
        created_ns: When it was begun.
        of_moved: Whether it holds spans moved out of older segments, and nothing else.
    """

    number: int
    base: int
    created_ns: int
    of_moved: bool = False


class Frame(NamedTuple):
    """One frame of a mapped file; `payload` keeps the map alive.

    Attributes:
        kind: One of `REQUEST`, `MOVED`, ...
        offset: Where the payload begins in the file.
        received_ns: When the payload was received.
        sequence: Number of the frame, ascending within a file and unique within a journal.
        spans: Number of spans in the payload.
        meta: What is known about the payload beside it, such as its tenant.
        payload: The bytes.
    """

    kind: int
    offset: int
    received_ns: int
    sequence: int
    spans: int
    meta: bytes
    payload: memoryview


@dataclass(slots=True)
class Found:
    """What a walk came across.

    Attributes:
        end: Where the last good frame ends.
        torn: Bytes behind it: an unfinished write.
        damaged: Frames skipped: their header is good, their bytes are not.
    """

    end: int = FILE.size
    torn: int = 0
    damaged: int = 0


def pack_file(magic: bytes, header: FileHeader) -> bytes:
    """Return the header of a new file."""
    *numbers, of_moved = header
    fields = (magic, VERSION, _OF_MOVED if of_moved else 0, *numbers)
    return FILE.pack(*fields, crc32(FILE.pack(*fields, 0)[:_FILE_CHECKED]))


class Draft(NamedTuple):
    """A frame whose place is not known yet; its checksum is computed outside of any lock.

    Attributes:
        kind: Of the frame.
        pieces: Meta, then the pieces of the payload.
        check: Checksum of the pieces.
        spans: Number of spans in the payload.
        received_ns: When it was received.
    """

    kind: int
    pieces: tuple[bytes, ...]
    check: int
    spans: int
    received_ns: int

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return HEAD.size + sum(map(len, self.pieces))

    def head(self, file: int, sequence: int) -> bytes:
        """Return the header of the frame in a file, with its sequence."""
        meta = len(self.pieces[0])
        length = self.size - HEAD.size - meta
        fields = (self.check, length, self.kind, meta, self.spans, self.received_ns, sequence)
        check = crc32(HEAD.pack(_FRAME_MAGIC, 0, *fields)[_CHECKED:], file)
        return HEAD.pack(_FRAME_MAGIC, check, *fields)


def draft(
    kind: int, payload: tuple[bytes, ...], *, meta: bytes = b"", spans: int = 0, received_ns: int
) -> Draft:
    """Return a frame of a payload in pieces.

    Raises:
        InputError: It is larger than a frame may be.
    """
    if sum(map(len, payload)) > MAX_PAYLOAD or len(meta) > MAX_META:
        raise InputError(
            f"a request of {sum(map(len, payload)):,} bytes (and {len(meta):,} about it) does not "
            f"fit into a frame of {MAX_PAYLOAD:,} (and {MAX_META:,}): send it in smaller parts"
        )
    check = 0
    for piece in (meta, *payload):
        check = crc32(piece, check)
    return Draft(kind, (meta, *payload), check, spans, received_ns)


def read_file_header(path: Path, magic: bytes) -> FileHeader | None:
    """Return the header of a file; None when a crash left it unfinished.

    Raises:
        JournalError: The file is of something else, or of a newer version.
    """
    with path.open("rb") as file:
        raw = file.read(FILE.size)
    if len(raw) < FILE.size or not raw.strip(b"\0"):
        return None
    seen, version, flags, number, base, created_ns, check = FILE.unpack(raw)
    if seen != magic:
        raise JournalError(f"{path} is not a file of the journal: move it out of that folder")
    if version > VERSION:
        raise JournalError(
            f"{path} has journal format {version}, this program reads up to {VERSION}: "
            "start the newer program, or let it drain before going back"
        )
    if check != crc32(raw[:_FILE_CHECKED]):
        raise JournalError(f"the header of {path} is damaged: move the file out of that folder")
    return FileHeader(number, base, created_ns, bool(flags & _OF_MOVED))


def map_file(path: Path, length: int | None = None) -> memoryview:
    """Return the bytes of a file, mapped for reading; views of it outlive an unlink."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size if length is None else length
        if size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def walk(buf: memoryview, file: int, found: Found) -> Iterator[Frame]:
    """Yield the frames of a file in order, up to the first that a crash left unfinished.

    Args:
        buf: The whole file.
        file: Its number.
        found: Filled on the way; complete when the walk is over.
    """
    at = FILE.size
    while (head := _head(buf, at, file)) is not None:
        rest, length, kind, meta, spans, received_ns, sequence = head
        start = at + HEAD.size
        stop = start + meta + length
        if stop > len(buf):
            break
        if crc32(buf[start:stop]) == rest:
            payload = buf[start + meta : stop]
            about = bytes(buf[start : start + meta])
            yield Frame(kind, start + meta, received_ns, sequence, spans, about, payload)
        elif _head(buf, stop, file) is not None:
            found.damaged += 1  # a write that was followed by another is not a torn one
        else:
            break
        at = found.end = stop
    found.torn = max(len(buf) - at, 0)


def _head(buf: memoryview, at: int, file: int) -> tuple[int, ...] | None:
    if at + HEAD.size > len(buf):
        return None
    magic, check, *rest = HEAD.unpack_from(buf, at)
    if magic != _FRAME_MAGIC or check != crc32(buf[at + _CHECKED : at + HEAD.size], file):
        return None
    return tuple(rest)
