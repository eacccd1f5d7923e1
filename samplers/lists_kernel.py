"""Compiled: the spans of a session as a list in the order of arrival; joined, cut, appended to.

The list of a session that ran away is a head, which ends at its mark, and a tail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from samplers.due_kernel import MAX_BYTES, MAX_SPANS, TAIL_SPANS
from samplers.pending import ASKED, CUT, MERGES, OPEN
from samplers.pending_kernel import free_row, free_session, release
from tracekit.otlp.wire import KERNEL, inline


@inline
def _join_lists(st: Any, a: Any, b: Any) -> None:
    """Append the rows of b to those of a. All behind a head that a limit has closed is tail."""
    if a.is_runaway == 0 and b.is_runaway and a.state == OPEN:
        a.mark, a.tail, a.tail_bytes = b.mark, b.tail, b.tail_bytes
    elif a.is_runaway == 0:
        a.mark, a.tail, a.tail_bytes = -1, a.stored + b.stored, b.bytes - b.cut_bytes
        if a.state == ASKED:
            a.mark, a.tail = a.last, b.stored
    else:
        a.tail += b.stored
        a.tail_bytes += b.bytes - b.cut_bytes
    a.is_runaway |= b.is_runaway
    if a.first < 0:
        a.first = b.first
    elif b.first >= 0:
        st.rows[a.last].link = b.first
    if b.last >= 0:
        a.last = b.last
    a.stored += b.stored


@inline
def _absorb(st: Any, into: int, number: int) -> None:
    """Make an open session part of another one: names, rows and what it waits for."""
    a, b = st.sessions[into], st.sessions[number]
    at = np.int64(b.first_name)
    while at >= 0:
        st.names[at].session = into
        at = np.int64(st.names[at].link)
    st.names[a.last_name].link = b.first_name
    a.last_name = b.last_name
    a.names, a.keys = a.names + b.names, a.keys + b.keys
    a.open_traces += b.open_traces
    _join_lists(st, a, b)
    a.first_seen, a.last_seen = min(a.first_seen, b.first_seen), max(a.last_seen, b.last_seen)
    a.root_at, a.done_at = max(a.root_at, b.root_at), max(a.done_at, b.done_at)
    a.asked_at = max(a.asked_at, b.asked_at)
    a.min_start, a.max_end = min(a.min_start, b.min_start), max(a.max_end, b.max_end)
    a.spans, a.bytes = a.spans + b.spans, a.bytes + b.bytes
    a.cut_spans, a.cut_bytes = a.cut_spans + b.cut_spans, a.cut_bytes + b.cut_bytes
    st.counters[MERGES] += 1
    free_session(st, number)


@njit(**KERNEL)
def merge(st: Any, of_trace: int, of_key: int) -> int:
    """Return the session that two turned out to be. Two that were both decided stay two."""
    a, b = st.sessions[of_trace], st.sessions[of_key]
    if a.state != OPEN and b.state != OPEN:
        return of_trace
    into, number = of_trace, of_key
    if b.state != OPEN or (a.state == OPEN and b.names >= a.names):
        into, number = of_key, of_trace
    _absorb(st, into, number)
    return into


@inline
def take_out_after(st: Any, s: Any, before: int) -> int:
    """Take the row after another one (-1: the first) out of a session's list and return it."""
    at = np.int64(s.first) if before < 0 else np.int64(st.rows[before].link)
    following = np.int64(st.rows[at].link)
    if before < 0:
        s.first = following
    else:
        st.rows[before].link = following
    if following < 0:
        s.last = before
    s.stored -= 1
    return at


@njit(**KERNEL)
def _cut(st: Any, s: Any, limits: Any, released: Any) -> None:
    """Free the oldest of a runaway session's tail while it is too long, two at most.

    Two for every span that comes are enough, and bound the work of one request.
    """
    for _ in range(2):
        if s.tail <= 1 or (s.tail <= limits[TAIL_SPANS] and s.tail_bytes <= limits[MAX_BYTES]):
            return
        at = take_out_after(st, s, np.int64(s.mark))
        row = st.rows[at]
        s.tail -= 1
        s.tail_bytes -= row.length
        s.cut_spans += 1
        s.cut_bytes += row.length
        st.counters[CUT] += 1
        release(st, released, np.int64(row.segment))
        free_row(st, at)


@inline
def append(st: Any, s: Any, at: int, limits: Any, released: Any) -> None:
    """Append a row to a session's list; beyond the limits only a head and a tail are kept."""
    row = st.rows[at]
    if s.last >= 0:
        st.rows[s.last].link = at
    else:
        s.first = at
    s.last = at
    s.stored += 1
    s.spans += 1
    s.bytes += row.length
    if s.is_runaway:
        s.tail += 1
        s.tail_bytes += row.length
        _cut(st, s, limits, released)
    elif s.spans > limits[MAX_SPANS] or s.bytes > limits[MAX_BYTES]:
        s.is_runaway = 1
        if s.state == OPEN or s.state == ASKED:
            s.mark, s.tail, s.tail_bytes = at, 0, 0
        else:
            s.mark, s.tail, s.tail_bytes = -1, s.stored, row.length
