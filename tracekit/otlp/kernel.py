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

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from tracekit.otlp.wire import (
    FAIL,
    KERNEL,
    LEN,
    as_bits,
    as_double,
    inline,
    is_utf8,
    key_hash,
    load64,
    prefix_gate,
    read_fixed64,
    read_length,
    read_tag,
    same_bytes,
    siphash13,
    skip_value,
    text_hash,
    varint,
)

(
    OK, MALFORMED, BAD_UTF8, BAD_TRACE_ID, BAD_SPAN_ID, BAD_PARENT_ID, BAD_TIME, TOO_DEEP, FULL,
    SLOW,
) = range(10)  # fmt: skip
"""Results. FULL: the intern table must grow. SLOW: a value must be decoded by the reference (never
the result of a whole scan). The others are the input's fault."""

MAX_DEPTH = 64
"""Levels an attribute value may nest; the protobuf library stops at 100 for the whole message."""

(
    TRACE, SPAN, PARENT, LINK_TRACE, LINK_SPAN, STATE, NAME, SPAN_KIND, SCOPE_NAME,
    START, END, STATUS, MARK, OFFSET, LENGTH, RESOURCE, SCOPE, WIRE_ROWS,
) = range(18)  # fmt: skip
"""Rows of `Out.wire`. Ids are offsets, -1 where absent; NAME and SCOPE_NAME are intern numbers."""

_NO_EVENT = 254
_RESOURCE_SPANS, _RESOURCE, _SCOPE_SPANS, _SCOPE, _SPAN, _EVENT = 0, 1, 2, 3, 4, 5
_NONE, _STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES, _MERGED = range(9)
_SYMBOL_KIND, _TEXT_KIND, _INT_KIND, _DOUBLE_KIND, _BOOL_KIND, _HASH_KIND, _CONTENT_KIND = range(7)

_U0 = np.uint64(0)
_U32 = np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)  # an enum is 32 bits of a varint


class Out(NamedTuple):
    """Arrays a scan fills, for n spans and W attribute columns.

    `values` and `ranks` are (W, n + 2): the last two columns hold the resource's and the scope's
    own values. `intern_*` is an open-addressing table of the distinct symbols, as ranges of the
    input. `counters`: symbols, spans, resources, scopes, position of an error.
    """

    values: npt.NDArray[np.uint64]
    ranks: npt.NDArray[np.uint8]
    wire: npt.NDArray[np.int64]
    slow: npt.NDArray[np.uint8]
    seen: npt.NDArray[np.uint8]
    resources: npt.NDArray[np.int64]
    scopes: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int32]
    symbol_hash: npt.NDArray[np.uint64]
    symbol_start: npt.NDArray[np.int64]
    symbol_length: npt.NDArray[np.int64]
    fill: npt.NDArray[np.int64]
    stack: npt.NDArray[np.int64]
    counters: npt.NDArray[np.int64]


@inline
def _intern(buf: Any, p: int, end: int, out: Any, seed: Any) -> int:
    """Return the number of a symbol, adding it if it is new; -1 when the table is full."""
    h = text_hash(buf, p, end, seed)
    mask = np.uintp(out.buckets.shape[0] - 1)
    at = h & mask
    while True:
        number = np.int64(out.buckets[at])
        if number < 0:
            break
        known = np.uintp(number)
        if (
            out.symbol_hash[known] == h
            and out.symbol_length[known] == end - p
            and same_bytes(buf, out.symbol_start[known], buf, p, end - p)
        ):
            return number
        at = (at + np.uintp(1)) & mask
    number = out.counters[0]
    if number >= out.symbol_start.shape[0]:
        return -1
    out.buckets[at] = number
    out.symbol_hash[number] = h
    out.symbol_start[number] = p
    out.symbol_length[number] = end - p
    out.counters[0] = number + 1
    return number


