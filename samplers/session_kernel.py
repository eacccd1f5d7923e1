"""Compiled: spans into sessions, sessions out when they are complete.

`sessions.py` says what the rules are for; here they are carried out without an object per span.
Times are the collector's clock unless named after the span.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from samplers.lists_kernel import append, merge, take_out_after
from samplers.pending import (
    ASKED,
    ASKED_FLAG,
    BEFORE_FLAG,
    DECIDED,
    DECIDING,
    DIRTY,
    DONE_FLAG,
    DUPLICATES,
    ENDED_FLAG,
    FRESH,
    KEY_NAME,
    OPEN,
    RELEASED,
    ROOT_FLAG,
    SESSIONS_TOP,
    TRACE_NAME,
)
from samplers.pending_kernel import (
    add_name,
    add_row,
    find_name,
    find_row,
    free_row,
    new_session,
    release,
    was_here,
)
from tracekit.otlp.layout import END, LENGTH, OFFSET, PARENT, RESOURCE, SCOPE, SPAN, START, TRACE
from tracekit.otlp.wire import KERNEL, inline, load64


@njit(**KERNEL)
def _note(st: Any, s: Any, name: int, row: Any, now: int) -> None:
    """Let a session know what a new span says about its end."""
    s.last_seen = max(s.last_seen, now)
    s.min_start, s.max_end = min(s.min_start, row.start), max(s.max_end, row.start, row.end)
    if row.flags & DONE_FLAG:
        s.done_at = now
    both = ROOT_FLAG | ENDED_FLAG
    if row.flags & both == both and st.names[name].is_ended == 0:
        st.names[name].is_ended = 1
        s.open_traces -= 1
        s.root_at = now


@njit(**KERNEL)
def _locate(
    i: int, wire: Any, resources: Any, scopes: Any, base: int, segment: int, row: Any
) -> None:
    """Write where a span lies."""
    resource, scope = wire[RESOURCE, i], wire[SCOPE, i]
    row.segment, row.offset, row.length = segment, base + wire[OFFSET, i], wire[LENGTH, i]
    row.resource = base + resources[resource, 0]
    row.resource_length = resources[resource, 1] - resources[resource, 0]
    row.scope, row.scope_length = base + scopes[scope, 0], scopes[scope, 1] - scopes[scope, 0]


@njit(**KERNEL)
def _place(
    i: int, wire: Any, resources: Any, scopes: Any, base: int, segment: int, done: Any, row: Any
) -> None:
    """Write where a span lies and what it is."""
    _locate(i, wire, resources, scopes, base, segment, row)
    row.start, row.end = wire[START, i], wire[END, i]
    row.flags = (
        (row.flags & BEFORE_FLAG)
        | (ROOT_FLAG if wire[PARENT, i] < 0 else 0)
        | (ENDED_FLAG if wire[END, i] != 0 else 0)
        | (DONE_FLAG if done[i] else 0)
    )


@inline
def _session_of(
    st: Any, first: Any, second: Any, keys: Any, has_key: bool, i: int, now: int, fresh: Any
) -> tuple[int, int]:
    """Return the number of the trace's name and of the session, both new if need be."""
    name = find_name(st, TRACE_NAME, first, second)
    key = find_name(st, KEY_NAME, keys[i, 0], keys[i, 1]) if has_key else np.int64(-1)
    session = np.int64(-1)
    if name >= 0:
        session = np.int64(st.names[name].session)
    if key >= 0:
        other = np.int64(st.names[key].session)
        if session < 0:
            session = other
        elif session != other:
            session = merge(st, session, other)
    if session < 0:
        session = new_session(st, now)
    if name < 0:
        name = add_name(st, session, TRACE_NAME, first, second)
        st.sessions[session].done_at = 0  # it goes on after all
    if has_key and key < 0:
        key = add_name(st, session, KEY_NAME, keys[i, 0], keys[i, 1])
        fresh[st.counters[FRESH], 0], fresh[st.counters[FRESH], 1] = key, i
        st.counters[FRESH] += 1
    return name, session


