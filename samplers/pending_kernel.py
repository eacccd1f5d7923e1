"""Compiled: rows, names and sessions of the pending store, one at a time.

Every table is a set of slots with a free list and, where something is looked up, buckets of chains.
Nothing here allocates or raises: `PendingStore.check_room` has made sure that there is room.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from samplers.pending import (
    CHUNK,
    CHUNK_ROWS,
    FREE,
    KEY_NAME,
    LIVE_ROWS,
    NAMES,
    NAMES_FREE,
    NAMES_TOP,
    OPEN,
    RELEASED,
    SESSIONS,
    SESSIONS_FREE,
    SESSIONS_TOP,
    TRACE_NAME,
)
from tracekit.otlp import stale
from tracekit.otlp.stale import forget_stale_code
from tracekit.otlp.wire import KERNEL, inline, mix, same_bytes, siphash13

forget_stale_code(Path(__file__).parent, Path(stale.__file__).parent)

_LOW = np.uint64(0xFFFFFFFF)
_U32 = np.uint64(32)


@inline
def hash_name(st: Any, kind: int, first: Any, second: Any) -> Any:
    """Return the seeded hash of a trace id or key fingerprint."""
    return mix(mix(st.seeds[0] ^ np.uint64(kind), first), second)


@inline
def _name_bucket(st: Any, kind: int, first: Any, second: Any) -> int:
    mask = np.uint64(st.name_buckets.shape[0] - 1)
    return np.int64((hash_name(st, kind, first, second) >> np.uint64(20)) & mask)


@njit(**KERNEL)
def find_name(st: Any, kind: int, first: Any, second: Any) -> int:
    """Return the number of a name, or -1."""
    at = np.int64(st.name_buckets[_name_bucket(st, kind, first, second)]) - 1
    while at >= 0:
        name = st.names[at]
        if name.first == first and name.second == second and name.kind == kind:
            return at
        at = np.int64(name.chain)
    return -1


@njit(**KERNEL)
def add_name(st: Any, session: int, kind: int, first: Any, second: Any) -> int:
    """Add a name to a session and return its number."""
    at = np.int64(st.counters[NAMES_FREE])
    if at >= 0:
        st.counters[NAMES_FREE] = st.names[at].link
    else:
        at = np.int64(st.counters[NAMES_TOP])
        st.counters[NAMES_TOP] += 1
    st.counters[NAMES] += 1
    bucket = _name_bucket(st, kind, first, second)
    name, owner = st.names[at], st.sessions[session]
    name.first, name.second, name.kind, name.is_ended = first, second, kind, 0
    name.session, name.link = session, -1
    name.chain = st.name_buckets[bucket] - 1
    st.name_buckets[bucket] = at + 1
    if owner.last_name >= 0:
        st.names[owner.last_name].link = at
    else:
        owner.first_name = at
    owner.last_name = at
    owner.names += 1
    if kind == KEY_NAME:
        owner.keys += 1
    else:
        owner.open_traces += 1
    return at


@njit(**KERNEL)
def new_session(st: Any, now: int) -> int:
    """Return the number of a new session without names or rows."""
    at = np.int64(st.counters[SESSIONS_FREE])
    if at >= 0:
        st.counters[SESSIONS_FREE] = st.sessions[at].first
    else:
        at = np.int64(st.counters[SESSIONS_TOP])
        st.counters[SESSIONS_TOP] += 1
    st.counters[SESSIONS] += 1
    s = st.sessions[at]
    s.first_seen, s.last_seen, s.root_at, s.done_at, s.asked_at, s.decided_at = now, now, 0, 0, 0, 0
    s.min_start, s.max_end = np.int64(0x7FFFFFFFFFFFFFFF), 0
    s.spans, s.bytes, s.cut_spans, s.cut_bytes, s.tail_bytes = 0, 0, 0, 0, 0
    s.threshold, s.weight, s.rule = 0, 0.0, -1
    s.names, s.first_name, s.last_name, s.keys, s.open_traces = 0, -1, -1, 0, 0
    s.first, s.last, s.mark, s.stored, s.tail = -1, -1, -1, 0, 0
    s.state, s.is_runaway, s.is_dirty, s.is_kept = OPEN, 0, 0, 0
    return at


@inline
def free_session(st: Any, at: int) -> None:
    """Put a session that has neither names nor rows on the free list."""
    st.sessions[at].state = FREE
    st.sessions[at].first = st.counters[SESSIONS_FREE]
    st.counters[SESSIONS_FREE] = at
    st.counters[SESSIONS] -= 1


@njit(**KERNEL)
def evict(st: Any, numbers: Any) -> None:
    """Forget decided sessions and all their names."""
    for i in range(numbers.shape[0]):
        at = np.int64(st.sessions[numbers[i]].first_name)
        while at >= 0:
            name = st.names[at]
            following = np.int64(name.link)
            bucket = _name_bucket(st, np.int64(name.kind), name.first, name.second)
            before = np.int64(st.name_buckets[bucket]) - 1
            if before == at:
                st.name_buckets[bucket] = name.chain + 1
            else:
                while st.names[before].chain != at:
                    before = np.int64(st.names[before].chain)
                st.names[before].chain = name.chain
            name.session = -1
            name.link = st.counters[NAMES_FREE]
            st.counters[NAMES_FREE] = at
            st.counters[NAMES] -= 1
            at = following
        free_session(st, np.int64(numbers[i]))


@inline
def _row_bucket(st: Any, name: int, span: Any) -> int:
    mask = np.uint64(st.row_buckets.shape[0] - 1)
    return np.int64((mix(mix(st.seeds[0], span), np.uint64(name)) >> np.uint64(20)) & mask)


@njit(**KERNEL)
def find_row(st: Any, name: int, span: Any) -> int:
    """Return the pending row of a span, or -1."""
    at = np.int64(st.row_buckets[_row_bucket(st, name, span)]) - 1
    while at >= 0:
        row = st.rows[at]
        if row.span == span and row.name == name:
            return at
        at = np.int64(row.chain)
    return -1


@inline
def _chunk_with_room(st: Any) -> int:
    """Return the chunk rows are taken from now; the lowest with room follows a full one."""
    chunk = np.int64(st.counters[CHUNK])
    if st.chunk_live[chunk] == CHUNK_ROWS:
        chunk = np.int64(0)
        while st.chunk_live[chunk] == CHUNK_ROWS:
            chunk += 1
        st.counters[CHUNK] = chunk
    return chunk


@njit(**KERNEL)
def add_row(st: Any, name: int, span: Any) -> int:
    """Return a new row of a span, to be found again, not yet in its session's list."""
    chunk = _chunk_with_room(st)
    at = np.int64(st.chunk_free[chunk])
    if at >= 0:
        st.chunk_free[chunk] = st.rows[at].link
    else:
        at = chunk * CHUNK_ROWS + np.int64(st.chunk_top[chunk])
        st.chunk_top[chunk] += 1
    st.chunk_live[chunk] += 1
    st.counters[LIVE_ROWS] += 1
    bucket = _row_bucket(st, name, span)
    row = st.rows[at]
    row.name, row.span, row.link, row.flags = name, span, -1, 0
    row.chain = st.row_buckets[bucket] - 1
    st.row_buckets[bucket] = at + 1
    return at


