"""The files of the decision log: frames appended by one thread at a time, whole files dropped."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samplers import frames
from samplers.frames import FILE, HEAD, LOG_MAGIC, FileHeader
from samplers.lanes import FULL
from samplers.syncing import Handle, sync_folder, write_all
from tracekit.errors import JournalError, JournalFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from samplers.frames import Frame

SUFFIX = ".decisions"
_RETRY_SECONDS = 5.0


@dataclass(slots=True)
class _File:
    path: Path
    end: int
    closed_ns: int


class LogFiles:
    """Numbered files, the last of them written to; those of an earlier run are only read.

    Args:
        folder: Where they are.
        file_bytes: Size at which a file is full.
        clock: Nanoseconds since 1970.
    """

    def __init__(self, folder: Path, file_bytes: int, clock: Callable[[], int]) -> None:
        self.torn = 0
        self._folder = folder
        self._file_bytes = file_bytes
        self._clock = clock
        self._handle: Handle | None = None
        self._files: dict[int, _File] = {}
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if not path.stem.isdecimal():
                raise JournalError(f"{path} is not a decision log: move it out of that folder")
            self._files[int(path.stem)] = _File(path, path.stat().st_size, clock())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.end for file in self._files.values())

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self._files)

    def replay(self) -> Iterator[tuple[int, Frame]]:
        """Yield the frames of all files, oldest first, up to where a crash tore each of them."""
        for number, file in self._files.items():
            header = frames.read_file_header(file.path, LOG_MAGIC)
            found = frames.Found()
            for frame in frames.walk(frames.map_file(file.path), number, found):
                yield number, frame
            self.torn += bool(found.torn or header is None)

    def append(self, kind: int, payload: bytes) -> tuple[int, int, Handle]:
        """Write a frame; return its file, where its payload begins, and what to sync.

        Raises:
            JournalFullError: The disk is full; nothing was written.
            JournalError: The disk fails.
        """
        frame = frames.draft(kind, (payload,), received_ns=self._clock())
        try:
            number, file, handle = self._current()
            self._write(handle, file.end, (frame.head(number, 0), *frame.pieces))
        except OSError as error:
            if error.errno in FULL:
                message = f"no room for decisions in {self._folder} ({error.strerror}): retry"
                raise JournalFullError(message, _RETRY_SECONDS) from error
            raise JournalError(f"the decision log cannot be written: {error}") from error
        offset = file.end + HEAD.size
        file.end += frame.size
        return number, offset, handle

    def payload(self, number: int, offset: int) -> bytes:
        """Return the payload of a frame that was written or replayed."""
        descriptor = os.open(self._files[number].path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = HEAD.unpack(os.pread(descriptor, HEAD.size, offset - HEAD.size))
            return os.pread(descriptor, head[3], offset)
        finally:
            os.close(descriptor)

    def closed(self, before_ns: int) -> list[int]:
        """Return the files that were closed before a time, oldest first.

        Never the last: its number must remain.
        """
        numbers = sorted(self._files)[:-1]
        return [number for number in numbers if self._files[number].closed_ns <= before_ns]

    def remove(self, number: int) -> None:
        """Unlink a file; what was copied from it must be on the disk by now."""
        self._files.pop(number).path.unlink(missing_ok=True)
        sync_folder(self._folder)

    def roll(self) -> None:
        """Write no more to the current file."""
        if self._handle is not None:
            self._files[max(self._files)].closed_ns = self._clock()
            self._handle = None

    def _current(self) -> tuple[int, _File, Handle]:
        last = max(self._files, default=0)
        if self._handle is not None:
            file = self._files[last]
            if file.end < self._file_bytes and not self._handle.suspect:
                return last, file, self._handle
        self.roll()
        return self._begin(last + 1)

    def _begin(self, number: int) -> tuple[int, _File, Handle]:
        path = self._folder / f"{number:010}{SUFFIX}"
        handle = Handle(path)
        now = self._clock()
        try:
            write_all(handle.fd, [frames.pack_file(LOG_MAGIC, FileHeader(number, 0, now))], 0)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._handle = handle
        file = self._files[number] = _File(path, FILE.size, now)
        return number, file, handle

    @staticmethod
    def _write(handle: Handle, end: int, pieces: tuple[bytes, ...]) -> None:
        try:
            write_all(handle.fd, pieces, end)
        except OSError:
            handle.suspect = True  # until what was written of it is gone again
            with suppress(OSError):
                os.ftruncate(handle.fd, end)
                handle.suspect = False
            raise
