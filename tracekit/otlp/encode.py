"""Append-only OTLP encoding: envelopes rebuilt around spans whose bytes stay as they came."""

from __future__ import annotations

from itertools import groupby, repeat
from typing import TYPE_CHECKING

import numpy as np

from tracekit.otlp.gather import copy_other_fields
from tracekit.otlp.varints import varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from tracekit.otlp.scan import Scan

RESOURCE_SPANS_TAG = 0x0A
"""Tag of ``ExportTraceServiceRequest.resource_spans``."""
CHILDREN_TAG = 0x12
"""Tag of ``ResourceSpans.scope_spans`` and of ``ScopeSpans.spans``."""


def length_delimited(tag: int, *payload: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """Yield a length-delimited field: its one-byte tag, its length, its payload's pieces."""
    yield bytes([tag]) + varint(sum(len(piece) for piece in payload))
    yield from payload


def select(scan: Scan, rows: Iterable[int], suffixes: Iterable[bytes] | None = None) -> bytes:
    """Return a request that holds only some spans of a scanned one.

    Span messages and every other field of their resources and scopes are byte-identical to the
    input. Spans keep the given order within a scope; rows of one scope should be adjacent.

    Args:
        scan: A scanned request.
        rows: Row numbers, each below `scan.spans`.
        suffixes: Fields to append to each of the spans, as many as there are rows.
    """
    rows = list(rows)
    pairs = zip(rows, repeat(b"", len(rows)) if suffixes is None else suffixes, strict=True)
    return b"".join(_resources(scan, pairs))


def _resources(scan: Scan, rows: Iterable[tuple[int, bytes]]) -> Iterator[bytes | memoryview]:
    for resource, in_resource in groupby(rows, key=lambda pair: int(scan.resource_of[pair[0]])):
        pieces: list[bytes | memoryview] = [_other_fields(scan, scan.resources[resource])]
        for scope, in_scope in groupby(in_resource, key=lambda pair: int(scan.scope_of[pair[0]])):
            spans = [
                piece
                for row, suffix in in_scope
                for piece in length_delimited(CHILDREN_TAG, scan.span_bytes(row), suffix)
            ]
            pieces += length_delimited(
                CHILDREN_TAG, _other_fields(scan, scan.scopes[scope]), *spans
            )
        yield from length_delimited(RESOURCE_SPANS_TAG, *pieces)


def _other_fields(scan: Scan, bounds: npt.NDArray[np.int64]) -> bytes:
    """Return a message without its repeated children."""
    start, end = int(bounds[0]), int(bounds[1])
    out = np.empty(end - start, np.uint8)
    size = copy_other_fields(scan.buffer, start, end, CHILDREN_TAG, out)
    return out[:size].tobytes()
