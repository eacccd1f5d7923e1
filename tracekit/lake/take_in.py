"""Spans that processes left in the inbox, into the lake by way of the ordinary import.

A claimed file is a source. It is deleted once a commit holds its spans; after a crash in between,
the next reader finds it again, and its digest among the imports, and only deletes it.
"""

from __future__ import annotations

import functools
import hashlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tracekit import inbox
from tracekit.otlp import files, framing
from tracekit.otlp.streams import DEFAULT_LIMITS, Budget, file_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tracekit.lake.manifest import Manifest

PREFIX = f"{inbox.FOLDER}/"
"""Before the names of these sources among the imports."""


@dataclass
class InboxSource:
    """A claimed file of the inbox, as `tracekit.lake.sources.Source`.

    Attributes:
        path: The file.
        skipped: Nothing: all of it is ours.
    """

    path: Path
    skipped: Sequence[tuple[str, str]] = field(default=())

    @property
    def name(self) -> str:
        """Name for messages and among the imports."""
        return PREFIX + self.path.name

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the requests, joined to chunks.

        Raises:
            InputError: The file is damaged.
        """
        budget = Budget(DEFAULT_LIMITS.total_bytes)
        stream = file_stream(self.path, self.name, DEFAULT_LIMITS, budget)
        try:
            requests = framing.requests(stream, framing.Framing.DELIMITED)
            yield from files.chunks(requests, DEFAULT_LIMITS)
        finally:
            stream.close()

    def outcomes(self) -> list[dict[str, Any]]:
        """Return no verdicts beside those on the spans."""
        return []


def take_in(root: Path, manifest: Manifest, key: int, tell: Callable[[str], None]) -> Manifest:
    """Import the files of the inbox and delete them; hold the write lock.

    A file that cannot be imported is set aside.

    Args:
        root: The lake.
        manifest: Its newest version.
        key: Its fingerprint key.
        tell: Called with a line for the user about what was lost.

    Returns:
        The version with the spans.

    Raises:
        LakeError: The lake cannot be written; nothing is lost.
        OSError: The inbox cannot be changed; nothing is lost.
    """
    # The scanner is compiled code that takes long to load, and reading needs none of it.
    from tracekit.lake.ingest import Ingest  # noqa: PLC0415

    taken = inbox.claim(root)
    if cut := sum(item.cut_bytes for item in taken):
        tell(f"{cut:,} bytes of spans are lost: a process ended before they were written whole")
    sources = [InboxSource(item.path) for item in taken]
    run = Ingest(root, _without_deleted(manifest, root), key, time.time_ns(), lambda _: None)
    failed = {item.name: item.why for item in run.run(sources).failed}
    for source in sources:
        if source.name in failed:
            kept = inbox.set_aside(source.path)
            tell(f"spans are left out, and kept as {kept}: {failed[source.name]}")
        else:
            source.path.unlink()
    return run.manifest


def _without_deleted(manifest: Manifest, root: Path) -> Manifest:
    """Return a manifest that has forgotten the inbox's files that are gone.

    Their names are never used again, and a list that grew with every look at the lake would be
    written with every commit.
    """
    imports = {
        digest: name
        for digest, name in manifest.imports.items()
        if not name.startswith(PREFIX) or (root / name).exists()
    }
    return replace(manifest, imports=imports)
