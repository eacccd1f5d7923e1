"""Reading segments back in the order their spans came, whichever lane wrote them.

Moved spans come at the turn of the record they are from, so that sessions are put together again
as they were, though the first segment of a session is gone.
"""

from __future__ import annotations

import heapq
import struct
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from samplers import frames
from samplers.frames import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from samplers.segments import Segment


_ORIGIN: Final = struct.Struct("<IQ")


class Origin(NamedTuple):
    """Where moved spans were before.

    Attributes:
        segment: The segment.
        sequence: Number of the record they came with; it stays however often they are moved.
        offsets: uint32 (n,): where each span began in it, in the order of the new request.
    """

    segment: int
    sequence: int
    offsets: npt.NDArray[np.uint32]


class Record(NamedTuple):
    """One request in the journal.

    Attributes:
        segment: Number of the segment file.
        offset: Where the request begins in that file.
        sequence: Number of the record: ascending in the order of writing.
        received_ns: When the request was received.
        spans: How many spans it has.
        meta: What was stored beside it.
        request: Its bytes, mapped from the file.
        origin: Where its spans were before, if they were moved out of an older segment: there
            they are superseded, though the old bytes may still be on the disk.
    """

    segment: int
    offset: int
    sequence: int
    received_ns: int
    spans: int
    meta: bytes
    request: memoryview
    origin: Origin | None

    @property
    def turn(self) -> int:
        """The sequence its spans came with, moved or not."""
        return self.sequence if self.origin is None else self.origin.sequence


@dataclass(slots=True)
class Recovered:
    """What a recovery found.

    Attributes:
        records: Records.
        bytes: Bytes of their requests.
        torn: Segments that ended in an unfinished write.
        torn_bytes: Bytes of these.
        damaged: Records skipped since their bytes changed on the disk.
    """

    records: int = 0
    bytes: int = 0
    torn: int = 0
    torn_bytes: int = 0
    damaged: int = 0

    def counts(self) -> dict[str, int]:
        """Return the fields under the names metrics use."""
        return {f"recovered_{name}": value for name, value in asdict(self).items()}


def pack_origin(origin: Origin) -> bytes:
    """Return what stands behind the request in the frame of moved spans."""
    return origin.offsets.astype("<u4").tobytes() + _ORIGIN.pack(origin.segment, origin.sequence)


def as_record(segment: int, frame: frames.Frame) -> Record:
    """Return a frame of a segment as a record."""
    request, origin = frame.payload, None
    if frame.kind == frames.MOVED:
        cut = len(request) - 4 * frame.spans - _ORIGIN.size
        offsets = np.frombuffer(request, "<u4", frame.spans, cut)
        segment_before, sequence = _ORIGIN.unpack_from(request, len(request) - _ORIGIN.size)
        origin = Origin(segment_before, sequence, offsets)
        request = request[:cut]
    return Record(
        segment,
        frame.offset,
        frame.sequence,
        frame.received_ns,
        frame.spans,
        frame.meta,
        request,
        origin,
    )


def recover(segments: Sequence[Segment], found: Recovered) -> Iterator[Record]:
    """Yield the records of all segments by turn; the ends of the segments become known.

    Of the segments with requests as they came, only those whose records interleave are open at the
    same time; those with moved spans are read first, and are open until the end.
    """
    heads: list[_Head] = []
    for segment in segments:
        if segment.of_moved:
            _push(heads, iter(sorted(_read(segment, found), key=_order)))
    came = (segment for segment in segments if not segment.of_moved)
    waiting = deque(sorted(came, key=lambda segment: (segment.base, segment.number)))
    while waiting or heads:
        while waiting and (not heads or waiting[0].base <= heads[0][0]):
            _push(heads, _read(waiting.popleft(), found))
        if heads:
            *_, record, rest = heapq.heappop(heads)
            yield record
            _push(heads, rest)


_Head = tuple[int, int, Record, "Iterator[Record]"]


def _order(record: Record) -> tuple[int, int]:
    return record.turn, record.sequence


def _push(heads: list[_Head], records: Iterator[Record]) -> None:
    first = next(records, None)
    if first is not None:
        heapq.heappush(heads, (*_order(first), first, records))


def _read(segment: Segment, found: Recovered) -> Iterator[Record]:
    here = frames.Found()
    for frame in frames.walk(frames.map_file(segment.path), segment.number, here):
        segment.end = frame.offset + len(frame.payload)
        found.records += 1
        found.bytes += len(frame.payload)
        yield as_record(segment.number, frame)
    found.damaged += here.damaged
    if here.torn or segment.size < FILE.size:
        found.torn += 1
        found.torn_bytes += here.torn if segment.size >= FILE.size else segment.size
