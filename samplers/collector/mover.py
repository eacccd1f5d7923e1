"""Keeping the journal small: spans of sessions that run for hours leave old segments.

A segment can go when nothing in it waits. One session that is open for hours would keep every
segment it has a span in, with all that is long decided beside it; so its spans are written again,
at the end of the journal, where that frees at least as much as it takes. Over the life of a journal
no more is written again, then, than came in, and what is on the disk stays below twice what waits,
but for the segments that are kept back anyhow.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np

from samplers.moving import copies
from tracekit.errors import JournalFullError
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    import numpy.typing as npt

    from samplers.journal import Journal, Pinned
    from samplers.moving import Copy
    from samplers.sessions import Sessions

_log = logging.getLogger(__name__)

_SLOTS: Final = 4096
"""Sessions looked at under the lock at a time."""

_MOST_SEGMENTS: Final = 4
"""Segments looked at in one go: to read one of 64 MiB takes a tenth of a second."""

_LESS: Final = 0.75
"""Share of the pending spans seen last, from which on it is worth to look at a segment again."""


class Mover:
    """Moves waiting spans. Used by the thread that decides.

    Args:
        journal: Where the spans are.
        sessions: What knows which of them wait.
        lock: Guards the sessions.
    """

    def __init__(self, journal: Journal, sessions: Sessions, lock: threading.Lock) -> None:
        self._journal = journal
        self._sessions = sessions
        self._lock = lock
        self._seen: dict[int, int] = {}

    def move(self) -> int:
        """Clear the oldest segments that are worth it; return how many spans were moved."""
        pinned = self._journal.pinned()
        self._seen = {one.segment: self._seen.get(one.segment, one.pending * 2) for one in pinned}
        worth = [one for one in pinned if one.pending <= _LESS * self._seen[one.segment]]
        worth = worth[:_MOST_SEGMENTS]
        if not worth:
            return 0
        self._seen |= {one.segment: one.pending for one in worth}
        numbers = [one.segment for one in worth]
        places = np.concatenate([np.empty((0, 2), np.int64), *self._waiting(numbers)])
        try:
            return sum(self._clear(one, places[places[:, 0] == one.segment, 1]) for one in worth)
        except JournalFullError as error:
            self._seen.clear()
            _log.warning("spans of long sessions stay where they are: %s", error)
            return 0

    def _waiting(self, segments: list[int]) -> Iterator[npt.NDArray[np.int64]]:
        for first in range(0, self._sessions.slots, _SLOTS):
            with self._lock:
                part = range(first, min(first + _SLOTS, self._sessions.slots))
                yield self._sessions.waiting_in(segments, part)

    def _clear(self, pinned: Pinned, offsets: npt.NDArray[np.int64]) -> int:
        found = list(copies(self._journal, pinned.segment, offsets.tolist()))
        if 2 * sum(len(copy.request) for copy in found) > pinned.size:
            return 0
        return sum(map(self._move, found))

    def _move(self, copy: Copy) -> int:
        at = self._journal.append_moved(copy.request, copy.origin, copy.record)
        with self._lock:
            is_moved = self._sessions.moved(scan(copy.request), at.segment, at.offset, copy.origin)
        count = int(is_moved.sum())
        # At time 0: nothing was decided, so no segment need be kept back for it.
        self._journal.release(copy.origin.segment, count, 0)
        self._journal.release(at.segment, len(is_moved) - count, 0)
        return count
