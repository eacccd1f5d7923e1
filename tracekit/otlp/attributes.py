"""Compiled: one attribute of a span, event, scope or resource into the columns its key feeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tracekit.otlp.layout import (
    BAD_UTF8,
    BOOL_KIND,
    CONTENT_KIND,
    DOUBLE_KIND,
    FULL,
    HASH_KIND,
    INT_KIND,
    MALFORMED,
    MARK,
    OK,
    SLOW,
    SYMBOL_KIND,
    TEXT_KIND,
    TOO_DEEP,
    intern,
)
from tracekit.otlp.wire import (
    FAIL,
    KERNEL,
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
    varint,
)

NO_EVENT = 254
"""Number of a span event whose attributes feed no column."""

_NONE, _STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES, _MERGED = range(9)
"""What a value is; merged: two arrays or maps in one attribute, which protobuf joins."""

_U0 = np.uint64(0)
_U32 = np.uint64(32)


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
        if kind == _STRING and holds == SYMBOL_KIND and end > p:
            if number < 0:
                number = intern(buf, p, end, out, seed)
                if number < 0:
                    return FULL
            _put(out, slot, column, rank, np.uint64(number))
        elif kind == _STRING and (holds == CONTENT_KIND or (holds == TEXT_KIND and end > p)):
            _put(out, slot, column, rank, np.uint64(p) << _U32 | np.uint64(end - p))
        elif holds == HASH_KIND and (kind == _STRING or kind == _BYTES):
            _put(out, slot, column, rank, siphash13(buf, p, end, key))
        elif (kind == _INT and (holds == INT_KIND or holds == HASH_KIND)) or (
            kind == _DOUBLE and holds == DOUBLE_KIND and np.isfinite(as_double(a))
        ):
            _put(out, slot, column, rank, a)
        elif kind == _INT and holds == DOUBLE_KIND:
            _put(out, slot, column, rank, as_bits(np.float64(np.int64(a))))
        elif kind == _BOOL and holds == BOOL_KIND:
            _put(out, slot, column, rank, np.uint64(a != _U0))
        elif not (kind == _STRING and end == p):
            return SLOW
    return OK


@inline
def attribute(
    buf: Any, p: int, end: int, column: int, row: int, event: int, keys: Any, out: Any, seed: Any,
    key: Any,
) -> int:  # fmt: skip
    """Take one attribute of a resource, scope, event or span into its column of `out.values`."""
    key_start, key_end, kind, a, b, result = _key_value(buf, p, end, out.stack)
    if result != OK or event == NO_EVENT:
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
