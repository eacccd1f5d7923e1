"""Getting written bytes onto the disk: one fsync for many writers, and a thread that repeats it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from tracekit.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Handle:
    """A file open for writing; closed when nobody holds it any more.

    Reference counting closes it, so a file that was rotated away stays open exactly until its
    last fsync, and a descriptor is never reused under a thread that still works with it.

    Attributes:
        fd: The file descriptor.
        suspect: An fsync of it failed: what was written may be gone, write no further.
    """

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.suspect = False
        self._folder: Path | None = path.parent

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def sync(self) -> None:
        """Bring the bytes to the disk, and the first time also the name of the file."""
        os.fdatasync(self.fd)
        if self._folder is not None:
            sync_folder(self._folder)
            self._folder = None


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: files begun, files unlinked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(fd: int, pieces: Sequence[bytes], offset: int) -> None:
    """Write pieces at an offset, all of them, or raise OSError."""
    total = sum(map(len, pieces))
    done = os.pwritev(fd, pieces, offset)
    if done < total:  # a signal, a full disk or the 2 GB a single call moves
        rest = memoryview(b"".join(pieces))
        while done < total:
            done += os.pwrite(fd, rest[done:], offset + done)


class Batch:
    """Writes that one fsync covers."""

    def __init__(self) -> None:
        self.handles: set[Handle] = set()
        self.done = False
        self.error: OSError | None = None


class Syncer:
    """Brings written files to the disk, for many writers at once.

    Args:
        window: Seconds the first waiter of a group waits for others to join.
        pause: Sleeps; given by tests.
    """

    def __init__(self, window: float, pause: Callable[[float], object]) -> None:
        self.fsyncs = 0
        self.errors = 0
        self._window = window
        self._pause = pause
        self._batch = Batch()
        self._leading = False
        self._changed = threading.Condition()
        self._turn = threading.Lock()

    def wrote(self, handle: Handle) -> Batch:
        """Say that a file was written to; return the batch whose fsync covers it."""
        with self._changed:
            self._batch.handles.add(handle)
            return self._batch

    def wait(self, batch: Batch) -> None:
        """Return when a batch is on the disk; one of its waiters does the fsync for all.

        Raises:
            JournalError: The fsync failed: the bytes may or may not survive a loss of power.
        """
        while not batch.done:
            with self._changed:
                if self._leading:
                    self._changed.wait_for(lambda: batch.done or not self._leading)
                    continue
                self._leading = True
            try:
                self._pause(self._window)
                self.sync()
            finally:
                with self._changed:
                    self._leading = False
                    self._changed.notify_all()
        if batch.error is not None:
            raise JournalError(f"the journal cannot reach its disk: {batch.error.strerror}")

    def sync(self) -> None:
        """Bring everything written so far to the disk; failures are counted and told to waiters."""
        with self._turn:  # a later batch must not be done before an earlier one
            with self._changed:
                batch, self._batch = self._batch, Batch()
            for handle in batch.handles:
                self._sync_one(handle, batch)
            with self._changed:
                batch.done = True
                batch.handles.clear()
                self._changed.notify_all()

    def _sync_one(self, handle: Handle, batch: Batch) -> None:
        try:
            handle.sync()
            self.fsyncs += 1
        except OSError as error:
            # The kernel may have dropped the pages: a second fsync would succeed and mean nothing.
            handle.suspect = True
            batch.error = error
            self.errors += 1


class Repeat:
    """A thread that calls something every few seconds until it is closed.

    Args:
        every: Seconds between calls.
        call: What to call.
        wait: Waits that long and returns whether to stop; given by tests.
    """

    def __init__(
        self, every: float, call: Callable[[], object], wait: Callable[[float], bool] | None = None
    ) -> None:
        self._stop = threading.Event()
        self._every = every
        self._call = call
        self._wait = wait or self._stop.wait
        self._thread = threading.Thread(target=self._run, name="journal-fsync", daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._wait(self._every):
            self._call()