@njit(**KERNEL)
def _check_nested(buf: Any, p: int, end: int, message: int, stack: Any) -> int:
    """Check a nested attribute value: wire format, UTF-8, depth.

    `message` is what the bytes are: 0 AnyValue, 1 array, 2 key-value list, 3 key-value.
    """
    depth = 0
    while True:
        if p == end:
            if depth == 0:
                return OK
            depth -= 1
            end, message = stack[2 * depth], stack[2 * depth + 1]
            continue
        tag, p = read_tag(buf, p, end)
        if p == FAIL:
            return MALFORMED
        child = -1
        if message == 0 and (tag == 0x2A or tag == 0x32):
            child = 1 if tag == 0x2A else 2
        elif message == 1 and tag == 0x0A:
            child = 0
        elif message == 2 and tag == 0x0A:
            child = 3
        elif message == 3 and tag == 0x12:
            child = 0
        if child >= 0:
            stop, p = read_length(buf, p, end)
            if p == FAIL:
                return MALFORMED
            if 2 * depth + 1 >= stack.shape[0]:
                return TOO_DEEP
            stack[2 * depth], stack[2 * depth + 1] = end, message
            depth += 1
            end, message = stop, child
        elif tag == 0x0A:
            stop, p = read_length(buf, p, end)
            if p == FAIL:
                return MALFORMED
            if not is_utf8(buf, p, stop):
                return BAD_UTF8
            p = stop
        else:
            p = skip_value(buf, p, end, tag & 7)
            if p == FAIL:
                return MALFORMED


@inline
def _any_value(
    buf: Any, p: int, end: int, kind: int, a: Any, b: Any, stack: Any
) -> tuple[int, Any, Any, int]:
    """Read an AnyValue over what an earlier one left: kind, payload (or start), end, result."""
    while p < end:
        tag, p = read_tag(buf, p, end)
        if p == FAIL:
            return kind, a, b, MALFORMED
        if tag == 0x0A or tag == 0x3A or tag == 0x2A or tag == 0x32:
            stop, p = read_length(buf, p, end)
            if p == FAIL:
                return kind, a, b, MALFORMED
            if tag == 0x0A:
                if not is_utf8(buf, p, stop):
                    return kind, a, b, BAD_UTF8
                kind = _STRING
            elif tag == 0x3A:
                kind = _BYTES
            else:
                result = _check_nested(buf, p, stop, 1 if tag == 0x2A else 2, stack)
                if result != OK:
                    return kind, a, b, result
                new = _ARRAY if tag == 0x2A else _KVLIST
                kind = _MERGED if (kind == new or kind == _MERGED) else new
            a, b = np.uint64(p), np.uint64(stop)
            p = stop
        elif tag == 0x10 or tag == 0x18:
            a, p = varint(buf, p, end)
            kind = _BOOL if tag == 0x10 else _INT
        elif tag == 0x21:
            a, p = read_fixed64(buf, p, end)
            kind = _DOUBLE
        else:
            p = skip_value(buf, p, end, tag & 7)
        if p == FAIL:
            return kind, a, b, MALFORMED
    return kind, a, b, OK


@inline
def _only_string(buf: Any, p: int, end: int) -> tuple[int, int]:
    """Return the range of the string of an array that holds exactly one; -1 otherwise."""
    tag, p = read_tag(buf, p, end)
    if p == FAIL or tag != 0x0A:
        return FAIL, FAIL
    stop, p = read_length(buf, p, end)
    if p == FAIL or stop != end or p == stop:
        return FAIL, FAIL
    tag, p = read_tag(buf, p, end)
    if p == FAIL or tag != 0x0A:
        return FAIL, FAIL
    stop, p = read_length(buf, p, end)
    if p == FAIL or stop != end:
        return FAIL, FAIL
    return p, stop


@inline
def _find(buf: Any, p: int, end: int, event: int, keys: Any) -> int:
    """Return the table entry of an attribute key, or -1."""
    h = key_hash(buf, p, end)
    mask = np.uintp(keys.buckets.shape[0] - 1)
    at = h & mask
    while True:
        entry = np.int64(keys.buckets[at])
        if entry < 0:
            return -1
        known = np.uintp(entry)
        if (
            keys.hashes[known] == h
            and keys.event[known] == event
            and keys.length[known] == end - p
            and same_bytes(keys.blob, keys.start[known], buf, p, end - p)
        ):
            return entry
        at = (at + np.uintp(1)) & mask