@inline
def span_print(st: Any, name: int, span: Any, end: int) -> Any:
    """Return a fingerprint of one copy of a span; a copy with another end is another."""
    trace = st.names[name]
    h = mix(mix(hash_name(st, TRACE_NAME, trace.first, trace.second), span), np.uint64(end))
    return h | np.uint64(1)


@inline
def _recent_set(st: Any, seen: Any) -> int:
    """Return where the four places begin in which a fingerprint may be remembered."""
    return np.int64(seen >> np.uint64(20)) & (st.recent.shape[0] - 4)


@njit(**KERNEL)
def free_row(st: Any, at: int) -> None:
    """Free a row that is in no list; that its span was here is remembered for a while."""
    row = st.rows[at]
    seen = span_print(st, np.int64(row.name), row.span, row.end)
    place = _recent_set(st, seen)
    for i in range(3, 0, -1):
        st.recent[place + i] = st.recent[place + i - 1]
    st.recent[place] = seen
    bucket = _row_bucket(st, np.int64(row.name), row.span)
    before = np.int64(st.row_buckets[bucket]) - 1
    if before == at:
        st.row_buckets[bucket] = row.chain + 1
    else:
        while st.rows[before].chain != at:
            before = np.int64(st.rows[before].chain)
        st.rows[before].chain = row.chain
    chunk = at // CHUNK_ROWS
    row.link = st.chunk_free[chunk]
    st.chunk_free[chunk] = at
    st.chunk_live[chunk] -= 1
    st.counters[LIVE_ROWS] -= 1


@inline
def was_here(st: Any, name: int, span: Any, end: int) -> bool:
    """Tell whether this copy of a span left not long ago."""
    seen = span_print(st, name, span, end)
    place = _recent_set(st, seen)
    found = False
    for i in range(4):
        found = found or st.recent[place + i] == seen
    return found


@inline
def release(st: Any, released: Any, segment: int) -> None:
    """Note that the bytes of one span are not needed any more."""
    released[st.counters[RELEASED]] = segment
    st.counters[RELEASED] += 1


@njit(**KERNEL)
def fingerprint_keys(buf: Any, packed: Any, valid: Any, skipped: Any, seeds: Any, out: Any) -> None:
    """Fingerprint session keys, given as packed ranges, to (n, 2) words; absent ones clear `valid`.

    Args:
        buf: Bytes the ranges point into.
        packed: start << 32 | length of every key.
        valid: Which rows have a key; cleared where it is empty or starts with `skipped`.
        skipped: What a key that was scrubbed on its way starts with.
        seeds: Seeds of the fingerprints.
        out: The fingerprints.
    """
    last, last_end = np.int64(-1), np.int64(-1)
    for i in range(packed.shape[0]):
        if not valid[i]:
            continue
        p = np.int64(packed[i] >> _U32)
        size = np.int64(packed[i] & _LOW)
        if size == 0 or (
            size >= skipped.shape[0] and same_bytes(skipped, 0, buf, p, skipped.shape[0])
        ):
            valid[i] = False
            continue
        if last >= 0:
            before = np.int64(packed[last] >> _U32)
            if last_end - before == size and same_bytes(buf, before, buf, p, size):
                out[i, 0], out[i, 1] = out[last, 0], out[last, 1]
                continue
        out[i, 0] = siphash13(buf, p, p + size, seeds[1])
        out[i, 1] = siphash13(buf, p, p + size, seeds[2])
        last, last_end = i, p + size
