"""The inbox: many processes append, one claims; nothing is lost, nothing is there twice."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_build import new_lake

from tracekit import inbox
from tracekit.inbox import InboxFullError, append, claim, ensure_key, lake_key, pending, state
from tracekit.otlp.varints import read_varint, varint

if TYPE_CHECKING:
    from pathlib import Path


def record(number: int, size: int = 40) -> bytes:
    """Return what starts like a request and tells its number."""
    return b"\x0a" + f"{number:08}".encode() + b"." * size


def records(data: bytes) -> list[bytes]:
    """Return the records of a file's content."""
    at, found = 0, []
    while at < len(data):
        size, at = read_varint(data, at)
        found.append(data[at : at + size])
        at += size
    return found


def read_and_delete(lake: Path) -> list[bytes]:
    """Claim everything and return the records, as an import does."""
    found = []
    for item in claim(lake):
        found += records(item.path.read_bytes())
        item.path.unlink()
    return found


def write_many(lake: Path, first: int, count: int) -> None:
    for number in range(first, first + count):
        append(lake, record(number, number % 300))


def live_file(lake: Path) -> Path:
    (path,) = (lake / "inbox").glob("*.otlp")
    return path


def test_what_was_appended_is_claimed(tmp_path: Path) -> None:
    """Records come out whole and in order; the folder of the lake is made on the way."""
    lake = tmp_path / "deep" / "lake"
    assert not pending(lake)
    written = [record(1), record(2, 1000), record(3, 20_000)]
    for data in written:
        append(lake, data)
    assert pending(lake)
    assert read_and_delete(lake) == written
    assert not pending(lake)
    assert claim(lake) == []


def test_nothing_is_written_for_no_spans(tmp_path: Path) -> None:
    """An empty batch makes no file."""
    append(tmp_path, b"")
    assert list(tmp_path.iterdir()) == []


def test_processes_append_while_a_reader_claims(tmp_path: Path) -> None:
    """Every record of every process comes out exactly once."""
    context = multiprocessing.get_context("spawn")
    each = 400
    writers = [
        context.Process(target=write_many, args=(tmp_path, first * each, each))
        for first in range(3)
    ]
    for writer in writers:
        writer.start()
    found: list[bytes] = []
    while any(writer.is_alive() for writer in writers):
        found += read_and_delete(tmp_path)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found += read_and_delete(tmp_path)
    assert sorted(item[:9] for item in found) == [record(n)[:9] for n in range(3 * each)]


def test_threads_append_to_one_file(tmp_path: Path) -> None:
    """Records of threads do not run into each other."""
    threads = [
        threading.Thread(target=write_many, args=(tmp_path, first * 100, 100)) for first in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item[:9] for item in read_and_delete(tmp_path)) == [
        record(n)[:9] for n in range(400)
    ]


def test_a_fork_writes_a_file_of_its_own(tmp_path: Path) -> None:
    """Parent and child go on after a fork between appends, each under its own name."""
    append(tmp_path, record(1))
    child = os.fork()
    if not child:
        append(tmp_path, record(2))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    append(tmp_path, record(3))
    assert len(list((tmp_path / "inbox").glob("*.otlp"))) == 2
    assert sorted(read_and_delete(tmp_path)) == [record(1), record(2), record(3)]


def test_a_writer_that_waited_for_a_claimer_begins_a_new_file(tmp_path: Path) -> None:
    """Bytes never go to a file that was renamed away between opening and locking it."""
    append(tmp_path, record(1))
    path = live_file(tmp_path)
    assert inbox._append(path, varint(49) + record(2))  # noqa: SLF001  the moment is the test's
    descriptor = os.open(path, os.O_WRONLY)
    (taken,) = claim(tmp_path)
    assert not inbox._leads_to(path, descriptor)  # noqa: SLF001
    os.close(descriptor)
    append(tmp_path, record(3))
    assert records(taken.path.read_bytes()) == [record(1), record(2)]
    assert records(live_file(tmp_path).read_bytes()) == [record(3)]


@pytest.mark.parametrize("left", [1, 2, 30])
def test_an_unfinished_record_is_cut_off(tmp_path: Path, left: int) -> None:
    """A writer that was killed in the middle of a write costs the reader that record alone."""
    append(tmp_path, record(1))
    path = live_file(tmp_path)
    with path.open("ab") as file:
        file.write((varint(300) + record(2, 291))[:left])
    (taken,) = claim(tmp_path)
    assert taken.cut_bytes == left
    assert records(taken.path.read_bytes()) == [record(1)]


