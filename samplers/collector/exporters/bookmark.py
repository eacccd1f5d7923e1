"""How far a queue is acknowledged, in a file of two slots that are written in turn.

A write that a power cut tears leaves the other slot, so that at worst a request is sent again.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Final

from samplers.collector.exporters.spool import Position

if TYPE_CHECKING:
    from pathlib import Path

_SLOT: Final = struct.Struct("<QQQI")


class Bookmark:
    """A position in a file."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        found = [slot for number in (0, 1) if (slot := self._read(number)) is not None]
        self._turn, self.position = max(found, default=(0, Position(1, 0)))

    def move(self, position: Position) -> None:
        """Write a new position."""
        self._turn += 1
        self.position = position
        content = struct.pack("<QQQ", self._turn, position.segment, position.offset)
        slot = content + struct.pack("<I", zlib.crc32(content))
        os.pwrite(self._fd, slot, self._turn % 2 * _SLOT.size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _read(self, number: int) -> tuple[int, Position] | None:
        slot = os.pread(self._fd, _SLOT.size, number * _SLOT.size)
        if len(slot) < _SLOT.size:
            return None
        turn, segment, offset, checksum = _SLOT.unpack(slot)
        if zlib.crc32(slot[:-4]) != checksum:
            return None
        return turn, Position(segment, offset)
