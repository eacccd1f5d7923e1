"""Paths as sources: files, folders, globs, archives and standard input.

What a file is, is told by its content, in this order: gzip and zstd by their magic bytes, then tar,
then protobuf if its first record holds together, then JSON; of JSON, OTLP, then the importers.
"""

from __future__ import annotations

import glob
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from tracekit.errors import InputError
from tracekit.importers.source import Source
from tracekit.otlp.streams import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STDIN: Final = "-"

_COPY: Final = 1 << 20


def open_sources(paths: Sequence[str], *, limits: Limits = DEFAULT_LIMITS) -> Iterator[Source]:
    """Yield the files that paths name, each once.

    Folders are searched recursively, in sorted order, without hidden files and folders. What cannot
    be opened is yielded too, with its error: reading it raises that, and the others go on.

    Args:
        paths: Files, folders, globs, or `-` for standard input.
        limits: Size limits.
    """
    seen: set[str] = set()
    for path in paths:
        yield from _sources(path, limits, seen)


def _sources(path: str, limits: Limits, seen: set[str]) -> Iterator[Source]:
    if path == STDIN:
        yield _spooled("standard input", sys.stdin.buffer, limits)
    elif os.path.lexists(path):
        yield from _existing(path, limits, seen)
    elif glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  paths are text as given
        for match in found:
            yield from _existing(match, limits, seen)
        if not found:
            yield _broken(path, "no file matches", limits)
    else:
        yield _broken(path, "no such file or folder", limits)


def _existing(path: str, limits: Limits, seen: set[str]) -> Iterator[Source]:
    if os.path.isdir(path):  # noqa: PTH112  paths are text as the user gave it
        yield from _folder(path, limits, seen)
        return
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError as error:
        yield _broken(path, f"cannot be read ({error.strerror})", limits)
        return
    if stat.S_ISREG(mode):
        if _new(path, seen):
            yield Source(path, Path(path), limits=limits)
    elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        with open(path, "rb") as pipe:  # noqa: PTH123
            yield _spooled(path, pipe, limits)
    else:
        yield _broken(path, "neither a file nor a folder", limits)


def _folder(path: str, limits: Limits, seen: set[str]) -> Iterator[Source]:
    failed: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=failed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = os.path.join(folder, name)  # noqa: PTH118
            # Pipes and sockets in a folder would block, and nobody asked for them.
            if not name.startswith(".") and _is_file_or_broken(file) and _new(file, seen):
                yield Source(file, Path(file), named=False, limits=limits)
    for error in failed:
        yield _broken(str(error.filename), f"cannot be read ({error.strerror})", limits)


def _is_file_or_broken(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return True  # the source says what is wrong


def _new(path: str, seen: set[str]) -> bool:
    real = os.path.realpath(path)
    if real in seen:
        return False
    seen.add(real)
    return True


def _broken(path: str, why: str, limits: Limits) -> Source:
    return Source(path, Path(path), limits=limits, error=InputError(f"{path}: {why}"))


def _spooled(name: str, stream: BinaryIO, limits: Limits) -> Source:
    """Copy a stream that can be read once to a temporary file, for its digest comes first."""
    file: Any = tempfile.NamedTemporaryFile(prefix="tracekit-")  # noqa: SIM115  the source keeps it
    shutil.copyfileobj(stream, file, _COPY)
    file.flush()
    return Source(name, Path(file.name), limits=limits, keep=file)
