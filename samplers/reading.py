"""Reading segments: descriptors and maps that are reused, and never more than a few of them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from samplers.frames import map_file
from tracekit.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from samplers.segments import Segment


class Maps:
    """Read-only maps of segments, the most recently used of them kept.

    A map that is dropped while somebody looks at it stays until they are done; the same holds for
    a segment that is unlinked.

    Args:
        find: Returns a segment by its number, or raises JournalError.
        limit: How many to keep.
    """

    def __init__(self, find: Callable[[int], Segment], limit: int) -> None:
        self._find = find
        self._limit = limit
        self._lock = threading.Lock()
        self._maps: OrderedDict[int, memoryview] = OrderedDict()

    def view(self, number: int, upto: int | None = None) -> memoryview:
        """Return the bytes of a segment from its beginning, at least up to an offset."""
        segment = self._find(number)
        wanted = segment.end if upto is None else upto
        if wanted > segment.end:
            raise ValueError(f"segment {number} ends at {segment.end:,}, not {wanted:,}")
        with self._lock:
            known = self._maps.get(number)
            if known is None or len(known) < wanted:
                known = _map(segment)
                self._maps[number] = known
            self._maps.move_to_end(number)
            while len(self._maps) > self._limit:
                self._maps.popitem(last=False)
            return known

    def forget(self, numbers: list[int]) -> None:
        """Let go of segments that are gone, so that the disk gets their blocks back."""
        with self._lock:
            for number in numbers:
                self._maps.pop(number, None)


def read_range(segment: Segment, offset: int, length: int) -> bytes:
    """Return a range of a segment without mapping it.

    Raises:
        ValueError: The range is not within what was written.
        JournalError: The segment aged out meanwhile.
    """
    if offset < 0 or length < 0 or offset + length > segment.end:
        raise ValueError(f"segment {segment.number} ends at {segment.end:,}")
    try:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _aged_out(segment) from None
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


def _map(segment: Segment) -> memoryview:
    try:
        return map_file(segment.path, segment.end)
    except FileNotFoundError:
        raise _aged_out(segment) from None


def _aged_out(segment: Segment) -> JournalError:
    return JournalError(f"segment {segment.number} of the journal has aged out")
