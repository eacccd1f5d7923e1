"""What a lake holds at one moment: the live parts and the imports, as numbered JSON files.

`_log/<20-digit version>.json` is a complete list, never changed after it appears. The highest
number is the lake. Publishing is one hard link to a name that must not exist yet, so a reader sees
the state before or the state after, and two writers can never both win.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tracekit.errors import LakeError

if TYPE_CHECKING:
    from pathlib import Path

LOG = "_log"
KEPT_VERSIONS = 10
"""Manifests that stay after a newer one: a reader may have listed the folder a moment ago."""


@dataclass(frozen=True, slots=True)
class Part:
    """One id in one date partition: a file in each table that has rows.

    All rows of a session lie in one part, so the part of its `sessions` row names the files of all
    its rows. Labels are the exception: an `outcomes` row that was recorded by itself lies in the
    part of its own commit.

    Attributes:
        date: UTC date of the start of its sessions, `YYYY-MM-DD`.
        id: Unique name, the same in every table.
        rows: Rows by table; a table without rows has no file.
        min_start_ns: Start of the earliest session, or None in a part of labels alone.
        max_end_ns: End of the latest session, or None.
        layout: Which columns its files have (`columns.layout`); None before that was noted.
    """

    date: str
    id: str
    rows: dict[str, int] = field(hash=False)
    min_start_ns: int | None = None
    max_end_ns: int | None = None
    layout: str | None = None

    def path(self, table: str) -> str:
        """Return the file of a table, relative to the lake."""
        return f"{table}/date={self.date}/part-{self.id}.parquet"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a lake.

    Attributes:
        version: Number of the commit that made it; 0 for a lake without commits.
        parts: Live parts.
        imports: Name by digest, of every source that was ever imported.
    """

    version: int = 0
    parts: tuple[Part, ...] = ()
    imports: dict[str, str] = field(default_factory=dict, hash=False)

    def paths(self, root: Path, table: str) -> list[str]:
        """Return the absolute paths of a table's files."""
        return [str(root / part.path(table)) for part in self.parts if table in part.rows]

    def missing(self, root: Path) -> str | None:
        """Return a file that should be there and is not: replaced by a writer, or lost."""
        paths = (root / part.path(table) for part in self.parts for table in part.rows)
        return next((str(path) for path in paths if not path.exists()), None)

    def rows(self, table: str) -> int:
        """Return how many rows a table has."""
        return sum(part.rows.get(table, 0) for part in self.parts)


def latest(root: Path) -> Manifest:
    """Read the newest version of the lake at `root`.

    Raises:
        LakeError: The newest manifest cannot be read.
    """
    while True:
        names = _versions(root)
        if not names:
            return Manifest()
        path = root / LOG / names[-1]
        try:
            return _decode(json.loads(path.read_bytes()))
        except FileNotFoundError:
            continue  # many commits happened since the folder was listed
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LakeError(
                f"{path}: the lake's manifest cannot be read ({error}); restore the lake's folder"
            ) from error


def publish(root: Path, manifest: Manifest) -> None:
    """Make `manifest` the newest version, durably and all at once.

    Raises:
        LakeError: Another writer published this version first.
    """
    log = root / LOG
    log.mkdir(exist_ok=True)
    temporary = log / f".{secrets.token_hex(8)}.tmp"
    write_durably(temporary, json.dumps(_encode(manifest)).encode())
    try:
        os.link(temporary, log / f"{manifest.version:020}.json")
    except FileExistsError as error:
        raise LakeError(
            f"{root}: another writer committed version {manifest.version} first; run this again"
        ) from error
    finally:
        temporary.unlink()
    sync_folder(log)
    for name in _versions(root)[:-KEPT_VERSIONS]:
        (log / name).unlink(missing_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _versions(root: Path) -> list[str]:
    try:
        names = [path.name for path in (root / LOG).iterdir()]
    except FileNotFoundError:
        return []
    return sorted(name for name in names if name.endswith(".json") and name[:-5].isdigit())


def _encode(manifest: Manifest) -> dict[str, Any]:
    return {
        "version": manifest.version,
        "parts": [
            [part.date, part.id, part.rows, part.min_start_ns, part.max_end_ns, part.layout]
            for part in manifest.parts
        ],
        "imports": manifest.imports,
    }


def _decode(document: dict[str, Any]) -> Manifest:
    parts = tuple(Part(*row) for row in document["parts"])
    return Manifest(document["version"], parts, document["imports"])
