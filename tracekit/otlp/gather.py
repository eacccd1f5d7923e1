"""Compiled helpers that copy the ranges the kernel found: into Arrow buffers, into envelopes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tracekit.otlp.wire import KERNEL, read_tag, skip_value

_LOW = np.uint64(0xFFFFFFFF)
_U32 = np.uint64(32)


@njit(**KERNEL)
def text_offsets(packed: Any, valid: Any, offsets: Any) -> None:
    """Fill n + 1 offsets from packed (start << 32 | length) ranges; invalid rows are empty."""
    total = np.int64(0)
    offsets[0] = 0
    for i in range(packed.shape[0]):
        if valid[i]:
            total += np.int64(packed[i] & _LOW)
        offsets[i + 1] = total


@njit(**KERNEL)
def copy_texts(buf: Any, packed: Any, valid: Any, offsets: Any, out: Any) -> None:
    """Copy the bytes of packed ranges to where `offsets` puts them."""
    for i in range(packed.shape[0]):
        if valid[i]:
            source = np.int64(packed[i] >> _U32)
            target = offsets[i]
            for k in range(offsets[i + 1] - target):
                out[target + k] = buf[source + k]


@njit(**KERNEL)
def copy_symbols(buf: Any, starts: Any, offsets: Any, out: Any) -> None:
    """Copy the bytes of the distinct symbols to where `offsets` puts them."""
    for i in range(starts.shape[0]):
        for k in range(offsets[i + 1] - offsets[i]):
            out[offsets[i] + k] = buf[starts[i] + k]


@njit(**KERNEL)
def hex_texts(buf: Any, starts: Any, size: int, digits: Any, offsets: Any, out: Any) -> None:
    """Write ids of `size` bytes as lower-case hex; a start of -1 gives an empty text."""
    total = np.int64(0)
    offsets[0] = 0
    for i in range(starts.shape[0]):
        start = starts[i]
        if start >= 0:
            for k in range(size):
                byte = buf[start + k]
                out[total] = digits[byte >> 4]
                out[total + 1] = digits[byte & 15]
                total += 2
        offsets[i + 1] = total


@njit(**KERNEL)
def copy_other_fields(buf: Any, p: int, end: int, tag: int, out: Any) -> int:
    """Copy the fields of a (scanned, hence valid) message except those of one tag; return bytes."""
    size = np.int64(0)
    while p < end:
        start = p
        field, p = read_tag(buf, p, end)
        p = skip_value(buf, p, end, field & 7)
        if field != tag:
            for k in range(p - start):
                out[size + k] = buf[start + k]
            size += p - start
    return size
