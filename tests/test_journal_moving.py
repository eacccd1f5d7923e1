"""Finding spans again, and moving those of long sessions out of old segments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from journal_build import Clock, decision, opened, put, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_build import request, span

from samplers.decisions import DecisionLog
from samplers.journal import Journal, Location
from samplers.moving import Copy, copies, find_spans
from tracekit.errors import JournalError
from tracekit.otlp.encode import select
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from pathlib import Path


def spans_of(data: bytes | memoryview, trace: int) -> list[bytes]:
    """Return the spans of a trace as they are in a request."""
    scanned = scan(data)
    wanted = trace.to_bytes(16, "big")
    return [
        bytes(scanned.span_bytes(row))
        for row in range(scanned.spans)
        if scanned.trace_ids[row].tobytes() == wanted
    ]


def mixed(*traces: int) -> bytes:
    """Return a request with a span of each trace, unknown fields in all of them."""
    data = request(
        [span(f"s{n}", {"n": n}, trace=trace) for n, trace in enumerate(traces)],
        {"service.name": "agent"},
        "library",
    )
    message = ExportTraceServiceRequest.FromString(data)
    for one in message.resource_spans[0].scope_spans[0].spans:
        # Field 1000, which nobody knows: it must survive every copy.
        one.MergeFromString(b"\xc2\x3e\x03new")
    return message.SerializeToString()


def moved_out(journal: Journal, segment: int, starts: list[int]) -> tuple[Copy, Location]:
    """Write spans of one record again."""
    (copy,) = copies(journal, segment, starts)
    return copy, journal.append_moved(copy.request, copy.origin, copy.record)


def test_spans_of_a_trace_are_found_in_the_segments_they_are_in(tmp_path: Path) -> None:
    """A scan of the named segments finds each span of a trace, and where it begins."""
    with opened(tmp_path, segment_bytes=600) as journal:
        places = [put(journal, mixed(1, 2, 1), 3), put(journal, mixed(2), 1)]
        places += [put(journal, mixed(3, 1), 2)]
        segments = {at.segment for at in places}
        found = find_spans(journal, segments, [(1).to_bytes(16, "big")])
        assert [match.rows.tolist() for match in found] == [[0, 2], [1]]
        for match in found:
            for row, offset in zip(match.rows, match.offsets.tolist(), strict=True):
                expected = bytes(scan(match.record.request).span_bytes(row))
                assert journal.read(match.record.segment, offset, len(expected)) == expected
        assert find_spans(journal, segments, [(9).to_bytes(16, "big")]) == []


def test_looking_in_a_segment_that_aged_out_is_a_clear_error(tmp_path: Path) -> None:
    """A session that is not wholly there any more is not pulled back in part, unnoticed."""
    with opened(tmp_path) as journal, pytest.raises(JournalError, match="aged out"):
        find_spans(journal, [77], [b"x" * 16])


def test_moved_spans_keep_every_byte_and_free_their_segment(tmp_path: Path) -> None:
    """A long session leaves its old segment: its spans are the same at the end of the journal."""
    clock = Clock()
    with opened(tmp_path, clock, segment_seconds=10, keep_back_seconds=0) as journal:
        data = mixed(1, 2, 1, 3)
        old = put(journal, data, spans=4, received_ns=clock())
        journal.release(old.segment, 2)
        clock.forward(20)
        journal.tend()
        assert [one[:2] for one in journal.pinned()] == [(old.segment, 2)]
        starts = scan(data).offsets[[0, 2], 0] + old.offset
        copy, at = moved_out(journal, old.segment, starts.tolist())
        journal.release(old.segment, 2, 0)
        assert journal.tend() == [old.segment]
        assert copy.origin.offsets.tolist() == starts.tolist()
        (record,) = journal.records(at.segment)
        assert spans_of(record.request, 1) == spans_of(data, 1)
        offsets = (scan(copy.request).offsets[:, 0] + at.offset).tolist()
        for offset, expected in zip(offsets, spans_of(data, 1), strict=True):
            assert journal.read(at.segment, offset, len(expected)) == expected
        assert record.received_ns == 1_000 * 1_000_000_000
        assert journal.state()["pending_spans"] == journal.state()["moved_spans"] == 2
        (resource,) = ExportTraceServiceRequest.FromString(bytes(record.request)).resource_spans
        assert resource.resource.attributes[0].value.string_value == "agent"
        assert resource.scope_spans[0].scope.name == "library"


def test_moved_spans_are_known_as_such_after_a_restart(tmp_path: Path) -> None:
    """The copy comes back behind the original and says what it supersedes; a search finds one."""
    data = mixed(1, 2, 1)
    with opened(tmp_path, segment_bytes=600) as journal:
        old = put(journal, data, spans=3)
        put(journal, mixed(4, 4, 4), spans=3)
        starts = (scan(data).offsets[[0, 2], 0] + old.offset).tolist()
        moved, at = moved_out(journal, old.segment, starts)
    again = Journal(tmp_path, settings(segment_bytes=600))
    first, copy, other = again.recover()
    assert copy.origin is not None
    assert (copy.origin.segment, copy.origin.offsets.tolist()) == (old.segment, starts)
    assert first.sequence == old.sequence == copy.origin.sequence == copy.turn < other.sequence
    found = find_spans(again, again.segments(), [(1).to_bytes(16, "big")])
    offsets = scan(moved.request).offsets[:, 0] + at.offset
    assert [match.offsets.tolist() for match in found] == [offsets.tolist()]
    both = find_spans(again, again.segments(), [n.to_bytes(16, "big") for n in (1, 2)])
    assert sum(match.rows.size for match in both) == 3
    again.close()


def test_moving_may_use_the_reserve_beyond_the_quota(tmp_path: Path) -> None:
    """A journal that is full of what one session pins can still be cleared."""
    with opened(tmp_path, segment_bytes=600, quota_bytes=1800, keep_back_seconds=1e6) as journal:
        data = mixed(1, 2)
        first = put(journal, data, spans=2)
        put(journal, b"x" * 600, spans=1)
        put(journal, b"y" * (1800 - journal.state()["segment_bytes"] - 80), spans=1)
        starts = (scan(data).offsets[[0], 0] + first.offset).tolist()
        moved_out(journal, first.segment, starts)
        journal.release(first.segment, 2)
        assert journal.state()["segment_bytes"] > 1800
        put(journal, b"z", spans=1)
        assert journal.state()["dropped_early_quota"] == 1


@pytest.mark.parametrize("offset", [3, 200, 10**6])
def test_moving_what_is_no_span_is_an_error(tmp_path: Path, offset: int) -> None:
    """An offset at which no span begins is a mistake of the caller."""
    with opened(tmp_path) as journal:
        at = put(journal, mixed(1, 2, 3))
        with pytest.raises(ValueError, match="not every offset"):
            list(copies(journal, at.segment, [offset]))


def test_dropped_session_is_pulled_back_after_a_restart(tmp_path: Path) -> None:
    """What the log and the segments hold is enough to keep a dropped session after all."""
    clock, trace = Clock(), (1).to_bytes(16, "big")
    data = mixed(1, 2, 1)
    with opened(tmp_path, clock, keep_back_seconds=60, segment_seconds=10) as journal:
        log = DecisionLog(tmp_path, journal.syncer, journal.settings, clock=clock)
        at = put(journal, data, spans=3, received_ns=clock())
        log.decide([decision(5, keep=False, traces=(trace,), segments=(at.segment,))])
        journal.release(at.segment, 3)
    clock.forward(59)
    with opened(tmp_path, clock, keep_back_seconds=60) as journal:
        log = DecisionLog(tmp_path, journal.syncer, journal.settings, clock=clock)
        dropped = log.get(5)
        assert dropped is not None
        journal.release(at.segment, 3, at_ns=dropped.decided_ns)
        put(journal, mixed(3))
        assert journal.tend() == []
        (match,) = find_spans(journal, dropped.segments, dropped.traces)
        journal.hold(at.segment, len(match.rows))
        log.overturn(replace(dropped, keep=True, targets=("out",), trigger="verdict"))
        clock.forward(1000)
        assert journal.tend() == []
        kept = select(scan(match.record.request), match.rows.tolist())
        assert spans_of(kept, 1) == spans_of(data, 1)
        log.exported("out", {5: journal.watermark()})
        journal.release(at.segment, len(match.rows))
        clock.forward(60)
        assert journal.tend() == [at.segment]
