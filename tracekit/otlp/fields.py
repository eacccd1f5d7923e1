"""Compiled: the fields of a span other than its attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracekit.otlp.attributes import NO_EVENT
from tracekit.otlp.layout import (
    BAD_PARENT_ID,
    BAD_SPAN_ID,
    BAD_TIME,
    BAD_TRACE_ID,
    BAD_UTF8,
    END,
    FULL,
    LINK_SPAN,
    LINK_TRACE,
    MALFORMED,
    NAME,
    OK,
    PARENT,
    SPAN,
    SPAN_KIND,
    START,
    STATE,
    STATUS,
    TRACE,
    intern,
)
from tracekit.otlp.wire import (
    FAIL,
    inline,
    is_utf8,
    load64,
    read_fixed64,
    read_length,
    read_tag,
    same_bytes,
    skip_value,
    varint,
)

_U0 = np.uint64(0)
_LOW_32 = np.uint64(0xFFFFFFFF)  # an enum is 32 bits of a varint


@inline
def event_number(buf: Any, p: int, end: int, keys: Any) -> int:
    """Return the number of an event's name in the key table; `NO_EVENT` for one not in it."""
    start, stop = np.int64(0), np.int64(0)
    while p < end:
        tag, p = read_tag(buf, p, end)
        if p == FAIL:
            return NO_EVENT
        if tag == 0x12:
            stop, start = read_length(buf, p, end)
            if start == FAIL:
                return NO_EVENT
            p = stop
        else:
            p = skip_value(buf, p, end, tag & 7)
            if p == FAIL:
                return NO_EVENT
    for i in range(keys.event_start.shape[0]):
        if keys.event_length[i] == stop - start and same_bytes(
            keys.blob, keys.event_start[i], buf, start, stop - start
        ):
            return i + 1
    return NO_EVENT


@inline
def _all_zero(buf: Any, p: int, size: int) -> bool:
    word = load64(buf, p)
    if size == 16:
        word |= load64(buf, p + 8)
    return bool(word == _U0)


@inline
def _link(buf: Any, p: int, end: int, out: Any, row: int) -> int:
    """Read a span link; only the first counts, -2 marks one whose ids are not valid."""
    trace, span = np.int64(-1), np.int64(-1)
    while p < end:
        tag, p = read_tag(buf, p, end)
        if p == FAIL:
            return MALFORMED
        if tag == 0x0A or tag == 0x12 or tag == 0x1A:
            stop, p = read_length(buf, p, end)
            if p == FAIL:
                return MALFORMED
            if tag == 0x0A:
                trace = p if stop - p == 16 else np.int64(-1)
            elif tag == 0x12:
                span = p if stop - p == 8 else np.int64(-1)
            elif not is_utf8(buf, p, stop):
                return BAD_UTF8
            p = stop
        else:
            p = skip_value(buf, p, end, tag & 7)
            if p == FAIL:
                return MALFORMED
    if out.wire[LINK_TRACE, row] == -1:
        valid = trace >= 0 and span >= 0
        valid = valid and not _all_zero(buf, trace, 16) and not _all_zero(buf, span, 8)
        out.wire[LINK_TRACE, row] = trace if valid else -2
        out.wire[LINK_SPAN, row] = span if valid else -2
    return OK


@inline
def _status(buf: Any, p: int, end: int, out: Any, row: int) -> int:
    """Read a span status over an earlier one."""
    while p < end:
        tag, p = read_tag(buf, p, end)
        if p == FAIL:
            return MALFORMED
        if tag == 0x12:
            stop, p = read_length(buf, p, end)
            if p == FAIL:
                return MALFORMED
            if not is_utf8(buf, p, stop):
                return BAD_UTF8
            p = stop
        elif tag == 0x18:
            code, p = varint(buf, p, end)
            if p == FAIL:
                return MALFORMED
            code &= _LOW_32
            out.wire[STATUS, row] = np.int64(code) if code <= np.uint64(2) else 0
        else:
            p = skip_value(buf, p, end, tag & 7)
            if p == FAIL:
                return MALFORMED
    return OK


@inline
def span_bytes(
    buf: Any, tag: int, p: int, end: int, out: Any, row: int, seed: Any
) -> tuple[int, int]:
    """Read a length-delimited field of a span other than attributes and events."""
    stop, p = read_length(buf, p, end)
    if p == FAIL:
        return FAIL, MALFORMED
    size = stop - p
    result = OK
    if tag == 0x0A:
        out.wire[TRACE, row] = p
        if size != 16 or _all_zero(buf, p, 16):
            result = BAD_TRACE_ID
    elif tag == 0x12:
        out.wire[SPAN, row] = p
        if size != 8 or _all_zero(buf, p, 8):
            result = BAD_SPAN_ID
    elif tag == 0x22:
        if size != 0 and size != 8:
            result = BAD_PARENT_ID
        else:
            out.wire[PARENT, row] = -1 if size == 0 or _all_zero(buf, p, 8) else p
    elif tag == 0x1A:
        out.wire[STATE, row] = -1 if size == 0 else p << 32 | size
        if not is_utf8(buf, p, stop):
            result = BAD_UTF8
    elif tag == 0x2A:
        number = intern(buf, p, stop, out, seed)
        out.wire[NAME, row] = number
        if number < 0:
            result = FULL
        elif not is_utf8(buf, p, stop):
            result = BAD_UTF8
    elif tag == 0x6A:
        result = _link(buf, p, stop, out, row)
    elif tag == 0x7A:
        result = _status(buf, p, stop, out, row)
    return stop, result


@inline
def span_number(buf: Any, tag: int, p: int, end: int, out: Any, row: int) -> tuple[int, int]:
    """Read a number field of a span."""
    if tag == 0x30:
        value, p = varint(buf, p, end)
        value &= _LOW_32
        out.wire[SPAN_KIND, row] = np.int64(value) if value <= np.uint64(5) else 0
    elif tag == 0x39 or tag == 0x41:
        value, p = read_fixed64(buf, p, end)
        if value >> np.uint64(63) != _U0:
            return p, BAD_TIME
        out.wire[START if tag == 0x39 else END, row] = np.int64(value)
    else:
        p = skip_value(buf, p, end, tag & 7)
    return p, MALFORMED if p == FAIL else OK


@inline
def name(buf: Any, p: int, end: int, out: Any, seed: Any, wanted: bool) -> tuple[int, int, int]:
    """Read the name of a scope (interned) or of an event (checked): position, number, result."""
    stop, p = read_length(buf, p, end)
    if p == FAIL:
        return FAIL, -1, MALFORMED
    if not is_utf8(buf, p, stop):
        return stop, -1, BAD_UTF8
    number = np.int64(-1)
    if wanted and stop > p:
        number = intern(buf, p, stop, out, seed)
        if number < 0:
            return stop, -1, FULL
    return stop, number, OK
