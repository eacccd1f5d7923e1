"""Byte streams of files: unpacked by content, counted, and limited before anything is allocated.

Every reader of this package takes a `Stream`. What goes wrong below it (a truncated gzip, a disk
error, a file that unpacks to more than the limit) comes out as an `InputError` naming the file.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, BinaryIO, Final, cast

import pyarrow as pa

from tracekit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
HEAD_BYTES: Final = 1 << 16
"""How much of a stream is looked at to tell its format."""

_BUFFER: Final = 1 << 20
_PIECE: Final = 1 << 22


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How much one file may make us hold or read.

    Attributes:
        total_bytes: Decompressed bytes of one file, members of archives together.
        record_bytes: One line, one JSON document or one protobuf message; it is held in memory.
        chunk_bytes: Size from which a chunk of requests is handed on.
    """

    total_bytes: int = 64 << 30
    record_bytes: int = 256 << 20
    chunk_bytes: int = 2 << 20


DEFAULT_LIMITS: Final = Limits()


@dataclasses.dataclass(slots=True)
class Budget:
    """Decompressed bytes that may still come out of one file, its members taken together."""

    left: int


class _Counted(io.RawIOBase):
    """Reads from `raw`, charges the budget, and turns low-level failures into `InputError`."""

    def __init__(self, raw: IO[bytes], name: str, budget: Budget | None) -> None:
        self._raw = raw
        self._name = name
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        filled = 0
        while filled < len(buffer):  # a short read would leave the head too short to tell a format
            data = self._read(len(buffer) - filled)
            if not data:
                break
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        if self._budget is not None:
            self._budget.left -= filled
            if self._budget.left < 0:
                raise InputError(
                    f"{self._name}: unpacks to more than the limit for one file; split it, or "
                    "raise the limit if the file is to be trusted"
                )
        return filled

    def _read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except EOFError as error:
            raise InputError(f"{self._name}: the gzip stream is truncated") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{self._name}: the gzip stream is corrupt ({error})") from error
        except tarfile.TarError as error:
            raise InputError(f"{self._name}: the archive is damaged ({error})") from error
        except OSError as error:
            raise InputError(f"{self._name}: cannot be read ({error})") from error

    def close(self) -> None:
        self._raw.close()
        super().close()


class Stream:
    """A buffered, limited stream of decompressed bytes that knows its name and position."""

    def __init__(  # noqa: PLR0913  the rest are keyword-only details
        self,
        raw: IO[bytes],
        name: str,
        limits: Limits = DEFAULT_LIMITS,
        *,
        budget: Budget | None = None,
        size: int | None = None,
        below: Stream | None = None,
    ) -> None:
        """Wrap a binary file.

        Args:
            raw: Where the bytes come from; it is closed with the stream.
            name: Name for messages.
            limits: Size limits.
            budget: Charged with every byte read; None where the bytes are already charged.
            size: Bytes in total where that is known, against which claimed lengths are checked.
            below: The stream that `raw` unpacks; it is closed with this one.
        """
        self.name = name
        self.limits = limits
        self.position = 0
        self._size = size
        self._below = below
        self._buffered = io.BufferedReader(_Counted(raw, name, budget), _BUFFER)

    def head(self) -> bytes:
        """Return the next bytes, `HEAD_BYTES` or as many as there are, without consuming them."""
        return self._buffered.peek(HEAD_BYTES)[:HEAD_BYTES]

    def line(self) -> bytes:
        """Consume and return one line with its newline; empty at the end."""
        limit = self.limits.record_bytes
        data = self._buffered.readline(limit + 1)
        if len(data) > limit:
            raise self.too_long(f"a line of more than {limit:,} bytes")
        self.position += len(data)
        return data

    def upto(self, size: int) -> bytes:
        """Consume and return `size` bytes, or fewer at the end; `size` must not be a claim."""
        data = self._buffered.read(size)
        self.position += len(data)
        return data

    def exactly(self, size: int, what: str) -> bytes:
        """Consume and return the `size` bytes that a length field claims.

        Raises:
            InputError: More is claimed than the limit or than is left; nothing of the claimed size
                has been allocated then.
        """
        left = None if self._size is None else self._size - self.position
        if left is not None and size > left:
            raise self.error(f"{what} claims {size:,} bytes, but only {left:,} are left")
        if size > self.limits.record_bytes:
            raise self.too_long(f"{what} of {size:,} bytes")
        data = self.upto(size) if size <= _PIECE else self._pieces(size)
        if len(data) < size:
            raise self.error(f"{what} claims {size:,} bytes, but only {len(data):,} are left")
        return data

    def _pieces(self, size: int) -> bytes:
        parts = []
        while size and (piece := self.upto(min(size, _PIECE))):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)

    def rest(self) -> bytes:
        """Consume and return everything that is left, a whole JSON document for instance."""
        limit = self.limits.record_bytes
        data = self._pieces(limit + 1)
        if len(data) > limit:
            raise self.too_long(f"a document of more than {limit:,} bytes")
        return data

    def error(self, message: str) -> InputError:
        """Return an error that names the file and the byte."""
        return InputError(f"{self.name}: byte {self.position:,}: {message}")

    def too_long(self, what: str) -> InputError:
        """Return the error for a record above the limit."""
        return self.error(f"{what}, above the limit for one record; write one request per line")

    def close(self) -> None:
        """Close the stream and the file below it."""
        self._buffered.close()
        if self._below is not None:
            self._below.close()


def file_stream(path: Path, name: str, limits: Limits, budget: Budget) -> Stream:
    """Open a regular file as it is stored, compressed or not."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"{name}: cannot be opened ({error.strerror})") from error
    return Stream(raw, name, limits, budget=budget, size=os.fstat(raw.fileno()).st_size)


def decompressed(stream: Stream, budget: Budget) -> Stream:
    """Return the stream unpacked if its first bytes say gzip or zstd, else the stream itself.

    It is closed if that fails.
    """
    try:
        head = stream.head()
    except InputError:
        stream.close()
        raise
    if head.startswith(GZIP_MAGIC):
        unpacked: BinaryIO = cast("BinaryIO", gzip.GzipFile(fileobj=_Reader(stream)))
    elif head.startswith(ZSTD_MAGIC):
        unpacked = cast("BinaryIO", _zstd(_Reader(stream)))
    else:
        return stream
    return Stream(unpacked, stream.name, stream.limits, budget=budget, below=stream)


def unzstd(data: bytes, name: str, limits: Limits) -> bytes:
    """Return one zstd-compressed message unpacked, up to the limit for a record."""
    stream = Stream(cast("BinaryIO", _zstd(io.BytesIO(data))), name, limits)
    try:
        return stream.rest()
    finally:
        stream.close()


def _zstd(raw: io.IOBase) -> pa.NativeFile:
    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


class _Reader(io.RawIOBase):
    """A stream as the file object that gzip, zstd and tar read from."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.upto(size if size >= 0 else self._stream.limits.record_bytes)


def as_file(stream: Stream) -> BinaryIO:
    """Return the stream as a binary file object."""
    return cast("BinaryIO", _Reader(stream))
