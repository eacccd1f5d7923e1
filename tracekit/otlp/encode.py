"""Append-only OTLP encoding: envelopes rebuilt around spans whose bytes stay as they came."""

from __future__ import annotations

from itertools import groupby, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tracekit.otlp.gather import copy_other_fields
from tracekit.otlp.varints import varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from tracekit.otlp.scan import Scan

_Span: TypeAlias = "tuple[int, int, list[int], bytes]"
"""Number of its resource and of its scope, start and length, what is appended to it."""

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
    chosen = np.fromiter(rows, np.int64)
    tails = repeat(b"", chosen.size) if suffixes is None else suffixes
    spans = zip(
        scan.resource_of[chosen].tolist(),
        scan.scope_of[chosen].tolist(),
        scan.offsets[chosen].tolist(),
        tails,
        strict=True,
    )
    return b"".join(_resources(scan, spans))


def _resources(scan: Scan, spans: Iterable[_Span]) -> Iterator[bytes | memoryview]:
    data = memoryview(scan.data)
    for resource, in_resource in groupby(spans, key=itemgetter(0)):
        pieces: list[bytes | memoryview] = [_other_fields(scan, scan.resources[resource])]
        for scope, in_scope in groupby(in_resource, key=itemgetter(1)):
            messages = [
                piece
                for _, _, (start, length), suffix in in_scope
                for piece in length_delimited(CHILDREN_TAG, data[start : start + length], suffix)
            ]
            pieces += length_delimited(
                CHILDREN_TAG, _other_fields(scan, scan.scopes[scope]), *messages
            )
        yield from length_delimited(RESOURCE_SPANS_TAG, *pieces)


def _other_fields(scan: Scan, bounds: npt.NDArray[np.int64]) -> bytes:
    """Return a message without its repeated children."""
    start, end = int(bounds[0]), int(bounds[1])
    out = np.empty(end - start, np.uint8)
    size = copy_other_fields(scan.buffer, start, end, CHILDREN_TAG, out)
    return out[:size].tobytes()
