"""The decision log: decided once, exported at least once, remembered as long as it matters."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_build import Clock, decision, settings

from samplers import frames
from samplers.decisions import DecisionLog
from samplers.syncing import Syncer
from tracekit.errors import JournalError, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from samplers.decision import DecisionRecord


@contextmanager
def log_in(folder: Path, clock: Clock | None = None, **changes: Any) -> Iterator[DecisionLog]:
    """Open a log as a process would that starts in a folder."""
    folder.mkdir(exist_ok=True)
    syncer = Syncer(0, lambda _: None)
    shape = settings(**({"log_bytes": 600, "remember_seconds": 100} | changes))
    yield DecisionLog(folder, syncer, shape, clock=clock or Clock())


def sessions(decisions: list[DecisionRecord]) -> list[int]:
    return [one.session for one in decisions]


def test_decision_is_found_after_a_restart(tmp_path: Path) -> None:
    """Every field of a decision comes back, for kept and dropped sessions."""
    made = [
        decision(2**128 - 1, reasons=("errors",), segments=(3, 4), spans=77, inclusion=0.05),
        decision(4, th_out=0xC0000000000000, erase=True, degrade=2),
        decision(2, keep=False, probability=None, reasons=(), traces=(b"a" * 16, b"b" * 16)),
    ]
    with log_in(tmp_path) as log:
        assert log.decide(made) == made
    with log_in(tmp_path) as log:
        assert [log.get(one.session) for one in made] == made
        assert log.get(3) is None
        assert log.state()["recovered"] == 3


def test_session_is_decided_once(tmp_path: Path) -> None:
    """The earlier decision stands: within a batch, in a later one, and after a restart."""
    first, other = decision(1, keep=False), decision(1, keep=True)
    with log_in(tmp_path) as log:
        assert log.decide([first, other]) == [first, first]
        assert log.decide([other, decision(2)]) == [first, decision(2)]
        assert log.state()["repeated"] == 2
    with log_in(tmp_path) as log:
        assert log.decide([other]) == [first]
        assert log.pending("out") == [decision(2)]


def test_late_verdict_overturns_and_stays(tmp_path: Path) -> None:
    """A dropped session that was pulled back is kept from then on, and is to be exported."""
    with log_in(tmp_path) as log:
        log.decide([decision(1, keep=False)])
        log.overturn(decision(1, trigger="verdict", threshold=None, probability=None))
        assert sessions(log.pending("out")) == [1]
    with log_in(tmp_path) as log:
        standing = log.get(1)
        assert standing is not None
        assert standing.keep
        assert sessions(log.pending("out")) == [1]


def test_kept_sessions_are_pending_until_each_target_has_them(tmp_path: Path) -> None:
    """Export is at least once per target: what was not put on record is pending after a restart."""
    with log_in(tmp_path) as log:
        log.decide([decision(n, targets=("a", "b")) for n in (1, 2)] + [decision(3, keep=False)])
        log.exported("a", {1: 10})
    with log_in(tmp_path) as log:
        assert sessions(log.pending("a")) == [2]
        assert sessions(log.pending("b")) == [1, 2]
        assert log.targets() == ["a", "b"]
        assert log.state()["pending"] == 3
        log.exported("a", {2: 10})
        log.exported("b", {1: 10, 2: 10})
    with log_in(tmp_path) as log:
        assert log.targets() == []


def test_spans_after_the_watermark_of_an_export_are_not_exported(tmp_path: Path) -> None:
    """A late span of an exported session is told from those the target has, after a restart too."""
    with log_in(tmp_path) as log:
        log.decide([decision(1)])
        assert not log.is_exported(1, "out", 0)
        log.exported("out", {1: 10})
        log.exported("out", {1: 7})
    with log_in(tmp_path) as log:
        assert log.is_exported(1, "out", 10)
        assert not log.is_exported(1, "out", 11)
        assert not log.is_exported(1, "other", 10)


def test_target_that_is_gone_is_abandoned(tmp_path: Path) -> None:
    """A target that is no longer configured holds nothing back, also after compaction."""
    clock = Clock()
    with log_in(tmp_path, clock) as log:
        log.decide([decision(1, targets=("gone", "out"), segments=(9,))])
        assert log.abandon("gone") == 1
        assert log.abandon("gone") == 0
        log.roll()
        log.decide([decision(n) for n in range(2, 9)])
        clock.forward(200)
        log.compact([9])
    with log_in(tmp_path) as log:
        assert log.targets() == ["out"]
        assert log.state()["pending"] == 8


def fill(log: DecisionLog, keep: bool) -> None:
    for n in range(30):
        log.decide([decision(n, keep=keep, segments=(n // 10,))])
        log.exported("out", {n: 5} if keep else {})


@pytest.mark.parametrize("keep", [True, False])
def test_decisions_go_with_their_segments(tmp_path: Path, keep: bool) -> None:
    """A decision is kept while a segment with its spans is there and while it is young."""
    clock = Clock()
    with log_in(tmp_path, clock) as log:
        fill(log, keep)
        files = log.state()["files"]
        assert files > 5
        assert log.compact([]) == 0, "all are young"
        clock.forward(101)
        log.compact([1, 2])
        assert all(log.get(n) is not None for n in range(10, 30))
        assert log.state()["files"] < files
        clock.forward(101)
        log.compact([])
        assert log.state()["files"] <= 3
    with log_in(tmp_path) as log:
        assert log.state()["sessions"] < 10
        assert log.pending("out") == []


def test_few_decisions_that_are_needed_are_copied(tmp_path: Path) -> None:
    """A file goes although some of its decisions matter: they move on with all that is known."""
    clock = Clock()
    with log_in(tmp_path, clock, log_bytes=1 << 20) as log:
        log.decide([decision(n, targets=("a", "b")) for n in range(10)])
        log.exported("a", dict.fromkeys(range(10), 5))
        log.exported("b", dict.fromkeys(range(9), 5))
        log.late(3, [7])
        log.roll()
        log.decide([decision(100, keep=False)])
        clock.forward(200)
        assert log.compact([7]) == 8
        assert log.state()["files"] == 1
    with log_in(tmp_path, clock) as log:
        assert [n for n in range(10) if log.get(n) is not None] == [3, 9]
        assert sessions(log.pending("b")) == [9]
        assert log.is_exported(3, "b", 5)
        standing = log.get(3)
        assert standing is not None
        assert standing.segments == (1, 7)


def test_late_spans_keep_a_decision_known(tmp_path: Path) -> None:
    """A session with late spans in a newer segment is remembered as long as that is there."""
    clock = Clock()
    with log_in(tmp_path, clock) as log:
        log.decide([decision(1, keep=False, segments=(1,))])
        log.late(1, [1, 5])
        log.late(1, [5])
        log.late(2, [5])
        log.roll()
        log.decide([decision(3)])
        clock.forward(200)
        assert log.compact([5]) == 0
    with log_in(tmp_path, clock) as log:
        assert log.decide([decision(1)]) == [decision(1, keep=False, segments=(1,))]


@given(st.integers(0, 2000))
def test_log_torn_anywhere_keeps_whole_batches(
    tmp_path_factory: pytest.TempPathFactory, missing: int
) -> None:
    """Cut at any byte, a batch is decided as a whole or not at all, and earlier ones stand."""
    folder = tmp_path_factory.mktemp("torn")
    with log_in(folder, log_bytes=1 << 20) as log:
        for start in (0, 10):
            log.decide([decision(n) for n in range(start, start + 3)])
    (path,) = folder.glob("*.decisions")
    data = path.read_bytes()
    path.write_bytes(data[: max(len(data) - missing, 0)])
    with log_in(folder) as log:
        there = [n for n in (0, 1, 2, 10, 11, 12) if log.get(n) is not None]
        assert there in ([], [0, 1, 2], [0, 1, 2, 10, 11, 12])
        assert missing or len(there) == 6
        log.decide([decision(n, keep=False) for n in (0, 10)])
        assert sessions(log.pending("out")) == there


def test_full_disk_decides_nothing(tmp_path: Path) -> None:
    """A batch that does not fit is refused whole, and can be decided later."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with log_in(tmp_path, log_bytes=1 << 20) as log:
        log.decide([decision(1)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(JournalFullError, match="no room for decisions") as caught:
                log.decide([decision(n) for n in range(2, 20)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.retry_seconds > 0
        assert log.get(2) is None
        log.decide([decision(2)])
    with log_in(tmp_path) as log:
        assert sessions(log.pending("out")) == [1, 2]
        assert log.state()["torn"] == 0


def test_failed_fsync_is_told_with_always(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With "always" a decision that may not be on the disk must not be acted on."""
    with log_in(tmp_path, fsync="always") as log:
        log.decide([decision(1)])

        def broken(_: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", broken)
        with pytest.raises(JournalError, match="cannot reach its disk"):
            log.decide([decision(2)])
        monkeypatch.undo()
        assert log.decide([decision(2, keep=False)]) == [decision(2)]


def test_foreign_and_newer_files_are_clear_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not a log of this format is named, with what to do."""
    foreign = tmp_path / "0000000001.decisions"
    foreign.write_bytes(b"PAR1" * 50)
    with pytest.raises(JournalError, match="not a file of the journal"), log_in(tmp_path):
        pass
    foreign.rename(tmp_path / "copy.decisions")
    with pytest.raises(JournalError, match="not a decision log"), log_in(tmp_path):
        pass
    (tmp_path / "copy.decisions").unlink()
    monkeypatch.setattr(frames, "VERSION", 2)
    with log_in(tmp_path) as log:
        log.decide([decision(1)])
    monkeypatch.undo()
    with pytest.raises(JournalError, match="format 2"), log_in(tmp_path):
        pass


def test_a_batch_is_read_once_for_all_of_its_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask again for the decisions of a batch takes as long as reading it, not its square."""
    with log_in(tmp_path) as log:
        batch = [decision(number, keep=number % 2 == 0) for number in range(1, 501)]
        log.decide(batch)
        read: list[tuple[int, int]] = []
        payload = log._files.payload  # noqa: SLF001 - what is counted is how often the disk is read

        def counted(number: int, offset: int) -> bytes:
            read.append((number, offset))
            return payload(number, offset)

        monkeypatch.setattr(log._files, "payload", counted)  # noqa: SLF001 - as above
        assert log.decide(batch) == batch
        assert len(read) == 1
