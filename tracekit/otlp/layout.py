"""What the scan kernel fills, and the codes it answers with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tracekit.otlp.wire import inline, same_bytes, text_hash

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

SYMBOL_KIND, TEXT_KIND, INT_KIND, DOUBLE_KIND, BOOL_KIND, HASH_KIND, CONTENT_KIND = range(7)
"""How a column stores a value: intern number, range, integer, float, bool, fingerprint, range."""


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
def intern(buf: Any, p: int, end: int, out: Any, seed: Any) -> int:
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
