"""The rows of pending spans: where each span lies in the journal, and what its session must know.

A span that waits for its session costs one `ROW`; its bytes stay in the journal. Rows, names and
sessions live in arrays that are reserved whole but touched, hence paid for, as they fill. Rows come
from chunks: a chunk whose last row goes gives its memory back (`PendingStore.trim`).
"""

from __future__ import annotations

import mmap
import secrets
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tracekit.errors import TracekitError

ROW: Final = np.dtype(
    [
        ("link", "i4"),  # next row of the session, or next free row of the chunk
        ("chain", "i4"),  # next row of the same bucket
        ("name", "i4"),  # number of the trace among the names
        ("segment", "i4"),
        ("span", "u8"),
        ("start", "i8"),
        ("end", "i8"),
        ("offset", "u4"),
        ("length", "u4"),
        ("resource", "u4"),
        ("resource_length", "u4"),
        ("scope", "u4"),
        ("scope_length", "u4"),
        ("flags", "u4"),
        ("spare", "u4"),
    ]
)
"""A pending span. Offsets count from the start of the segment file; times are the span's own."""

NAME: Final = np.dtype(
    [
        ("first", "u8"),
        ("second", "u8"),
        ("session", "i4"),
        ("chain", "i4"),
        ("link", "i4"),
        ("kind", "u1"),
        ("is_ended", "u1"),
        ("spare", "u2"),
    ]
)
"""What a session goes by: the id of a trace, or the 128-bit fingerprint of a session key."""

SESSION: Final = np.dtype(
    [
        ("first_seen", "i8"),  # receive times: the clock of a sender decides nothing
        ("last_seen", "i8"),
        ("root_at", "i8"),  # when the last root that ended was received; 0: none
        ("done_at", "i8"),  # when a done event was received; 0: none
        ("asked_at", "i8"),  # when the last interim decision was taken; 0: none
        ("decided_at", "i8"),
        ("min_start", "i8"),
        ("max_end", "i8"),
        ("spans", "i8"),  # received, those already gone included
        ("bytes", "i8"),
        ("cut_spans", "i8"),
        ("cut_bytes", "i8"),
        ("tail_bytes", "i8"),
        ("threshold", "u8"),
        ("weight", "f8"),
        ("rule", "i4"),
        ("names", "i4"),
        ("first_name", "i4"),
        ("last_name", "i4"),
        ("keys", "i4"),
        ("open_traces", "i4"),
        ("first", "i4"),
        ("last", "i4"),
        ("mark", "i4"),  # last row of the head of a runaway session; -1: it has no head
        ("stored", "i4"),
        ("tail", "i4"),
        ("state", "u1"),
        ("is_runaway", "u1"),
        ("is_dirty", "u1"),
        ("is_kept", "u1"),
    ]
)
"""A session: what it is waiting for, or, once it is decided, what its late spans must follow."""

TRACE_NAME, KEY_NAME = 0, 1
FREE, OPEN, ASKED, DECIDING, DECIDED = range(5)
"""States. ASKED: an interim decision is being taken; DECIDING: the final one, its rows are out."""

ROOT_FLAG, ENDED_FLAG, DONE_FLAG, BEFORE_FLAG, ASKED_FLAG = 1, 2, 4, 8, 16
"""Flags of a row. BEFORE: it was in an interim decision that did not keep the session."""

(
    LIVE_ROWS, CHUNK, NAMES, NAMES_FREE, NAMES_TOP, SESSIONS, SESSIONS_FREE, SESSIONS_TOP,
    DUPLICATES, RELEASED, FRESH, DIRTY, MERGES, CUT, COUNTERS,
) = range(15)  # fmt: skip
"""Places in `State.counters`. *_FREE heads the free list, *_TOP is the first never used."""

CHUNK_ROWS: Final = 8192


class PendingFullError(TracekitError):
    """No room for more pending spans; the sender should try again later."""


