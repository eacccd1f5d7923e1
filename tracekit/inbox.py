"""The lake's inbox: where processes leave spans without a collector and without a database.

A process appends OTLP requests, each with its length before it, to a file of its own in
`<lake>/inbox/`. Whoever reads the lake next claims the files by renaming them and imports them.
Writers and claimers meet only in the kernel: a writer locks its file for the moment of an append
and looks whether the path still leads to it, a claimer renames it under the same lock. Nothing is
held open in between, so a fork has nothing to inherit, and no lock outlives its process.

This runs in the process that is watched, so it imports nothing large.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from tracekit.otlp.varints import LONGEST, read_varint, varint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER: Final = "inbox"
KEY: Final = "key"
QUOTA_BYTES: Final = 1 << 30
"""Bytes in an inbox, all processes together, from which on spans are refused."""
FILE_BYTES: Final = 64 << 20
"""Size from which on a file is handed over and another one begun."""

_LIVE: Final = ".otlp"
_TAKEN: Final = ".taken"
_DAMAGED: Final = ".damaged"
_REQUEST_TAG: Final = 0x0A
"""First byte of every request: tag of `ExportTraceServiceRequest.resource_spans`."""
_MEASURED_S: Final = 1.0
"""Age from which on the size of an inbox is measured again."""


class InboxFullError(OSError):
    """The inbox has reached its quota: nobody has read the lake for long."""


class Taken(NamedTuple):
    """A file that writers have let go of.

    Attributes:
        path: Where it lies.
        cut_bytes: Bytes at its end that were no whole request, and are gone.
    """

    path: Path
    cut_bytes: int


class State(NamedTuple):
    """What lies in an inbox.

    Attributes:
        files: Files that wait to be imported.
        bytes: Their size.
        damaged: Files that could not be imported and were set aside.
    """

    files: int
    bytes: int
    damaged: int


class _Writer:
    """What a process remembers between appends. Not locked: each field is written at once."""

    def __init__(self) -> None:
        self.name = (0, "")
        self.sizes: dict[str, tuple[float, int]] = {}

    def file(self) -> str:
        pid = os.getpid()
        if self.name[0] != pid:  # the first append of this process, which may be a fork
            self.name = (pid, f"{pid}-{time.time_ns()}{_LIVE}")
        return self.name[1]


_writer: Final = _Writer()


def append(lake: Path, data: bytes, *, quota: int = QUOTA_BYTES) -> None:
    """Append an `ExportTraceServiceRequest` to this process's file, whole or not at all.

    Args:
        lake: Folder of the lake; it and its inbox are made where they are missing.
        data: The request; an empty one is passed over.
        quota: Most bytes the inbox may hold. Sizes are a second old at most, so several processes
            may overshoot by what they write in a second.

    Raises:
        InboxFullError: The quota is reached, or the request is larger than a file may be.
        OSError: It cannot be written: the disk is full, the folder is read-only.
    """
    if not data:
        return
    record = varint(len(data)) + data
    if len(record) > FILE_BYTES:
        raise InboxFullError(errno.EMSGSIZE, "a batch of spans larger than a file of the inbox")
    folder = lake / FOLDER
    _check_quota(folder, len(record), quota)
    path = folder / _writer.file()
    while not _append(path, record):
        pass  # a claimer renamed the file while we waited for its lock: there is a new one now


def _check_quota(folder: Path, size: int, quota: int) -> None:
    now = time.monotonic()
    measured, total = _writer.sizes.get(str(folder), (0.0, quota))
    if total + size > quota or now - measured > _MEASURED_S:
        measured, total = now, sum(_sizes(folder))
    if total + size > quota:
        _writer.sizes[str(folder)] = (measured, total)
        what = f"the inbox holds {total:,} of {quota:,} bytes; read the lake, and it is emptied"
        raise InboxFullError(errno.EDQUOT, what, str(folder))
    _writer.sizes[str(folder)] = (measured, total + size)


def _append(path: Path, record: bytes) -> bool:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    with _locked(descriptor):
        if not _leads_to(path, descriptor):
            return False
        before = os.fstat(descriptor).st_size
        try:
            _write(descriptor, record)
        except BaseException:  # an interrupt, too, must not leave half a record
            os.ftruncate(descriptor, before)
            raise
        if before + len(record) >= FILE_BYTES:
            path.rename(_taken_name(path))
    return True


def _write(descriptor: int, record: bytes) -> None:
    left = memoryview(record)
    while left:  # a disk that fills up takes a part, and refuses the rest
        left = left[os.write(descriptor, left) :]


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file, then close it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Not left to close: a process forked meanwhile by another thread shares the lock.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _taken_name(path: Path) -> Path:
    return path.with_name(f"{path.stem}-{time.time_ns()}{_TAKEN}")


def pending(lake: Path) -> bool:
    """Return whether spans wait to be imported; one look at the folder."""
    return state(lake).bytes > 0


def state(lake: Path) -> State:
    """Return what lies in the inbox."""
    entries = list(_entries(lake / FOLDER))
    waiting = [size for name, size in entries if name.endswith((_LIVE, _TAKEN))]
    damaged = sum(name.endswith(_DAMAGED) for name, _ in entries)
    return State(sum(1 for size in waiting if size), sum(waiting), damaged)


def claim(lake: Path) -> list[Taken]:
    """Take the files from their writers, who begin new ones, and return them by name.

    Files that an earlier claimer left are among them. What a writer left unfinished when it died is
    cut off. One claimer works at a time: the caller holds the lake's write lock.

    Raises:
        OSError: The inbox cannot be changed.
    """
    folder = lake / FOLDER
    for name, _ in _entries(folder):
        if name.endswith(_LIVE):
            _take(folder / name)
    names = sorted(name for name, _ in _entries(folder) if name.endswith(_TAKEN))
    return [Taken(folder / name, _cut(folder / name)) for name in names]


def set_aside(path: Path) -> Path:
    """Rename a taken file that cannot be imported, so that it is kept and not tried again."""
    return path.rename(path.with_suffix(_DAMAGED))


def _take(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # its writer has just handed it over
    with _locked(descriptor):
        if not _leads_to(path, descriptor):
            return
        if os.fstat(descriptor).st_size:
            path.rename(_taken_name(path))
        else:
            path.unlink()


def _cut(path: Path) -> int:
    """Cut off what follows the last whole request; return how many bytes that were."""
    with path.open("r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        end = _whole(file.fileno(), size)
        if end < size:
            file.truncate(end)
    return size - end


def _whole(descriptor: int, size: int) -> int:
    """Return where the last whole request ends."""
    end = 0
    while end < size:
        head = os.pread(descriptor, LONGEST + 1, end)
        try:
            length, at = read_varint(head, 0)
            if not length or head[at] != _REQUEST_TAG or end + at + length > size:
                break  # no length: zeros, as a file system may leave them after a power cut
        except (IndexError, ValueError):
            break
        end += at + length
    return end


def _sizes(folder: Path) -> Iterator[int]:
    return (size for _, size in _entries(folder))


def _entries(folder: Path) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # claimed or imported just now
                    yield entry.name, entry.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return


def lake_key(lake: Path) -> int | None:
    """Return the key of the lake's fingerprints; None where there is neither lake nor key."""
    for path, field in ((lake / "lake.json", "fingerprint_key"), (lake / FOLDER / KEY, "key")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads(path.read_bytes())[field])
    return None


def ensure_key(lake: Path) -> int:
    """Return the key of the lake's fingerprints, deciding it if nobody has.

    A process may need the key before there is a lake. Then it leaves one in the inbox, and the
    lake that is made there later takes it over. All go this way, the lake too, and the file is made
    by one link, so that no two ever decide differently.

    Raises:
        OSError: There is no key, and none can be written.
    """
    key = lake_key(lake)
    if key is not None:
        return key
    folder = lake / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{KEY}-{secrets.token_hex(8)}"
    temporary.write_text(json.dumps({"key": secrets.randbits(63)}), encoding="utf-8")
    try:
        with suppress(FileExistsError):  # somebody else decided just now: theirs counts
            os.link(temporary, folder / KEY)
    finally:
        temporary.unlink()
    key = lake_key(lake)
    if key is None:
        raise OSError(errno.EINVAL, "the lake's key cannot be read", str(folder / KEY))
    return key