@njit(**KERNEL)
def _match_prefix(
    buf: Any, p: int, end: int, blob: Any, starts: Any, lengths: Any, marks: Any
) -> int:
    best = 255
    for i in range(starts.shape[0]):
        if (
            end - p >= lengths[i]
            and marks[i] < best
            and same_bytes(blob, starts[i], buf, p, lengths[i])
        ):
            best = np.int64(marks[i])
    return best


@inline
def _prefix_mark(buf: Any, p: int, end: int, keys: Any) -> int:
    """Return the order of the dialect that a prefix of an unlisted key gives away; 255: none."""
    if end - p >= 8 and keys.prefix_gate[prefix_gate(load64(buf, p))] == 0:
        return 255
    return np.int64(
        _match_prefix(
            buf, p, end, keys.blob, keys.prefix_start, keys.prefix_length, keys.prefix_mark
        )
    )


@inline
def _put(out: Any, slot: Any, row: Any, rank: Any, value: Any) -> None:
    out.values[slot, row] = value
    out.ranks[slot, row] = rank
    out.seen[slot] = 1


@inline
def _store(
    buf: Any, entry: int, row: int, kind: int, a: Any, b: Any, keys: Any, out: Any, seed: Any,
    key: Any,
) -> int:  # fmt: skip
    """Put a value into every column its key feeds. Returns OK, SLOW or FULL."""
    p, end = np.int64(a), np.int64(b)
    if kind == _ARRAY:
        p, end = _only_string(buf, p, end)
        if p == FAIL:
            return SLOW
        kind = _STRING
    elif kind == _MERGED or kind == _KVLIST:
        return SLOW
    at, column = np.uintp(entry), np.uintp(row)
    flags = keys.flags[at]
    if flags & 1 or (flags & 2 and kind == _STRING and end > p and buf[p] == 0x5B):
        return SLOW
    number = np.int64(-1)
    for i in range(np.uintp(keys.first[at]), np.uintp(keys.first[at + np.uintp(1)])):
        slot = np.uintp(keys.slot[i])
        rank = keys.rank[i]
        if rank > out.ranks[slot, column]:
            continue
        holds = keys.kind[slot]
        if kind == _STRING and holds == _SYMBOL_KIND and end > p:
            if number < 0:
                number = _intern(buf, p, end, out, seed)
                if number < 0:
                    return FULL
            _put(out, slot, column, rank, np.uint64(number))
        elif kind == _STRING and (holds == _CONTENT_KIND or (holds == _TEXT_KIND and end > p)):
            _put(out, slot, column, rank, np.uint64(p) << _U32 | np.uint64(end - p))
        elif holds == _HASH_KIND and (kind == _STRING or kind == _BYTES):
            _put(out, slot, column, rank, siphash13(buf, p, end, key))
        elif (kind == _INT and (holds == _INT_KIND or holds == _HASH_KIND)) or (
            kind == _DOUBLE and holds == _DOUBLE_KIND and np.isfinite(as_double(a))
        ):
            _put(out, slot, column, rank, a)
        elif kind == _INT and holds == _DOUBLE_KIND:
            _put(out, slot, column, rank, as_bits(np.float64(np.int64(a))))
        elif kind == _BOOL and holds == _BOOL_KIND:
            _put(out, slot, column, rank, np.uint64(a != _U0))
        elif not (kind == _STRING and end == p):
            return SLOW
    return OK


