"""The folder of a lake: `lake.json`, who may write, and what a crash left behind."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from tracekit.errors import LakeError
from tracekit.inbox import FOLDER, ensure_key
from tracekit.lake.manifest import LOG, Manifest, Part, sync_folder, write_durably
from tracekit.schema import SCHEMA_VERSION, TABLES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_INFO = "lake.json"
_TEMPORARY = ".lake-"
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class LakeInfo:
    """What `lake.json` says.

    Attributes:
        schema_version: Version of the tables, see `tracekit.schema.SCHEMA_VERSION`.
        fingerprint_key: Key of the fingerprints, random per lake: the same text has the same
            fingerprint in one lake and different ones in two. See `inbox.ensure_key`.
        created_ns: When the lake was made, UTC, ns since 1970.
        writer: Distribution and version that made it.
    """

    schema_version: int
    fingerprint_key: int
    created_ns: int
    writer: str


def create(root: Path) -> LakeInfo:
    """Make a lake in a new or empty folder, or read the one that is there.

    Raises:
        LakeError: The path is a file, or a folder with other things in it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not _others(root):
            _write_info(root)
    except OSError as error:
        raise LakeError(f"{root}: cannot make a lake here: {error.strerror}") from error
    return read_info(root)


def has_only_inbox(root: Path) -> bool:
    """Return whether processes left spans where no lake was made yet."""
    try:
        return (root / FOLDER).is_dir() and not _others(root)
    except OSError:  # reading the lake's description says what is wrong with the folder
        return False


def _others(root: Path) -> list[str]:
    """Return what is in a folder beside an inbox and what a crashed making of a lake left."""
    names = (path.name for path in root.iterdir())
    return [name for name in names if name != FOLDER and not name.startswith(_TEMPORARY)]


def read_info(root: Path) -> LakeInfo:
    """Read `lake.json`.

    Raises:
        LakeError: There is no lake, or one of a newer version.
    """
    path = root / _INFO
    try:
        document = json.loads(path.read_bytes())
        version = int(document["schema_version"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LakeError(_absent(root)) from error
    except OSError as error:
        raise LakeError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LakeError(f"{path}: not a lake's description ({error})") from error
    if version > SCHEMA_VERSION:
        raise LakeError(
            f"{root}: this lake has schema version {version} and this tracekit reads up to "
            f"{SCHEMA_VERSION}; upgrade with `pip install --upgrade tracekit-agents`"
        )
    return LakeInfo(
        version, document["fingerprint_key"], document["created_ns"], document["writer"]
    )


def _absent(root: Path) -> str:
    if root.is_dir() and any(root.iterdir()):
        return f"{root}: a folder with other files, not a lake; name a lake, or a new folder"
    if root.exists() and not root.is_dir():
        return f"{root}: a file, not a lake; name a folder"
    return (
        f"{root}: no lake here; make one with `tracekit import --lake {root} PATH...`, "
        "or name another with --lake or TRACEKIT_LAKE"
    )


def _write_info(root: Path) -> None:
    info = LakeInfo(SCHEMA_VERSION, ensure_key(root), time.time_ns(), _writer())
    temporary = root / f"{_TEMPORARY}{secrets.token_hex(8)}"
    write_durably(temporary, json.dumps(asdict(info), indent=2).encode())
    with suppress(FileExistsError):  # somebody else made the lake just now: theirs counts
        os.link(temporary, root / _INFO)
    temporary.unlink()
    sync_folder(root)


def _writer() -> str:
    try:
        return f"tracekit-agents {metadata.version('tracekit-agents')}"
    except metadata.PackageNotFoundError:
        return "tracekit-agents (not installed)"


@contextmanager
def write_lock(root: Path, wait_s: float) -> Iterator[None]:
    """Hold the right to write, for this process and thread.

    The lock is the kernel's (`flock`), so it ends with its process, however that ends.

    Args:
        root: The lake.
        wait_s: How long to wait for another writer.

    Raises:
        LakeError: Another writer held it for the whole wait, or the lake is not writable.
    """
    try:
        (root / LOG).mkdir(exist_ok=True)
        descriptor = os.open(root / LOG / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise LakeError(f"{root}: cannot write to this lake: {error.strerror}") from error
    try:
        _acquire(root, descriptor, wait_s)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(root: Path, descriptor: int, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
                raise LakeError(
                    f"{root}: another process (pid {holder}) is writing to this lake; "
                    "wait for it to end and run this again"
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def sweep(root: Path, manifest: Manifest) -> int:
    """Remove part files that belong to no live part: what a writer left that crashed.

    Call it with the write lock held. Files that tracekit did not name stay.

    Returns:
        How many files were removed.
    """
    live = {part.path(table) for part in manifest.parts for table in part.rows}
    orphans = [
        path
        for table in TABLES
        for path in (root / table).glob("date=*/*")
        if path.name.startswith(("part-", ".part-"))
        and path.relative_to(root).as_posix() not in live
    ]
    _remove(orphans)
    return len(orphans)


def remove(root: Path, parts: Collection[Part]) -> None:
    """Remove the files of parts that are no longer live, and date folders left empty."""
    _remove([root / part.path(table) for part in parts for table in part.rows])


def _remove(paths: Collection[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other parts are there
            path.parent.rmdir()
