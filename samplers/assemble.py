"""The requests of whole sessions, put together again from the journal.

    data = assemble([session.rows for session in due], read)
    scanned = scan(data)            # row i is row i of all sessions, one behind the other

Spans, resources and scopes are byte-identical to what was received. Neighbours of one scope share
it, so spans that came together stay together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from samplers import assemble_kernel as kernel
from samplers.pending import ROW

if TYPE_CHECKING:
    from collections.abc import Sequence

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class Reader(Protocol):
    """Reads the journal. It is asked once per segment, for one long range: map, do not copy."""

    def __call__(self, segment: int, offset: int, length: int) -> bytes | memoryview:
        """Return bytes of a segment file."""


class _Messages:
    """The distinct resources (or scopes) of some rows, without their scopes (or spans).

    Attributes:
        of_row: Which of them each row belongs to.
        sizes: Bytes of each.
        places: Where each begins in `blob`, and where the last ends.
        blob: All of them.
    """

    def __init__(self, rows: npt.NDArray[Any], field: str, segments: dict[int, Bytes]) -> None:
        keys = rows["segment"].astype(np.uint64) << np.uint64(32) | rows[field]
        _, first, of_row = np.unique(keys, return_index=True, return_inverse=True)
        self.of_row: Ints = of_row.astype(np.int64)
        starts = rows[field][first].astype(np.int64)
        lengths = rows[f"{field}_length"][first].astype(np.int64)
        chosen = _by_segment(rows["segment"][first])
        self.sizes = np.zeros(first.size, np.int64)
        for segment, buffer in segments.items():
            kernel.sizes_without_children(buffer, starts, lengths, chosen[segment], self.sizes)
        self.places = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.sizes)])
        self.blob = np.empty(int(self.places[-1]) + 1, np.uint8)
        for segment, buffer in segments.items():
            kernel.copy_without_children(
                buffer, starts, lengths, chosen[segment], self.places, self.blob
            )


def assemble(sessions: Sequence[npt.NDArray[Any]], read: Reader) -> memoryview:
    """Return one request with the spans of some sessions, in the order of their rows.

    Args:
        sessions: Rows of each session, `pending.ROW`.
        read: Reads the segments the rows point into.
    """
    # As bytes: numpy looks at every field of every part to find a common type.
    parts = [np.empty(0, np.uint8), *(session.view(np.uint8) for session in sessions)]
    rows = np.concatenate(parts).view(ROW)
    if not rows.size:
        return memoryview(b"")
    segments = _map_segments(rows, read)
    resources, scopes = (
        _Messages(rows, "resource", segments),
        _Messages(rows, "scope", segments),
    )
    lengths, offsets = rows["length"].astype(np.int64), rows["offset"].astype(np.int64)
    groups, places = np.empty((rows.size, 2), np.int64), np.empty(rows.size, np.int64)
    total = kernel.measure(
        lengths, resources.of_row, scopes.of_row, resources.sizes, scopes.sizes, groups
    )
    out = np.empty(total, np.uint8)
    kernel.write_envelopes(
        lengths, resources.of_row, scopes.of_row, resources.places, resources.blob,
        scopes.places, scopes.blob, groups, places, out,
    )  # fmt: skip
    for segment, chosen in _by_segment(rows["segment"]).items():
        kernel.copy_spans(segments[segment], offsets, lengths, chosen, places, out)
    return out.data.toreadonly()


def _by_segment(segments: npt.NDArray[np.int32]) -> dict[int, Ints]:
    """Return the positions of each segment, in order."""
    order = np.argsort(segments, kind="stable")
    numbers, starts = np.unique(segments[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))


def _map_segments(rows: npt.NDArray[Any], read: Reader) -> dict[int, Bytes]:
    """Return the part of each segment that the rows point into, from its beginning."""
    ends = rows["resource"].astype(np.int64) + rows["resource_length"]
    return {
        segment: np.frombuffer(
            memoryview(read(segment, 0, int(ends[chosen].max()))).toreadonly(), np.uint8
        )
        for segment, chosen in _by_segment(rows["segment"]).items()
    }
