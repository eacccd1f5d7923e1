"""The way of a source into the lake.

A thread reads, scans and inspects the next batch while the models run over this one and the part
files are written. A batch is one commit: its sources, and every session they touch, appear at once.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from tracekit.lake.commit import Commit
from tracekit.lake.derive import Derivation
from tracekit.lake.prepare import Prepared, Preparer
from tracekit.lake.sources import Progress, Source
from tracekit.lake.summary import Failed, ImportSummary, Tally
from tracekit.stops import unmapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tracekit.lake.manifest import Manifest


class Ingest:
    """One import. Hold the write lock from its making to the end of `run`.

    Args:
        root: The lake.
        manifest: Its newest version.
        key: Its fingerprint key.
        recorded_ns: When the lake learns of the verdicts found, UTC, ns since 1970.
        progress: Called with every step, from two threads.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        key: int,
        recorded_ns: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self.manifest = manifest
        self._root = root
        self._recorded_ns = recorded_ns
        self._progress = progress
        self._preparer = Preparer(manifest.imports, key, recorded_ns, progress)
        self._tally = Tally()

    def run(self, sources: Iterable[Source]) -> ImportSummary:
        """Import the sources the lake does not have.

        Returns:
            What was imported and what was not.

        Raises:
            LakeError: The lake cannot be written; batches before this one are in it.
        """
        with self._stage("total"), ThreadPoolExecutor(max_workers=1) as pool:
            batches = self._preparer.batches(sources)
            upcoming = pool.submit(next, batches, None)
            while batch := upcoming.result():
                upcoming = pool.submit(next, batches, None)
                self._import(batch)
        tally = self._tally
        tally.already = self._preparer.already
        tally.failed = [*self._preparer.failed, *tally.failed]
        tally.skipped += self._preparer.skipped
        tally.seconds |= self._preparer.seconds
        return tally.summary()

    def _import(self, batch: list[Prepared]) -> None:
        try:
            self._commit(batch)
        except duckdb.DataError as error:  # a number out of range: the fault of the spans
            if len(batch) > 1:  # find the one that cannot be imported: the others can
                for item in batch:
                    self._import([item])
                return
            why = f"the models cannot read its spans: {error}"
            self._tally.failed.append(Failed(batch[0].name, why))
            self._progress(Progress(batch[0].name, "failed"))

    def _commit(self, batch: list[Prepared]) -> None:
        spans = pa.concat_tables([item.spans for item in batch])
        labels = pa.concat_tables([item.labels for item in batch])
        with Derivation(self._root, self.manifest, spans, labels) as derivation:
            commit = Commit(self._root, self.manifest)
            with self._stage("models"):
                derivation.derive(self._recorded_ns, commit)
            with self._stage("write"):
                derivation.write(commit)
                imports = {item.digest: item.name for item in batch}
                self.manifest = commit.publish(derivation.touched_parts, imports)
            self._count(derivation)
        for item in batch:
            self._tally.files += 1
            self._tally.bytes += item.bytes
            self._tally.spans += item.spans.num_rows
            self._tally.skipped.update(item.skipped)
            self._progress(Progress(item.name, "imported", item.spans.num_rows, item.bytes))

    def _count(self, derivation: Derivation) -> None:
        tally = self._tally
        known = "session_id IN (SELECT session_id FROM touched)"
        tally.updated += derivation.rows("sessions", known)
        tally.sessions += derivation.rows("sessions", f"NOT {known}")
        tally.outcomes += derivation.rows("new_outcomes", f"recorded_ns = {self._recorded_ns}")
        for value in unmapped(derivation.con):
            tally.unmapped_stops[value.raw] += value.spans
        tally.unknown_operations += derivation.rows_by("name", "spans", "operation = 'unknown'")

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._tally.seconds[name] += time.perf_counter() - started
