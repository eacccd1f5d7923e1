"""Compiled code that no longer fits its source.

Numba keeps compiled functions beside their module and compiles again when that module changes, but
not when another module changes whose functions were inlined. Half an update would then run old code
on new arrays. So compiled files older than any source of the folder are removed before they load.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def forget_stale_code(folder: Path, *used: Path) -> int:
    """Remove numba's index files in a package's `__pycache__` that are older than its sources.

    Args:
        folder: Folder of the package.
        used: Folders of other packages whose compiled functions it calls.

    Returns:
        Number of index files removed; 0 where they cannot be read or removed.
    """
    removed = 0
    with suppress(OSError):
        sources = (file for place in (folder, *used) for file in place.glob("*.py"))
        newest = max((file.stat().st_mtime_ns for file in sources), default=0)
        for index in folder.glob("__pycache__/*.nbi"):
            if index.stat().st_mtime_ns < newest:
                index.unlink()
                removed += 1
    return removed


forget_stale_code(Path(__file__).parent)