@given(st.binary(max_size=40))
def test_any_tail_leaves_whole_records(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    """Whatever stands after the last record, what is left can be read to its end."""
    lake = tmp_path_factory.mktemp("lake")
    append(lake, record(1))
    path = live_file(lake)
    with path.open("ab") as file:
        file.write(tail)
    (taken,) = claim(lake)
    found = records(taken.path.read_bytes())
    assert found[0] == record(1)
    assert all(item.startswith(b"\x0a") for item in found)
    assert taken.cut_bytes <= len(tail)


def test_zeros_after_a_power_cut_are_no_records(tmp_path: Path) -> None:
    """File systems may leave zeros where data had no time to arrive."""
    append(tmp_path, record(1))
    with live_file(tmp_path).open("ab") as file:
        file.write(bytes(4096))
    assert [item.cut_bytes for item in claim(tmp_path)] == [4096]


def test_files_of_a_reader_that_died_are_claimed_again(tmp_path: Path) -> None:
    """What one reader renamed and did not delete, the next one gets beside what is new."""
    append(tmp_path, record(1))
    assert len(claim(tmp_path)) == 1
    append(tmp_path, record(2))
    assert pending(tmp_path)
    assert sorted(read_and_delete(tmp_path)) == [record(1), record(2)]


def test_a_full_file_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files end at their size; the next append begins another."""
    monkeypatch.setattr(inbox, "FILE_BYTES", 200)
    for number in range(10):
        append(tmp_path, record(number))
    assert len(list((tmp_path / "inbox").glob("*.taken"))) == 2
    assert sorted(read_and_delete(tmp_path)) == [record(number) for number in range(10)]
    with pytest.raises(InboxFullError, match="larger than a file"):
        append(tmp_path, record(1, 200))


def test_the_quota_is_for_all_processes_together(tmp_path: Path) -> None:
    """A full inbox says so, what is in it stays, and reading makes room."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "1-1.otlp").write_bytes(varint(49) + record(1))
    append(tmp_path, record(2), quota=120)
    for _ in range(2):
        with pytest.raises(InboxFullError, match="the inbox holds 100 of 120 bytes") as caught:
            append(tmp_path, record(3), quota=120)
        assert caught.value.errno == errno.EDQUOT
    assert sorted(read_and_delete(tmp_path)) == [record(1), record(2)]
    append(tmp_path, record(3), quota=120)
    assert read_and_delete(tmp_path) == [record(3)]


FULL_DISK = """
import resource, sys
from pathlib import Path
from tracekit.inbox import append
lake = Path(sys.argv[1])
append(lake, b"\\x0a" + bytes(499))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    append(lake, b"\\x0a" + bytes(999))
except OSError as error:
    print(type(error).__name__, error.errno)
append(lake, b"\\x0a" + bytes(299))
"""


def test_a_disk_that_fills_up_leaves_no_half_record(tmp_path: Path) -> None:
    """A write that was taken in part is undone and raised; later ones that fit are whole."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["OSError", str(errno.EFBIG)]
    (taken,) = claim(tmp_path)
    assert taken.cut_bytes == 0
    assert [len(item) for item in records(taken.path.read_bytes())] == [500, 300]


def test_no_file_stays_open(tmp_path: Path) -> None:
    """Appending and claiming give back every descriptor, also when they fail."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    before = [number for number in range(min(limit, 256)) if _is_open(number)]
    write_many(tmp_path, 0, 5)
    with pytest.raises(InboxFullError):
        append(tmp_path, record(1), quota=1)
    claim(tmp_path)
    assert [number for number in range(min(limit, 256)) if _is_open(number)] == before


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    """The caller counts it as it counts a full disk."""
    (tmp_path / "lake").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match="lake"):
        append(tmp_path / "lake", record(1))
    assert not pending(tmp_path / "lake")


def test_a_damaged_file_waits_no_more(tmp_path: Path) -> None:
    """A file that was set aside is kept, counted, and not claimed again."""
    append(tmp_path, record(1))
    (taken,) = claim(tmp_path)
    assert inbox.set_aside(taken.path).exists()
    assert state(tmp_path) == (0, 0, 1)
    assert claim(tmp_path) == []


def test_the_key_is_decided_once(tmp_path: Path) -> None:
    """Who needs the key before there is a lake decides it, and the lake takes it over."""
    root = tmp_path / "lake"
    assert lake_key(root) is None
    key = ensure_key(root)
    assert ensure_key(root) == lake_key(root) == key
    assert new_lake(root).info.fingerprint_key == key
    assert ensure_key(root) == key


def test_the_key_of_a_lake_is_that_of_its_description(tmp_path: Path) -> None:
    """Also where the inbox was deleted: a key in use never changes."""
    lake = new_lake(tmp_path)
    (tmp_path / "inbox" / "key").unlink()
    (tmp_path / "inbox").rmdir()
    assert ensure_key(tmp_path) == lake_key(tmp_path) == lake.info.fingerprint_key


def test_processes_agree_on_the_key(tmp_path: Path) -> None:
    """Of several that decide at the same time one wins, for all."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(ensure_key, [tmp_path] * 8))) == 1
