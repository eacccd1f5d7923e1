"""The journal and its disk: full by quota or by the system, failing, synced for many at once."""

from __future__ import annotations

import errno
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from journal_build import opened, put, recovered, settings

from samplers.journal import Journal
from samplers.syncing import Batch, Handle, Repeat, Syncer
from tracekit.errors import JournalError, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_full_quota_refuses_with_a_retryable_error(tmp_path: Path) -> None:
    """Where everything is pending, a request beyond the quota is refused and nothing is lost."""
    with opened(tmp_path, quota_bytes=3 * 4096, retry_seconds=9) as journal:
        written = [b"%02d" % number * 500 for number in range(11)]
        for request in written:
            put(journal, request)
        with pytest.raises(JournalFullError, match="quota") as caught:
            put(journal, b"x" * 1000)
        assert caught.value.retry_seconds == 9
        assert journal.state()["refused_quota"] == 1
        assert journal.watermark() == len(written), "a refused record holds nothing up"
        size = sum(path.stat().st_size for path in tmp_path.glob("*.segment"))
        assert size == journal.state()["segment_bytes"]
    assert recovered(tmp_path, quota_bytes=3 * 4096) == written


def test_quota_drops_kept_back_segments_first(tmp_path: Path) -> None:
    """What is held only for late verdicts gives way to new requests, oldest first, counted."""
    with opened(tmp_path, quota_bytes=3 * 4096, keep_back_seconds=1e6) as journal:
        needed = put(journal, b"x" * 4000)
        for _ in range(40):
            journal.release(put(journal, b"x" * 1000).segment, 1)
        assert journal.state()["dropped_early_quota"] > 5
        assert journal.state()["segment_bytes"] <= 3 * 4096 + 200
        assert "refused_quota" not in journal.state()
        assert needed.segment in journal.segments(), "what is pending never gives way"


@contextmanager
def small_files() -> Iterator[None]:
    """Let no file of this process grow beyond 2,000 bytes, what pytest prints to one included."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_half_a_record_on_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    """When the system takes only a part of a record it is refused, and the next one fits again."""
    with small_files(), opened(tmp_path) as journal:
        put(journal, b"a" * 1500)
        with pytest.raises(JournalFullError, match="too large"):
            put(journal, b"b" * 3000)
        put(journal, b"c" * 800)
        put(journal, b"d" * 800)
        assert journal.state()["refused_disk"] == 1
        assert journal.state()["pending_spans"] == 3
        size = sum(path.stat().st_size for path in tmp_path.glob("*.segment"))
        assert size == journal.state()["segment_bytes"]
    assert recovered(tmp_path) == [b"a" * 1500, b"c" * 800, b"d" * 800]


def test_full_disk_drops_kept_back_segments_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space on the device: kept-back segments go first, and the request is written after all."""
    with opened(tmp_path, keep_back_seconds=1e6) as journal:
        first = put(journal, b"x" * 3000)
        journal.release(first.segment, 1)
        put(journal, b"y" * 3000)
        real = os.pwritev

        def full(*arguments: object) -> int:
            if first.segment in journal.segments():
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "pwritev", full)
        put(journal, b"z")
        assert journal.state()["dropped_early_disk"] == 1


def test_failing_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the device is a clear error before anything is acknowledged."""
    with opened(tmp_path) as journal:

        def broken(*_: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "pwritev", broken)
        with pytest.raises(JournalError, match="Input/output"):
            put(journal, b"x")
        assert journal.state()["pending_spans"] == 0


def test_always_waits_for_the_disk_and_shares_the_wait(tmp_path: Path) -> None:
    """With fsync "always" four waiting appends cost one fsync."""
    written = threading.Semaphore(0)

    def pause(_: float) -> None:
        for _ in range(4):
            assert written.acquire(timeout=60)

    journal = Journal(tmp_path, settings(fsync="always"), pause=pause)
    wrote = journal.syncer.wrote

    def counted(handle: Handle) -> Batch:
        batch = wrote(handle)
        written.release()
        return batch

    journal.syncer.wrote = counted  # type: ignore[method-assign]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: put(journal, b"%d" % n), range(4)))
    assert journal.state()["fsyncs"] == 1
    journal.close()


def test_failed_fsync_is_no_acknowledgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With "always" a failed fsync fails the append; the next one begins a new segment."""
    journal = Journal(tmp_path, settings(fsync="always"), pause=lambda _: None)
    first = put(journal, b"x")

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(JournalError, match="cannot reach its disk"):
            put(journal, b"y")
    assert put(journal, b"z").segment > first.segment
    assert journal.state()["fsync_errors"] == 1
    assert journal.state()["pending_spans"] == 2
    journal.close()


def test_interval_thread_syncs_what_was_written(tmp_path: Path) -> None:
    """Every interval brings what was written to the disk, and an idle one does nothing."""
    turns = iter([False, False, False, True])
    done = threading.Event()

    def wait(seconds: float) -> bool:
        assert seconds == 0.1
        stop = next(turns)
        if stop:
            done.set()
        return stop

    journal = Journal(tmp_path, settings(fsync="interval"))
    put(journal, b"x")
    journal.start(wait)
    assert done.wait(60)
    assert journal.state()["fsyncs"] == 1
    journal.close()


def test_repeat_stops_when_closed() -> None:
    """The thread ends at once when it is closed, however long its interval."""
    repeat = Repeat(3600, lambda: None).start()
    repeat.close()


def test_sync_of_nothing_is_nothing() -> None:
    """Nothing written, nothing synced."""
    syncer = Syncer(0, lambda _: None)
    syncer.sync()
    assert syncer.fsyncs == 0
