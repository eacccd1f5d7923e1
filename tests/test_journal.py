"""The journal: what is acknowledged is written, is read back, and stays as long as it is needed."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from journal_build import Clock, opened, put, recovered, settings

from samplers.journal import Journal
from tracekit.errors import InputError, JournalError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_appended_bytes_are_read_back(tmp_path: Path) -> None:
    """A location leads to exactly the bytes that were appended, read or mapped."""
    with opened(tmp_path) as journal:
        places = [(put(journal, request), request) for request in (b"one", b"", b"three" * 99)]
        for at, request in places:
            assert journal.read(at.segment, at.offset, len(request)) == request
            assert bytes(journal.view(at.segment)[at.offset :][: len(request)]) == request


def test_reading_beyond_what_is_written_is_refused(tmp_path: Path) -> None:
    """A range that is not wholly written is a mistake of the caller, never silently short."""
    with opened(tmp_path) as journal:
        at = put(journal, b"abc")
        with pytest.raises(ValueError, match="ends at"):
            journal.read(at.segment, at.offset, 4)


def test_restart_yields_records_in_order_with_all_that_was_stored(tmp_path: Path) -> None:
    """Requests, times, counts and meta come back in the order of writing, over many segments."""
    with opened(tmp_path) as journal:
        for number in range(50):
            at = journal.append(b"%d" % number * 100, 7 + number, spans=number, meta=b"tenant")
            assert at.sequence == number + 1
        assert len(journal.segments()) > 2
    again = Journal(tmp_path, settings(), clock=Clock())
    records = list(again.recover())
    assert [bytes(record.request) for record in records] == [b"%d" % n * 100 for n in range(50)]
    assert [record.received_ns for record in records] == [7 + n for n in range(50)]
    assert [record.spans for record in records] == list(range(50))
    assert {record.meta for record in records} == {b"tenant"}
    assert [record.sequence for record in records] == list(range(1, 51))
    assert again.state()["pending_spans"] == sum(range(50))
    assert again.state()["recovered_records"] == 50
    assert put(again, b"next").sequence == 51
    again.close()


def test_appending_before_recovery_is_over_is_refused(tmp_path: Path) -> None:
    """New records never mix with old ones that nobody has seen yet."""
    with opened(tmp_path) as journal:
        put(journal, b"old")
    again = Journal(tmp_path, settings())
    with pytest.raises(RuntimeError, match="recover"):
        again.append(b"new", 0, spans=1)
    assert [bytes(record.request) for record in again.recover()] == [b"old"]
    again.close()


def test_threads_append_at_once_and_nothing_is_mixed_up(tmp_path: Path) -> None:
    """Records of several threads on several lanes are all there, whole, in order of sequence."""
    barrier = threading.Barrier(4)

    def write(thread: int) -> list[tuple[int, bytes]]:
        barrier.wait()
        requests = [bytes([thread]) * (50 + number) for number in range(100)]
        return [(put(journal, request).sequence, request) for request in requests]

    with opened(tmp_path, lanes=3) as journal, ThreadPoolExecutor(4) as pool:
        written = [pair for pairs in pool.map(write, range(4)) for pair in pairs]
        assert journal.watermark() == 400
    assert recovered(tmp_path, lanes=3) == [request for _, request in sorted(written)]


def test_watermark_waits_for_what_is_not_ingested(tmp_path: Path) -> None:
    """A record that is written but not in memory yet holds the watermark below itself."""
    with opened(tmp_path) as journal:
        first, second = (journal.append(b"x", 0, spans=1) for _ in range(2))
        journal.ingested(second)
        assert journal.watermark() == 0
        journal.ingested(first)
        assert journal.watermark() == 2


def test_reading_while_writing(tmp_path: Path) -> None:
    """Readers see every acknowledged record whole while a writer goes on over many segments."""
    with opened(tmp_path, open_segments=2) as journal, ThreadPoolExecutor(2) as pool:
        places = [put(journal, b"%03d" % n * 50) for n in range(100)]
        later = pool.submit(lambda: [put(journal, b"%03d" % n * 50) for n in range(100, 200)])
        for number, at in enumerate(places + later.result()):
            expected = b"%03d" % number * 50
            assert bytes(journal.view(at.segment)[at.offset :][:150]) == expected
        numbers = [
            bytes(record.request[:3])
            for segment in journal.segments()
            for record in journal.records(segment)
        ]
        assert numbers == [b"%03d" % n for n in range(200)]


def test_segments_age_out_when_nothing_is_pending_and_keep_back_has_passed(tmp_path: Path) -> None:
    """A segment goes neither while spans in it wait nor before its keep-back time is over."""
    clock = Clock()
    with opened(tmp_path, clock, keep_back_seconds=60, segment_seconds=10) as journal:
        at = put(journal, b"x", spans=2, received_ns=clock())
        clock.forward(1000)
        assert journal.tend() == []
        put(journal, b"next segment", received_ns=clock())
        journal.release(at.segment, 1)
        assert journal.tend() == []
        journal.release(at.segment, 1)
        clock.forward(59)
        assert journal.tend() == []
        view = journal.view(at.segment)
        clock.forward(1)
        assert journal.tend() == [at.segment]
        assert bytes(view[at.offset : at.offset + 1]) == b"x", "who looks at it may finish"
        with pytest.raises(JournalError, match="aged out"):
            journal.read(at.segment, at.offset, 1)
        assert journal.state()["aged_out"] == 1


def test_pulled_back_spans_stay(tmp_path: Path) -> None:
    """Spans of a dropped session can be held again until their segment ages out, not after."""
    clock = Clock()
    with opened(tmp_path, clock, keep_back_seconds=60, segment_seconds=10) as journal:
        at = put(journal, b"x", spans=3, received_ns=clock())
        journal.release(at.segment, 3)
        clock.forward(30)
        assert journal.tend() == []
        put(journal, b"y", received_ns=clock())
        journal.hold(at.segment, 3)
        clock.forward(1000)
        assert journal.tend() == []
        journal.release(at.segment, 3)
        clock.forward(60)
        assert journal.tend() == [at.segment]
        with pytest.raises(JournalError, match="aged out"):
            journal.hold(at.segment, 3)
        assert journal.state()["pulled_back_spans"] == 3


def test_releasing_more_than_is_held_is_an_error(tmp_path: Path) -> None:
    """A wrong count fails at once: it would let a segment go that is still needed."""
    with opened(tmp_path) as journal:
        at = put(journal, b"x", spans=2)
        with pytest.raises(ValueError, match="3 released of 2"):
            journal.release(at.segment, 3)


def test_numbers_are_never_used_twice(tmp_path: Path) -> None:
    """Segment and sequence numbers go on after a restart even when every old record is gone."""
    clock = Clock()
    with opened(tmp_path, clock, keep_back_seconds=0, segment_seconds=0) as journal:
        last = [put(journal, b"x", spans=0, received_ns=clock()) for _ in range(5)][-1]
        journal.tend()
        put(journal, b"y", spans=0)
        clock.forward(1)
        journal.tend()
    with opened(tmp_path, clock) as journal:
        at = put(journal, b"z")
        assert at.segment > last.segment
        assert at.sequence > last.sequence


def test_numbers_go_on_when_the_last_segment_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment begun on a failing disk still tells where the sequence had been."""
    clock, real = Clock(), os.pwritev

    def broken(fd: int, pieces: list[bytes], offset: int) -> int:
        if offset > 0:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, pieces, offset)

    with opened(tmp_path, clock, keep_back_seconds=0, segment_seconds=1) as journal:
        last = put(journal, b"x", spans=0)
        clock.forward(2)
        journal.tend()
        monkeypatch.setattr(os, "pwritev", broken)
        with pytest.raises(JournalError, match="Input/output"):
            put(journal, b"y")
        assert journal.tend() == [last.segment]
    monkeypatch.undo()
    with opened(tmp_path, clock) as journal:
        assert put(journal, b"z").sequence > last.sequence


def test_folder_belongs_to_one_collector(tmp_path: Path) -> None:
    """A second journal in the same folder is refused until the first lets go."""
    with opened(tmp_path), pytest.raises(JournalError, match="another collector"):
        Journal(tmp_path, settings())
    with opened(tmp_path):
        pass


def test_quota_too_small_for_the_segments_is_refused() -> None:
    """Settings that could never work are refused with what to change."""
    with pytest.raises(UsageError, match="raise it, or lower segment_bytes"):
        settings(quota_bytes=4096)


def test_meta_has_its_limit(tmp_path: Path) -> None:
    """What is stored beside a request is bounded."""
    with opened(tmp_path) as journal, pytest.raises(InputError, match="about it"):
        journal.append(b"", 0, spans=0, meta=b"x" * 70_000)
