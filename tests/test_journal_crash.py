"""What a crash may do to the journal: kill -9, writes cut at any byte, bytes that changed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_build import Clock, opened, put, recovered, settings

from samplers import frames
from samplers.decisions import DecisionLog
from samplers.frames import FILE, HEAD
from samplers.journal import Journal
from tracekit.errors import JournalError

WRITER = Path(__file__).with_name("journal_writer.py")


@dataclass
class Acknowledged:
    """What the killed writers had said."""

    records: dict[int, int] = field(default_factory=dict)
    kept: dict[int, bool] = field(default_factory=dict)
    exported: set[int] = field(default_factory=set)

    def read(self, line: bytes) -> None:
        """Take in what a writer says; nothing is said twice with another result."""
        kind, *numbers = line.split()
        values = [int(number) for number in numbers]
        if kind == b"record":
            assert values[0] not in self.records, "a sequence number is never used twice"
            self.records[values[0]] = values[1]
        elif kind == b"decided":
            keep = bool(values[1])
            assert self.kept.setdefault(values[0], keep) == keep, "decided again, otherwise"
        else:
            self.exported.add(values[0])


def run_and_kill(folder: Path, turn: int, after: int, said: Acknowledged) -> None:
    """Run the writer until it has acknowledged so many things, and kill it."""
    command = [sys.executable, str(WRITER), str(folder), str(turn)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = 0
        for line in process.stdout:
            if not line.endswith(b"\n"):
                break
            said.read(line)
            lines += 1
            if lines == after:
                process.send_signal(signal.SIGKILL)
    assert lines >= after, "the writer ended by itself"


def check(folder: Path, said: Acknowledged, kills: int) -> None:
    """Everything acknowledged is there, with the same bytes and the same decisions."""
    journal = Journal(folder, settings(quota_bytes=1 << 30))
    found = {record.sequence: zlib.crc32(record.request) for record in journal.recover()}
    assert said.records.items() <= found.items()
    log = DecisionLog(folder, journal.syncer, journal.settings)
    for session, keep in said.kept.items():
        standing = log.get(session)
        assert standing is not None
        assert standing.keep == keep
    pending = {one.session for one in log.pending("out")}
    waiting = {session for session, keep in said.kept.items() if keep} - said.exported
    # Between the record of an export and the word of it a kill may fall, once per kill.
    assert len(waiting - pending) <= kills, "lost before its export"
    assert pending.isdisjoint(said.exported), "exported and on record, yet pending"
    journal.close()


def kill_rounds(folder: Path, rounds: int, seed: int) -> None:
    said, chance = Acknowledged(), random.Random(seed)
    for turn in range(rounds):
        run_and_kill(folder, turn, chance.randrange(1, 2000), said)
        check(folder, said, turn + 1)
    assert said.records


def test_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After kill -9 the next process finds every acknowledged record, decision and export."""
    kill_rounds(tmp_path, 3, seed=1)


@pytest.mark.slow
def test_killed_writer_loses_nothing_acknowledged_in_many_rounds(tmp_path: Path) -> None:
    """The same over forty kills on one folder."""
    kill_rounds(tmp_path, 40, seed=2)


def write_one_segment(folder: Path, requests: list[bytes]) -> tuple[Path, list[int]]:
    """Return a segment of some requests, and where each of its records ends."""
    with opened(folder, segment_bytes=1 << 20, quota_bytes=1 << 24) as journal:
        ends = [put(journal, request).offset + len(request) for request in requests]
    (path,) = folder.glob("*.segment")
    return path, ends


def cut(path: Path, folder: Path, data: bytes) -> Path:
    """Write other bytes under the name of a segment into a new folder."""
    folder.mkdir(parents=True)
    (folder / path.name).write_bytes(data)
    return folder