@njit(**KERNEL)
def adopt(st: Any, kinds: Any, words: Any, now: int, fresh: Any) -> int:
    """Return the session that goes by some names, new if need be; `fresh` marks its new names."""
    session = np.int64(-1)
    for i in range(kinds.shape[0]):
        at = find_name(st, kinds[i], words[i, 0], words[i, 1])
        fresh[i] = -1
        if at >= 0:
            other = np.int64(st.names[at].session)
            if session < 0:
                session = other
            elif session != other:
                session = merge(st, session, other)
    if session < 0:
        session = new_session(st, now)
    for i in range(kinds.shape[0]):
        if find_name(st, kinds[i], words[i, 0], words[i, 1]) < 0:
            fresh[i] = add_name(st, session, kinds[i], words[i, 0], words[i, 1])
    return session


@njit(**KERNEL)
def ingest(
    st: Any, limits: Any, buf: Any, wire: Any, resources: Any, scopes: Any, keys: Any,
    has_key: Any, done: Any, segment: int, base: int, now: int, released: Any, fresh: Any,
    dirty: Any,
) -> None:  # fmt: skip
    """Take the spans of one scanned request.

    Lists in `released` the segments of spans whose bytes nobody needs, in `fresh` the new keys as
    (name, row of the request), in `dirty` the decided sessions that got spans.
    """
    st.counters[RELEASED], st.counters[FRESH], st.counters[DIRTY] = 0, 0, 0
    for i in range(wire.shape[1]):
        trace = wire[TRACE, i]
        first, second = load64(buf, trace), load64(buf, trace + 8)
        span, end = load64(buf, wire[SPAN, i]), wire[END, i]
        name, session = _session_of(st, first, second, keys, has_key[i], i, now, fresh)
        s = st.sessions[session]
        is_gone = (s.state != OPEN or s.cut_spans > 0) and was_here(st, name, span, end)
        at = find_row(st, name, span)
        if at >= 0 or is_gone:
            st.counters[DUPLICATES] += 1
            if at >= 0 and end > st.rows[at].end and not is_gone:
                # The copy that ended later knows more: some send a span when it starts, too.
                row = st.rows[at]
                release(st, released, np.int64(row.segment))
                s.bytes += wire[LENGTH, i] - np.int64(row.length)
                _place(i, wire, resources, scopes, base, segment, done, row)
                _note(st, s, name, row, now)
            else:
                release(st, released, segment)
        else:
            at = add_row(st, name, span)
            row = st.rows[at]
            _place(i, wire, resources, scopes, base, segment, done, row)
            append(st, s, at, limits, released)
            _note(st, s, name, row, now)
        if s.state == DECIDED and s.is_dirty == 0 and s.first >= 0:
            s.is_dirty = 1
            dirty[st.counters[DIRTY]] = session
            st.counters[DIRTY] += 1


@njit(**KERNEL)
def find_in_segments(st: Any, wanted: Any, first: int, end: int, out: Any) -> int:
    """List the rows of waiting sessions that lie in some segments: segment and offset.

    Args:
        st: The state.
        wanted: Whether each segment is looked for, by its number.
        first: The first session to look at.
        end: The one behind the last.
        out: Filled up to its length.
    """
    found = np.int64(0)
    for number in range(first, min(end, st.counters[SESSIONS_TOP])):
        s = st.sessions[number]
        if s.state != OPEN and s.state != DECIDED:
            continue  # what is being decided has been read
        at = np.int64(s.first)
        while at >= 0 and found < out.shape[0]:
            row = st.rows[at]
            if row.segment < wanted.shape[0] and wanted[row.segment]:
                out[found, 0], out[found, 1] = row.segment, row.offset
                found += 1
            at = np.int64(row.link)
    return found


