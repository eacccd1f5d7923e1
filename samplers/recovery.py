"""Reading segments back in the order their records were written, whichever lane wrote them."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from samplers import frames
from samplers.frames import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from samplers.segments import Segment


class Origin(NamedTuple):
    """Where moved spans were before.

    Attributes:
        segment: The segment.
        offsets: uint32 (n,): where each span began in it, in the order of the new request.
    """

    segment: int
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
    return np.append(origin.offsets, origin.segment).astype("<u4").tobytes()


def as_record(segment: int, frame: frames.Frame) -> Record:
    """Return a frame of a segment as a record."""
    request, origin = frame.payload, None
    if frame.kind == frames.MOVED:
        cut = len(request) - 4 * (frame.spans + 1)
        numbers = np.frombuffer(request[cut:], "<u4")
        request, origin = request[:cut], Origin(int(numbers[-1]), numbers[:-1])
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
    """Yield the records of all segments by sequence; the ends of the segments become known.

    Only segments whose records interleave are open at the same time.
    """
    waiting = deque(sorted(segments, key=lambda segment: (segment.base, segment.number)))
    heads: list[tuple[int, int, Record, Iterator[Record]]] = []
    while waiting or heads:
        while waiting and (not heads or waiting[0].base <= heads[0][0]):
            _push(heads, _read(waiting.popleft(), found))
        if heads:
            _, _, record, rest = heapq.heappop(heads)
            yield record
            _push(heads, rest)


def _push(
    heads: list[tuple[int, int, Record, Iterator[Record]]], records: Iterator[Record]
) -> None:
    first = next(records, None)
    if first is not None:
        heapq.heappush(heads, (first.sequence, first.segment, first, records))


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