class State(NamedTuple):
    """The arrays, in the shapes the kernels want. Buckets hold numbers plus one; 0 is empty."""

    rows: npt.NDArray[Any]
    row_buckets: npt.NDArray[np.int32]
    chunk_free: npt.NDArray[np.int32]
    chunk_top: npt.NDArray[np.int32]
    chunk_live: npt.NDArray[np.int32]
    names: npt.NDArray[Any]
    name_buckets: npt.NDArray[np.int32]
    sessions: npt.NDArray[Any]
    recent: npt.NDArray[np.uint64]
    seeds: npt.NDArray[np.uint64]
    counters: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may wait.

    Attributes:
        rows: Pending spans; more are refused.
        decided: Decided sessions that are remembered for their late spans.
        recent: Spans remembered after they left, so that a repeated one is not taken twice; eight
            bytes each. At 10,000 spans/s a million are the last 100 seconds.
    """

    rows: int = 4_000_000
    decided: int = 500_000
    recent: int = 1 << 20


def _reserve(count: int, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], mmap.mmap]:
    """Return zeros that cost memory only where they are written, and the mapping below them."""
    kind = np.dtype(dtype)
    size = max(count * kind.itemsize, mmap.PAGESIZE)
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, kind, count), memory


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 1).bit_length()


class PendingStore:
    """Allocates the arrays and gives memory back.

    Attributes:
        state: The arrays.
        capacity: Rows there is room for, rounded up to whole chunks.
    """

    def __init__(self, capacity: Capacity) -> None:
        chunks = -(-capacity.rows // CHUNK_ROWS)
        self.capacity = capacity.rows
        sessions = capacity.rows + capacity.decided
        names = 2 * sessions
        rows, self._memory = _reserve(chunks * CHUNK_ROWS, ROW)
        self.state = State(
            rows=rows,
            row_buckets=_reserve(_power_of_two(capacity.rows), np.int32)[0],
            chunk_free=np.full(chunks, -1, np.int32),
            chunk_top=np.zeros(chunks, np.int32),
            chunk_live=np.zeros(chunks, np.int32),
            names=_reserve(names, NAME)[0],
            name_buckets=_reserve(_power_of_two(sessions), np.int32)[0],
            sessions=_reserve(sessions, SESSION)[0],
            recent=_reserve(_power_of_two(max(capacity.recent, 4)), np.uint64)[0],
            seeds=np.array([secrets.randbits(64) for _ in range(3)], np.uint64),
            counters=np.zeros(COUNTERS, np.int64),
        )
        self.state.counters[[NAMES_FREE, SESSIONS_FREE]] = -1

    @property
    def live(self) -> int:
        """Rows in use."""
        return int(self.state.counters[LIVE_ROWS])

    def check_room(self, spans: int) -> None:
        """Refuse a request that might not fit; nothing has changed then.

        Args:
            spans: Spans of the request: each may need a row, a session and two names.

        Raises:
            PendingFullError: There is no room for so many.
        """
        counters = self.state.counters
        for what, used, size in (
            ("spans", counters[LIVE_ROWS], self.capacity),
            ("sessions", counters[SESSIONS], self.state.sessions.shape[0]),
            ("names", counters[NAMES] + spans, self.state.names.shape[0]),
        ):
            if used + spans > size:
                raise PendingFullError(
                    f"no room for {spans:,} more pending {what} ({int(used):,} of {size:,}): "
                    "send again later, or raise the collector's limit of pending spans"
                )

    def trim(self) -> int:
        """Give the memory of empty chunks back to the system; returns how many there were."""
        state = self.state
        empty = np.flatnonzero((state.chunk_live == 0) & (state.chunk_top > 0))
        size = CHUNK_ROWS * ROW.itemsize  # 8192 rows of 72 bytes: whole pages
        for chunk in empty.tolist():
            state.chunk_free[chunk], state.chunk_top[chunk] = -1, 0
            self._memory.madvise(mmap.MADV_DONTNEED, chunk * size, size)
        return int(empty.size)
