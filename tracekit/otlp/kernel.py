"""The scan kernel: OTLP request bytes to columns in one compiled pass.

One loop walks resources, scopes, spans and events, so that the code that takes an attribute is
inlined once. The walk is a small machine: a *mode* says which message is being read, and the end of
a message goes back to the one around it.

    RESOURCE_SPANS -> RESOURCE          attributes of the resource, once per resource
    SCOPE_SPANS    -> SCOPE             attributes of the scope, once per scope
    SPAN           -> EVENT             the span, then what it lacks from scope and resource

Values that need more than a look (arrays, numbers in strings, packed objects) are not decoded here:
the row is marked slow and the caller lets `reference.py` decode the whole span, so that there is
one definition of the odd cases.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tracekit.otlp.attributes import attribute
from tracekit.otlp.fields import event_number, name, span_bytes, span_number
from tracekit.otlp.layout import (
    BAD_SPAN_ID,
    BAD_TRACE_ID,
    FULL,
    LENGTH,
    LINK_SPAN,
    LINK_TRACE,
    MALFORMED,
    MARK,
    NAME,
    OFFSET,
    OK,
    PARENT,
    RESOURCE,
    SCOPE,
    SCOPE_NAME,
    SLOW,
    SPAN,
    STATE,
    TRACE,
    intern,
)
from tracekit.otlp.wire import FAIL, KERNEL, LEN, inline, read_length, read_tag, skip_value

_RESOURCE_SPANS, _RESOURCE, _SCOPE_SPANS, _SCOPE, _SPAN, _EVENT = 0, 1, 2, 3, 4, 5
"""Modes: which message is being read. A child's mode is its parent's plus one."""


@inline
def _clear_column(out: Any, column: int) -> None:
    for slot in range(out.ranks.shape[0]):
        out.ranks[slot, column] = 255


@inline
def _inherit(out: Any, n: int) -> int:
    """List what spans take over from their scope and resource; returns how many columns."""
    count = 0
    for slot in range(out.ranks.shape[0]):
        source = -1
        if out.ranks[slot, n + 1] != 255:
            source = n + 1
        elif out.ranks[slot, n] != 255:
            source = n
        if source >= 0:
            out.fill[2 * count], out.fill[2 * count + 1] = slot, source
            count += 1
    return count


@inline
def _begin_row(out: Any, row: int, start: int, end: int, resource: int, scope: int) -> None:
    at = np.uintp(row)
    for field in (TRACE, SPAN, PARENT, STATE, LINK_TRACE, LINK_SPAN, NAME):
        out.wire[field, at] = -1
    out.wire[MARK, at] = 255
    out.wire[OFFSET, at], out.wire[LENGTH, at] = start, end - start
    out.wire[RESOURCE, at], out.wire[SCOPE, at] = resource, scope


@inline
def _end_row(buf: Any, out: Any, row: int, scope_name: int, inherited: int, seed: Any) -> int:
    """Check a span that was read and give it what it inherits."""
    if out.wire[TRACE, row] < 0:
        return BAD_TRACE_ID
    if out.wire[SPAN, row] < 0:
        return BAD_SPAN_ID
    if out.wire[NAME, row] < 0:
        number = intern(buf, 0, 0, out, seed)
        if number < 0:
            return FULL
        out.wire[NAME, row] = number
    out.wire[SCOPE_NAME, row] = scope_name
    at = np.uintp(row)
    for i in range(np.uintp(inherited)):
        slot, source = np.uintp(out.fill[2 * i]), np.uintp(out.fill[2 * i + 1])
        if out.ranks[slot, at] == 255:
            out.values[slot, at] = out.values[slot, source]
            out.ranks[slot, at] = out.ranks[slot, source]
    return OK


@inline
def _next_child(buf: Any, p: int, end: int, tag: int) -> tuple[int, int]:
    """Return start and end of the next length-delimited field with a tag; start FAIL at the end.

    Only for the levels that `count_messages` has checked.
    """
    while p < end:
        field, p = read_tag(buf, p, end)
        if field == tag:
            stop, p = read_length(buf, p, end)
            return p, stop
        p = skip_value(buf, p, end, field & 7)
    return FAIL, end


@njit(**KERNEL)
def count_messages(buf: Any, counts: Any) -> int:
    """Count resources, scopes and spans into `counts`; counts[3] is the position of an error."""
    n = np.int64(buf.shape[0])
    p = np.int64(0)
    counts[0], counts[1], counts[2] = 0, 0, 0
    while p < n:
        counts[3] = p
        tag, p = read_tag(buf, p, n)
        if p == FAIL:
            return MALFORMED
        if tag != 0x0A:
            p = skip_value(buf, p, n, tag & 7)
            if p == FAIL:
                return MALFORMED
            continue
        resource_end, q = read_length(buf, p, n)
        if q == FAIL:
            return MALFORMED
        counts[0] += 1
        while q < resource_end:
            counts[3] = q
            tag, q = read_tag(buf, q, resource_end)
            if q == FAIL:
                return MALFORMED
            if tag != 0x12:
                q = skip_value(buf, q, resource_end, tag & 7)
                if q == FAIL:
                    return MALFORMED
                continue
            scope_end, r = read_length(buf, q, resource_end)
            if r == FAIL:
                return MALFORMED
            counts[1] += 1
            while r < scope_end:
                counts[3] = r
                tag, r = read_tag(buf, r, scope_end)
                if r == FAIL:
                    return MALFORMED
                counts[2] += tag == 0x12
                r = skip_value(buf, r, scope_end, tag & 7)
                if r == FAIL:
                    return MALFORMED
            q = scope_end
        p = resource_end
    return OK


@njit(**KERNEL)
def scan_spans(buf: Any, keys: Any, out: Any, seed: Any, key: Any) -> int:
    """Fill `out` from a request whose messages `count_messages` has checked.

    Returns:
        OK, or why not; then `out.counters[4]` is the position. After FULL, call again with larger
        intern arrays and everything else as new.
    """
    n = np.int64(buf.shape[0])
    own = np.int64(out.slow.shape[0])  # column of the resource's values; the scope's is the next
    row = np.int64(0)
    resource_number, scope_number = np.int64(-1), np.int64(-1)
    resource_start, resource_end = _next_child(buf, 0, n, 0x0A)
    while resource_start != FAIL:
        resource_number += 1
        out.resources[resource_number, 0], out.resources[resource_number, 1] = (
            resource_start, resource_end,
        )  # fmt: skip
        resource_read, resource_slow = False, False
        scope_start, scope_end = _next_child(buf, resource_start, resource_end, 0x12)
        while scope_start != FAIL:
            scope_number += 1
            out.scopes[scope_number, 0], out.scopes[scope_number, 1] = scope_start, scope_end
            scope_read, scope_slow, scope_name, inherited = False, False, np.int64(-1), 0
            start, stop = _next_child(buf, scope_start, scope_end, 0x12)
            while start != FAIL:
                _begin_row(out, row, start, stop, resource_number, scope_number)
                p, end, mode, attribute_tag, column, event = start, stop, _SPAN, 0x4A, row, 0
                if not resource_read:
                    p, end, mode, attribute_tag = resource_start, resource_end, _RESOURCE_SPANS, -1
                    column = own
                    _clear_column(out, own)
                elif not scope_read:
                    p, end, mode, attribute_tag = scope_start, scope_end, _SCOPE_SPANS, -1
                    column = own + 1
                    _clear_column(out, own + 1)
                back, back_end = np.int64(0), np.int64(0)

                while True:
                    if p == end:
                        if mode == _SPAN:
                            break
                        if mode == _RESOURCE_SPANS:
                            resource_read = True
                            p, end, mode, column = scope_start, scope_end, _SCOPE_SPANS, own + 1
                            _clear_column(out, own + 1)
                        elif mode == _SCOPE_SPANS:
                            scope_read = True
                            inherited = _inherit(out, own)
                            p, end, mode, attribute_tag = start, stop, _SPAN, 0x4A
                            column = row
                        else:
                            p, end, event = back, back_end, 0
                            mode -= 1
                            attribute_tag = 0x4A if mode == _SPAN else -1
                        continue

                    out.counters[4] = p
                    tag, p = read_tag(buf, p, end)
                    if p == FAIL:
                        return MALFORMED
                    result = OK
                    if tag == attribute_tag:
                        inner, p = read_length(buf, p, end)
                        if p == FAIL:
                            return MALFORMED
                        result = attribute(buf, p, inner, column, row, event, keys, out, seed, key)
                        if result == SLOW:
                            result = OK
                            resource_slow = resource_slow or mode == _RESOURCE
                            scope_slow = scope_slow or mode == _SCOPE
                            out.slow[row] = 1
                        p = inner
                    elif (mode <= _SCOPE_SPANS and tag == 0x0A) or (mode == _SPAN and tag == 0x5A):
                        inner, p = read_length(buf, p, end)
                        if p == FAIL:
                            return MALFORMED
                        back, back_end, end = inner, end, inner
                        if mode == _SPAN:
                            event = event_number(buf, p, end, keys)
                        mode += 1
                        attribute_tag = 0x0A if mode == _RESOURCE else 0x1A
                    elif mode == _SPAN and tag & 7 == LEN:
                        p, result = span_bytes(buf, tag, p, end, out, row, seed)
                    elif mode == _SPAN:
                        p, result = span_number(buf, tag, p, end, out, row)
                    elif (mode == _SCOPE and tag == 0x0A) or (mode == _EVENT and tag == 0x12):
                        p, number, result = name(buf, p, end, out, seed, mode == _SCOPE)
                        if mode == _SCOPE:
                            scope_name = number
                    else:
                        p = skip_value(buf, p, end, tag & 7)
                        if p == FAIL:
                            return MALFORMED
                    if result != OK:
                        return result

                out.counters[4] = start
                result = _end_row(buf, out, row, scope_name, inherited, seed)
                if result != OK:
                    return result
                if resource_slow or scope_slow:
                    out.slow[row] = 1
                row += 1
                out.counters[1] = row
                start, stop = _next_child(buf, stop, scope_end, 0x12)
            scope_start, scope_end = _next_child(buf, scope_end, resource_end, 0x12)
        resource_start, resource_end = _next_child(buf, resource_end, n, 0x0A)
    return OK
