"""The memory of the process: how much it may take, and giving back what it does not need."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/")


def allowed(root: Path = _ROOT) -> int:
    """Return how many bytes the process may take: all of the machine's, or its container's limit.

    Args:
        root: Where the file system of the kernel is; given by tests.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of the control groups, version 2 and 1, that the process is in."""
    groups = root / "sys/fs/cgroup"
    files = [groups / "memory.max", groups / "memory/memory.limit_in_bytes"]
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files.append(groups / path.lstrip("/") / "memory.max")
    for file in files:
        if (text := _text(file).strip()).isdecimal():
            yield int(text)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:  # another kernel, another version: no such limit
        return ""


def give_back() -> None:
    """Return freed memory to the system; does nothing where the C library has no way to.

    glibc keeps what the threads that look at batches have freed: up to a gigabyte after a burst,
    which counts against the limit of a container for as long as the process lives.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