@inline
def _event_number(buf: Any, p: int, end: int, keys: Any) -> int:
    """Return the number of an event's name in the key table; `_NO_EVENT` for one not in it."""
    start, stop = np.int64(0), np.int64(0)
    while p < end:
        tag, p = read_tag(buf, p, end)
        if p == FAIL:
            return _NO_EVENT
        if tag == 0x12:
            stop, start = read_length(buf, p, end)
            if start == FAIL:
                return _NO_EVENT
            p = stop
        else:
            p = skip_value(buf, p, end, tag & 7)
            if p == FAIL:
                return _NO_EVENT
    for i in range(keys.event_start.shape[0]):
        if keys.event_length[i] == stop - start and same_bytes(
            keys.blob, keys.event_start[i], buf, start, stop - start
        ):
            return i + 1
    return _NO_EVENT


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
def _span_bytes(
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
        number = _intern(buf, p, stop, out, seed)
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
def _span_number(buf: Any, tag: int, p: int, end: int, out: Any, row: int) -> tuple[int, int]:
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


@inline
def _key_value(buf: Any, p: int, end: int, stack: Any) -> tuple[int, int, int, Any, Any, int]:
    """Read a KeyValue message: start and end of the key, kind and payload of the value, result."""
    key_start, key_end = p, p
    kind, a, b = _NONE, _U0, _U0
    while p < end:
        tag, p = read_tag(buf, p, end)
        if p == FAIL:
            return key_start, key_end, kind, a, b, MALFORMED
        if tag == 0x0A or tag == 0x12:
            stop, p = read_length(buf, p, end)
            if p == FAIL:
                return key_start, key_end, kind, a, b, MALFORMED
            result = OK
            if tag == 0x12:
                kind, a, b, result = _any_value(buf, p, stop, kind, a, b, stack)
            elif is_utf8(buf, p, stop):
                key_start, key_end = p, stop
            else:
                result = BAD_UTF8
            if result != OK:
                return key_start, key_end, kind, a, b, result
            p = stop
        else:
            p = skip_value(buf, p, end, tag & 7)
            if p == FAIL:
                return key_start, key_end, kind, a, b, MALFORMED
    return key_start, key_end, kind, a, b, OK


@inline
def _attribute(
    buf: Any, p: int, end: int, column: int, row: int, event: int, keys: Any, out: Any, seed: Any,
    key: Any,
) -> int:  # fmt: skip
    """Take one attribute of a resource, scope, event or span into its column of `out.values`."""
    key_start, key_end, kind, a, b, result = _key_value(buf, p, end, out.stack)
    if result != OK or event == _NO_EVENT:
        return result
    entry = _find(buf, key_start, key_end, event, keys)
    if column == row and event == 0:
        if entry >= 0:
            mark = np.int64(keys.mark[np.uintp(entry)])
        else:
            mark = _prefix_mark(buf, key_start, key_end, keys)
        out.wire[MARK, np.uintp(row)] = min(out.wire[MARK, np.uintp(row)], mark)
    if entry < 0 or kind == _NONE:
        return OK
    return _store(buf, entry, column, kind, a, b, keys, out, seed, key)


@inline
def _name(buf: Any, p: int, end: int, out: Any, seed: Any, wanted: bool) -> tuple[int, int, int]:
    """Read the name of a scope (interned) or of an event (checked): position, number, result."""
    stop, p = read_length(buf, p, end)
    if p == FAIL:
        return FAIL, -1, MALFORMED
    if not is_utf8(buf, p, stop):
        return stop, -1, BAD_UTF8
    number = np.int64(-1)
    if wanted and stop > p:
        number = _intern(buf, p, stop, out, seed)
        if number < 0:
            return stop, -1, FULL
    return stop, number, OK


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
        number = _intern(buf, 0, 0, out, seed)
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
                        result = _attribute(buf, p, inner, column, row, event, keys, out, seed, key)
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
                            event = _event_number(buf, p, end, keys)
                        mode += 1
                        attribute_tag = 0x0A if mode == _RESOURCE else 0x1A
                    elif mode == _SPAN and tag & 7 == LEN:
                        p, result = _span_bytes(buf, tag, p, end, out, row, seed)
                    elif mode == _SPAN:
                        p, result = _span_number(buf, tag, p, end, out, row)
                    elif (mode == _SCOPE and tag == 0x0A) or (mode == _EVENT and tag == 0x12):
                        p, number, result = _name(buf, p, end, out, seed, mode == _SCOPE)
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
