"""Requests appended to a file: a new one is begun at a size, and the oldest are removed.

`traces.pb` is the newest, `traces.1.pb` the one before it. The names end as they began, so that
`tracekit import` takes them all.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from samplers.collector.exporters.delivery import Delivered, Delivery, Postponed, Refused
from samplers.collector.exporters.json_lines import json_line

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from samplers.collector.settings.exporters import FileExporter


def sized(request: bytes) -> bytes:
    """Return a request after its length: four bytes, big-endian."""
    return len(request).to_bytes(4, "big") + request


class FileTarget:
    """A file and those before it."""

    def __init__(self, settings: FileExporter) -> None:
        """Describe the file; it is opened by the first request.

        Args:
            settings: Its path, format and size.
        """
        self._settings = settings
        self._lock = threading.Lock()
        self._file: FileIO | None = None

    def send(self, request: bytes) -> Delivery:
        """Append one request."""
        try:
            record = sized(request) if self._settings.format == "protobuf" else json_line(request)
        except DecodeError as error:
            return Refused(f"cannot be written as JSON: {error}")
        try:
            with self._lock:
                self._append(record)
        except OSError as error:  # a full disk may have room again
            return Postponed(f"{self._settings.path}: {error.strerror}")
        return Delivered()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _append(self, record: bytes) -> None:
        path = self._settings.path
        if self._file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        assert self._file is not None  # noqa: S101  opened above
        before = self._file.tell()
        if before and before + len(record) > self._settings.max_bytes:
            self._file.close()
            self._file = None
            self._rotate(path)
            self._append(record)
            return
        if self._file.write(record) != len(record):  # a record cut short would spoil all after it
            self._file.truncate(before)
            raise OSError(errno.ENOSPC, "no space left")

    def _rotate(self, path: Path) -> None:
        for number in range(self._settings.max_files - 1, 0, -1):
            older = _numbered(path, number)
            if number == self._settings.max_files - 1:
                older.unlink(missing_ok=True)
            newer = _numbered(path, number - 1)
            if newer.exists():
                newer.rename(older)
        path.unlink(missing_ok=True)


def _numbered(path: Path, number: int) -> Path:
    return path.with_suffix(f".{number}{path.suffix}") if number else path