@njit(**KERNEL)
def repoint(
    st: Any, buf: Any, wire: Any, resources: Any, scopes: Any, segment: int, base: int,
    old_segment: int, old_offsets: Any, is_moved: Any,
) -> None:  # fmt: skip
    """Let rows that lie where spans were moved from say where they are now; marks these spans."""
    for i in range(wire.shape[1]):
        trace = wire[TRACE, i]
        name = find_name(st, TRACE_NAME, load64(buf, trace), load64(buf, trace + 8))
        at = np.int64(-1)
        if name >= 0:
            at = find_row(st, name, load64(buf, wire[SPAN, i]))
        if at >= 0:
            row = st.rows[at]
            if row.segment == old_segment and row.offset == old_offsets[i]:
                _locate(i, wire, resources, scopes, base, segment, row)
                is_moved[i] = True


@njit(**KERNEL)
def _copy_rows(st: Any, s: Any, out: Any, begin: int, end: int) -> None:
    """Copy the rows of a session and mark them as asked about: an interim decision."""
    at = np.int64(s.first)
    for i in range(begin, end):
        out[i] = st.rows[at]
        st.rows[at].flags |= ASKED_FLAG
        at = np.int64(st.rows[at].link)
    s.state = ASKED


@njit(**KERNEL)
def _take_rows(st: Any, s: Any, out: Any, begin: int, end: int) -> None:
    """Copy the rows of a session and free them. An open session is being decided from then on."""
    at = np.int64(s.first)
    for i in range(begin, end):
        out[i] = st.rows[at]
        following = np.int64(st.rows[at].link)
        free_row(st, at)
        at = following
    s.first, s.last, s.mark, s.stored, s.tail, s.tail_bytes = -1, -1, -1, 0, 0, 0
    s.is_dirty = 0
    if s.state == OPEN:
        s.state = DECIDING


@njit(**KERNEL)
def take_sessions(st: Any, numbers: Any, is_interim: Any, ends: Any, out: Any) -> None:
    """Copy the rows of sessions one behind the other; those of final decisions are freed.

    Args:
        st: The state.
        numbers: The sessions.
        is_interim: Whether each is only asked about.
        ends: Where the rows of each end in `out`.
        out: The rows.
    """
    begin = np.int64(0)
    for i in range(numbers.shape[0]):
        s = st.sessions[numbers[i]]
        if is_interim[i]:
            _copy_rows(st, s, out, begin, ends[i])
        else:
            _take_rows(st, s, out, begin, ends[i])
        begin = ends[i]


@njit(**KERNEL)
def _drop_asked(st: Any, s: Any) -> None:
    """Free the rows an interim decision was about; what came since stays, as a tail."""
    before, at = np.int64(-1), np.int64(s.first)
    s.tail_bytes = 0
    while at >= 0:
        row = st.rows[at]
        following = np.int64(row.link)
        if row.flags & ASKED_FLAG:
            free_row(st, take_out_after(st, s, before))
        else:
            s.tail_bytes += row.length
            before = at
        at = following
    s.mark, s.tail = -1, s.stored


@njit(**KERNEL)
def settle(
    st: Any, number: int, kept: bool, threshold: Any, weight: float, rule: int, now: int
) -> None:
    """Note a decision. An interim one that did not keep the session leaves it open."""
    s = st.sessions[number]
    if s.state == ASKED and not kept:
        at = np.int64(s.first)
        while at >= 0:
            row = st.rows[at]
            if row.flags & ASKED_FLAG:
                row.flags = row.flags ^ ASKED_FLAG | BEFORE_FLAG
            at = np.int64(row.link)
        s.state, s.asked_at = OPEN, now
        return
    if s.state == ASKED:
        _drop_asked(st, s)
    s.state, s.is_kept, s.decided_at = DECIDED, kept, now
    s.threshold, s.weight, s.rule = threshold, weight, rule
