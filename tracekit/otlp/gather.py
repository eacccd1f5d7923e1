"""Compiled helpers that copy the ranges the kernel found: into Arrow buffers, into envelopes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tracekit.otlp.wire import KERNEL, copy_bytes, read_tag, skip_value

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
            start = np.int64(offsets[i])
            source = np.int64(packed[i] >> _U32)
            copy_bytes(buf, source, out, start, np.int64(offsets[i + 1]) - start)


@njit(**KERNEL)
def copy_symbols(buf: Any, starts: Any, offsets: Any, out: Any) -> None:
    """Copy the bytes of the distinct symbols to where `offsets` puts them."""
    for i in range(starts.shape[0]):
        start = np.int64(offsets[i])
        copy_bytes(buf, starts[i], out, start, np.int64(offsets[i + 1]) - start)


@njit(**KERNEL)
def hex_texts(buf: Any, starts: Any, size: int, pairs: Any, offsets: Any, out: Any) -> None:
    """Write ids of `size` bytes as lower-case hex; a start of -1 gives an empty text.

    `pairs` holds the two digits of every byte as a 16-bit number; `out` takes such numbers.
    """
    written = np.int64(0)
    offsets[0] = 0
    for i in range(starts.shape[0]):
        start = starts[i]
        if start >= 0:
            for k in range(size):
                out[np.uintp(written + k)] = pairs[buf[np.uintp(start + k)]]
            written += size
        offsets[i + 1] = 2 * written


@njit(**KERNEL)
def copy_other_fields(buf: Any, p: int, end: int, tag: int, out: Any) -> int:
    """Copy the fields of a (scanned, hence valid) message except those of one tag; return bytes."""
    size = np.int64(0)
    while p < end:
        start = p
        field, p = read_tag(buf, p, end)
        p = skip_value(buf, p, end, field & 7)
        if field != tag:
            copy_bytes(buf, start, out, size, p - start)
            size += p - start
    return size
