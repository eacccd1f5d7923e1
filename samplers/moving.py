"""Finding spans in segments, and moving them out so that a long session does not pin old ones.

Where the spans of a session are is not indexed: the decision log names its segments and its
traces, and `find_spans` scans those segments again, about a second for a gigabyte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from samplers.recovery import Origin
from tracekit.otlp.encode import select
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from samplers.journal import Journal
    from samplers.recovery import Record


class Copy(NamedTuple):
    """Spans to be moved, those of one record.

    Attributes:
        record: The record they are in.
        origin: Where they are.
        request: A request of just these spans, in the order of the origin.
    """

    record: Record
    origin: Origin
    request: bytes


class Match(NamedTuple):
    """Spans of a record.

    Attributes:
        record: The record.
        rows: int64 (n,): their rows in a scan of its request.
        offsets: int64 (n,): where each begins in the segment.
    """

    record: Record
    rows: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]


def copies(journal: Journal, segment: int, offsets: Collection[int]) -> Iterator[Copy]:
    """Yield spans of a segment as requests of their own, byte for byte, record by record.

    Their resources and scopes go with them. Written by `Journal.append_moved`, they say which spans
    they supersede: a crash before the caller has pointed its rows at the new places and released
    the old ones loses nothing, and doubles nothing.

    Args:
        journal: The journal.
        segment: The segment they are in.
        offsets: Where each span begins.

    Raises:
        ValueError: No span begins at one of the offsets.
    """
    wanted = np.unique(np.fromiter(offsets, np.int64, len(offsets)))
    copied = 0
    for record in journal.records(segment):
        low, high = np.searchsorted(wanted, [record.offset, record.offset + len(record.request)])
        if low < high:
            yield _copy(record, wanted[low:high])
            copied += int(high - low)
    if copied < len(wanted):
        raise ValueError(f"not every offset is in a record of segment {segment}")


def _copy(record: Record, wanted: npt.NDArray[np.int64]) -> Copy:
    scanned = scan(record.request)
    starts = scanned.offsets[:, 0] + record.offset
    rows = np.flatnonzero(np.isin(starts, wanted))
    if len(rows) < len(wanted):
        raise ValueError(f"not every offset is the beginning of a span in segment {record.segment}")
    origin = Origin(record.segment, record.turn, starts[rows].astype(np.uint32))
    return Copy(record, origin, select(scanned, rows.tolist()))


def find_spans(journal: Journal, segments: Iterable[int], traces: Collection[bytes]) -> list[Match]:
    """Find the spans of some traces, each once even where it was moved.

    Args:
        journal: The journal.
        segments: Segments to look in.
        traces: The 16 bytes of each trace id.

    Raises:
        JournalError: One of the segments has aged out.
    """
    known = frozenset(traces)
    found: list[Match] = []
    for segment in sorted(set(segments)):
        for record in journal.records(segment):
            scanned = scan(record.request)
            rows = _rows(scanned.trace_ids, known)
            if rows.size:
                found.append(Match(record, rows, scanned.offsets[rows, 0] + record.offset))
    return _current(found)


def _rows(ids: npt.NDArray[np.uint8], known: frozenset[bytes]) -> npt.NDArray[np.int64]:
    """Return the rows whose trace is known: by half of the id at first, by all of it then."""
    halves = np.frombuffer(b"".join(known), "<u8")[::2]
    likely = np.flatnonzero(np.isin(ids.view("<u8")[:, 0], halves))
    sure = [row for row in likely.tolist() if ids[row].tobytes() in known]
    return np.array(sure, np.int64)


def _current(found: list[Match]) -> list[Match]:
    """Leave out spans that a later record supersedes."""
    moved = {
        (origin.segment, int(offset))
        for match in found
        if (origin := match.record.origin) is not None
        for offset in origin.offsets
    }
    if not moved:
        return found
    current: list[Match] = []
    for record, rows, offsets in found:
        stay = np.array([(record.segment, at) not in moved for at in offsets.tolist()])
        if stay.any():
            current.append(Match(record, rows[stay], offsets[stay]))
    return current
