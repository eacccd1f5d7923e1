"""From sources to batches of scanned spans: everything before the lake is touched."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from tracekit.errors import TracekitError
from tracekit.lake.columns import received_columns
from tracekit.lake.labels import label_table
from tracekit.lake.sources import Progress, Source
from tracekit.lake.summary import Failed
from tracekit.otlp.scan import scan
from tracekit.schema import arrow_schema
from tracekit.stops.outputs import inspect_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BATCH_SPANS = 500_000
"""Spans of a commit, unless one source alone has more: about 1 GB in the models."""

_SCAN_BYTES = 4 << 20
"""Requests are scanned together up to this size: a call costs about a millisecond, and what it
works on, several times the size, should fit the processor's cache."""

_SCANNERS = min(os.cpu_count() or 1, 4)
"""Blocks that are scanned at the same time."""

_AHEAD = 16
"""Blocks that are read, or scanned, before the first of them is asked for."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A source that was read to its end.

    Attributes:
        name: Name of the source.
        digest: Digest of its content.
        bytes: Its size on disk.
        spans: Scanned spans, without content.
        labels: Verdicts, with the columns of `outcomes`.
        skipped: What in it held no spans, and why.
    """

    name: str
    digest: str
    bytes: int
    spans: pa.Table
    labels: pa.Table
    skipped: tuple[tuple[str, str], ...]


class Preparer:
    """Reads, scans and inspects sources.

    Runs in one thread beside the models; the results are to be read when it has ended.

    Args:
        imported: Digests the lake has.
        key: Fingerprint key of the lake.
        recorded_ns: When the lake learned of the sources' verdicts.
        progress: Called with every step, in the thread that prepares.
    """

    def __init__(
        self,
        imported: Iterable[str],
        key: int,
        recorded_ns: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self.already = 0
        self.failed: list[Failed] = []
        self.skipped: Counter[tuple[str, str]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._pool = ThreadPoolExecutor(_SCANNERS)
        self._lock = threading.Lock()
        self._seen = set(imported)
        self._key = key
        self._recorded_ns = recorded_ns
        self._progress = progress

    def batches(self, sources: Iterable[Source]) -> Iterator[list[Prepared]]:
        """Return the sources that can be read, a commit's worth at a time."""
        batch: list[Prepared] = []
        for source in sources:
            prepared = self._attempt(source)
            if prepared is None:
                continue
            batch.append(prepared)
            if sum(item.spans.num_rows for item in batch) >= BATCH_SPANS:
                yield batch
                batch = []
        if batch:
            yield batch

    def _attempt(self, source: Source) -> Prepared | None:
        try:
            return self._prepare(source)
        except TracekitError as error:
            why = str(error)
        except OSError as error:
            why = error.strerror or str(error)
        except Exception as error:  # noqa: BLE001 a reader's fault in one source is not the others'
            why = f"cannot be read ({type(error).__name__}: {error})"
        self.failed.append(Failed(source.name, why))
        self._progress(Progress(source.name, "failed"))
        return None

    def _prepare(self, source: Source) -> Prepared | None:
        digesting = self._pool.submit(self._digest, source)
        tables = self._tables(source)
        # This takes up the first blocks, which are scanned while the digest is computed.
        first = next(tables, None)
        digest = digesting.result()
        if digest in self._seen:
            self.already += 1
            self._progress(Progress(source.name, "already", bytes=source.size_bytes))
            return None
        spans = self._spans(source, tables if first is None else chain([first], tables))
        labels = label_table(source.outcomes(), self._recorded_ns)
        skipped = tuple(source.skipped)
        if skipped and not spans.num_rows and not labels.num_rows:
            self.skipped.update(skipped)  # not imported: a later version may know what it is
            return None
        self._seen.add(digest)
        return Prepared(source.name, digest, source.size_bytes, spans, labels, skipped)

    def _digest(self, source: Source) -> str:
        with self._stage("read"):
            return source.digest

    def _spans(self, source: Source, scanned: Iterable[pa.Table]) -> pa.Table:
        tables = [arrow_schema(received_columns()).empty_table()]
        rows = 0
        for table in scanned:
            tables.append(table)
            rows += table.num_rows
            self._progress(Progress(source.name, "reading", rows, source.size_bytes))
        return pa.concat_tables(tables)

    def _tables(self, source: Source) -> Iterator[pa.Table]:
        """Yield the scanned blocks of a source in order, with some more under way."""
        pending: deque[Future[pa.Table]] = deque()
        for block in self._blocks(source):
            pending.append(self._pool.submit(self._scan, block))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _scan(self, block: bytes) -> pa.Table:
        with self._stage("scan"):
            scanned = scan(block, self._key).table
        with self._stage("inspect"):
            return inspect_table(scanned).select([column.name for column in received_columns()])

    def _blocks(self, source: Source) -> Iterator[bytes]:
        pending: list[bytes] = []
        size = 0
        chunks = iter(source.chunks())
        while True:
            with self._stage("read"):
                chunk = next(chunks, None)
            if pending and (chunk is None or size + len(chunk) > _SCAN_BYTES):
                yield pending[0] if len(pending) == 1 else b"".join(pending)
                pending, size = [], 0
            if chunk is None:
                return
            pending.append(chunk)
            size += len(chunk)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[name] += time.perf_counter() - started
