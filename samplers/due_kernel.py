"""Compiled: when a session is due. Only what the collector's own clock says counts."""

from __future__ import annotations

from typing import Any

from numba import njit

from samplers.pending import DECIDED, OPEN, SESSIONS_TOP
from tracekit.otlp.wire import KERNEL, inline

NEVER = 0x7FFFFFFFFFFFFFFF

(
    ROOT_DELAY, KEYED_ROOT_DELAY, DONE_DELAY, IDLE, MAX_AGE, INTERIM, MAX_SPANS, MAX_BYTES,
    TAIL_SPANS, LIMITS,
) = range(10)  # fmt: skip
"""Places in the array of limits."""

BY_ROOT, BY_DONE, BY_IDLE, BY_AGE, BY_SPANS, BY_BYTES, BY_INTERIM = range(7)
"""Triggers."""


@inline
def _final_at(s: Any, limits: Any) -> tuple[int, int]:
    """Return when a session is over, and by which trigger: the earliest, or the first named."""
    at, trigger = s.last_seen + limits[IDLE], BY_IDLE
    if s.state == OPEN and s.first_seen + limits[MAX_AGE] < at:
        at, trigger = s.first_seen + limits[MAX_AGE], BY_AGE
    if s.done_at > 0 and s.done_at + limits[DONE_DELAY] <= at:
        at, trigger = s.done_at + limits[DONE_DELAY], BY_DONE
    if s.open_traces == 0 and s.root_at > 0:
        delay = limits[KEYED_ROOT_DELAY] if s.keys > 0 else limits[ROOT_DELAY]
        if s.root_at + delay <= at:
            at, trigger = s.root_at + delay, BY_ROOT
    return at, trigger


@inline
def due_at(s: Any, limits: Any, now: int) -> tuple[int, int]:
    """Return when a session is due, and by which trigger."""
    if s.state == DECIDED:
        # Of a decided session only the tail of one that ran away is still held.
        if s.is_runaway == 0 or s.first < 0:
            return NEVER, BY_IDLE
        return _final_at(s, limits)
    if s.state != OPEN:
        return NEVER, BY_IDLE
    if s.is_runaway:
        return s.last_seen, (BY_SPANS if s.spans > limits[MAX_SPANS] else BY_BYTES)
    at, trigger = _final_at(s, limits)
    if at > now and limits[INTERIM] > 0 and s.last_seen > s.asked_at:
        since = s.asked_at if s.asked_at > 0 else s.first_seen
        if since + limits[INTERIM] < at:
            at, trigger = since + limits[INTERIM], BY_INTERIM
    return at, trigger


@njit(**KERNEL)
def find_due(st: Any, limits: Any, now: int, out: Any) -> int:
    """List the sessions that are due: number, trigger, since when. Returns how many."""
    found = 0
    for number in range(st.counters[SESSIONS_TOP]):
        at, trigger = due_at(st.sessions[number], limits, now)
        if at <= now and found < out.shape[0]:
            out[found, 0], out[found, 1], out[found, 2] = number, trigger, at
            found += 1
    return found