def test_segment_torn_at_every_byte(tmp_path: Path) -> None:
    """Cut anywhere, a segment yields exactly its whole records, and counts the torn one."""
    requests = [b"a", b"", b"bcd" * 20]
    path, ends = write_one_segment(tmp_path / "whole", requests)
    data = path.read_bytes()
    for size in range(len(data) + 1):
        folder = cut(path, tmp_path / str(size), data[:size])
        journal = Journal(folder, settings(), clock=Clock())
        whole = sum(end <= size for end in ends)
        assert [bytes(record.request) for record in journal.recover()] == requests[:whole]
        clean = size in (FILE.size, *ends)
        assert journal.state()["recovered_torn"] == (not clean), size
        put(journal, b"more")
        journal.close()
        assert recovered(folder) == [*requests[:whole], b"more"]


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=6),
    st.floats(0, 1),
    st.binary(max_size=60),
)
def test_torn_tail_of_anything(
    tmp_path_factory: pytest.TempPathFactory, requests: list[bytes], where: float, garbage: bytes
) -> None:
    """Whatever stands behind the last whole record, zeros or garbage: those before it come back."""
    folder = tmp_path_factory.mktemp("torn")
    path, ends = write_one_segment(folder / "whole", requests)
    data = path.read_bytes()
    size = FILE.size + round(where * (len(data) - FILE.size))
    torn = data[:size] + garbage + b"\0" * 50
    found = recovered(cut(path, folder / "torn", torn))
    whole = sum(end <= size for end in ends)
    assert found[:whole] == requests[:whole]
    assert len(found) <= whole + data.startswith(torn[: ends[min(whole, len(ends) - 1)]])


@given(st.lists(st.binary(max_size=100), min_size=2, max_size=5), st.data())
def test_changed_byte_costs_at_most_what_it_touches(
    tmp_path_factory: pytest.TempPathFactory, requests: list[bytes], data: st.DataObject
) -> None:
    """A byte that changed never gives a wrong record: one is missing, or those behind it are."""
    folder = tmp_path_factory.mktemp("flip")
    path, _ = write_one_segment(folder / "whole", requests)
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(FILE.size, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    found = recovered(cut(path, folder / "flipped", bytes(raw)))
    rest = iter(requests)
    assert all(request in rest for request in found), "in order, and nothing invented"


def test_damaged_record_in_the_middle_is_skipped_and_counted(tmp_path: Path) -> None:
    """Bytes that changed inside one record cost that record; those behind it are good."""
    path, _ = write_one_segment(tmp_path / "whole", [b"first", b"second", b"third"])
    data = path.read_bytes().replace(b"second", b"sEcond")
    journal = Journal(cut(path, tmp_path / "changed", data), settings())
    assert [bytes(record.request) for record in journal.recover()] == [b"first", b"third"]
    assert journal.state()["recovered_damaged"] == 1
    journal.close()


def test_request_that_looks_like_records_is_never_taken_for_them(tmp_path: Path) -> None:
    """A sender cannot forge records: not even when the one that carries them is torn."""
    path, _ = write_one_segment(tmp_path / "forged", [b"forged"])
    forged = path.read_bytes()[FILE.size :]
    path, _ = write_one_segment(tmp_path / "whole", [b"good", forged * 3])
    data = path.read_bytes()
    for missing in range(1, len(forged) * 3):
        folder = cut(path, tmp_path / str(missing), data[:-missing])
        assert recovered(folder) == [b"good"]


def test_foreign_file_is_a_clear_error(tmp_path: Path) -> None:
    """A file that is no segment is named, with what to do; the lock is let go."""
    (tmp_path / "0000000007.segment").write_bytes(b"PAR1" * 50)
    with pytest.raises(JournalError, match=r"0000000007.segment is not a file of the journal: mov"):
        Journal(tmp_path, settings())
    (tmp_path / "0000000007.segment").unlink()
    with opened(tmp_path):
        pass


def test_file_of_a_strange_name_is_a_clear_error(tmp_path: Path) -> None:
    """A copy somebody made beside the segments is not silently left out."""
    (tmp_path / "copy.segment").write_bytes(b"")
    with pytest.raises(JournalError, match=r"copy.segment is not a file of the journal"):
        Journal(tmp_path, settings())


def test_newer_format_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of a newer program is refused before anything is written."""
    monkeypatch.setattr(frames, "VERSION", 2)
    write_one_segment(tmp_path, [b"x"])
    monkeypatch.undo()
    with pytest.raises(JournalError, match="format 2, this program reads up to 1: start the newer"):
        Journal(tmp_path, settings())


def test_renamed_segment_is_a_clear_error(tmp_path: Path) -> None:
    """Locations hold segment numbers, so a segment must carry its own."""
    path, _ = write_one_segment(tmp_path, [b"x"])
    path.rename(path.with_name("0000000099.segment"))
    with pytest.raises(JournalError, match="was segment 1"):
        Journal(tmp_path, settings())


def test_header_of_a_frame_counts_its_bytes() -> None:
    """The layout is fixed: other programs may read version 1."""
    assert (FILE.size, HEAD.size) == (40, 40)
