"""A lake: a folder of Parquet files that is written in steps and read at any time."""

from __future__ import annotations

import datetime as dt
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import duckdb

from tracekit import inbox
from tracekit.errors import LakeError, TracekitError, UsageError
from tracekit.lake import catalogue, store
from tracekit.lake.labels import label_table
from tracekit.lake.manifest import Manifest, latest
from tracekit.lake.store import LakeInfo, sweep, write_lock
from tracekit.lake.take_in import take_in
from tracekit.lake.upkeep import compact, expire, write_baselines, write_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from tracekit.lake.derived import Earlier
    from tracekit.lake.sources import Progress, Source
    from tracekit.lake.summary import ImportSummary

_T = TypeVar("_T")

_log = logging.getLogger("tracekit")

SMALL_ROWS = 250_000
"""A part with fewer rows in its largest table is small: worth merging with others."""

MANY_PARTS = 16
"""A date with this many small parts is compacted after the write that made the last of them."""

MUCH_BYTES = 16 << 20
"""An inbox of this size takes a second or more to take in: worth a word before."""

_TAKE_IN_WAIT_S = 1.0
"""How long a reader waits for a writer to be able to take in the inbox."""

_ATTEMPTS = 5
"""Reads of a moving lake: each fails only if files vanished while it ran."""


class Lake:
    """The tables `sessions`, `tasks`, `attempts`, `outcomes` and `spans` in a folder.

    Readers need no lock: they see one version, whole. Writers take turns. What processes left in
    the lake's inbox is taken in before each reading; where that is not possible, because the lake
    is read-only or somebody writes, the reader is told so and sees what is there.

        lake = Lake.open(".tracekit", create=True)
        lake.ingest(open_sources(["traces.jsonl.gz"]))
        lake.query("SELECT stop_reason, count(*) FROM sessions GROUP BY 1")

    Attributes:
        path: The folder.
        info: What its `lake.json` says.
        wait_s: How long a writer waits for another one.
    """

    def __init__(
        self, path: Path, info: LakeInfo, wait_s: float, tell: Callable[[str], None]
    ) -> None:
        self.path = path
        self.info = info
        self.wait_s = wait_s
        self._tell = tell

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool = False,
        wait_s: float = 10.0,
        tell: Callable[[str], None] = _log.warning,
    ) -> Self:
        """Open a lake.

        Args:
            path: Its folder.
            create: Make one where the folder is absent or empty. Where processes left spans and
                nothing else is, one is made in any case.
            wait_s: How long a write waits for another writer.
            tell: Called with a line for the user about taking in the inbox; logged by default.

        Raises:
            LakeError: There is no lake, or a folder of other things, or one of a newer version.
        """
        root = Path(path).absolute()
        create = create or store.has_only_inbox(root)
        info = store.create(root) if create else store.read_info(root)
        return cls(root, info, wait_s, tell)

    def manifest(self) -> Manifest:
        """Return the newest version's list of parts."""
        return latest(self.path)

    def connect(self, as_of_ns: int | None = None) -> duckdb.DuckDBPyConnection:
        """Return an in-memory DuckDB with the public views over the newest version.

        The connection can read this version and nothing else of the machine. It stays valid until
        a writer replaces one of the files; then a statement raises a `duckdb.Error` and a new
        connection is needed. `read` and `query` do that.

        Args:
            as_of_ns: Resolve outcomes by the verdicts known then, UTC, ns since 1970.
        """
        self._take_in()
        return catalogue.connect(self.path, self.manifest(), as_of_ns)

    def read(
        self, question: Callable[[duckdb.DuckDBPyConnection], _T], as_of_ns: int | None = None
    ) -> _T:
        """Ask a question of one version; again of a newer one if its files vanished meanwhile.

        Args:
            question: Called with a connection; may run several statements, and fetches the rows.
            as_of_ns: See `connect`.

        Raises:
            LakeError: Files are missing though no writer replaced them.
        """
        self._take_in()
        for _ in range(_ATTEMPTS):
            manifest = self.manifest()
            try:
                with catalogue.connect(self.path, manifest, as_of_ns) as con:
                    return question(con)
            except duckdb.Error as error:
                missing = manifest.missing(self.path)
                if not missing:
                    raise
                if self.manifest().version == manifest.version:
                    raise LakeError(
                        f"{self.path}: the lake is damaged: {missing} is gone"
                    ) from error
        raise LakeError(f"{self.path}: writers replaced files faster than they could be read")

    def query(self, sql: str, as_of_ns: int | None = None) -> pa.Table:
        """Run one SELECT (or DESCRIBE, SHOW, SUMMARIZE, EXPLAIN) over the views.

        Raises:
            UsageError: It is not one statement that only reads, or DuckDB refuses it.
            LakeError: See `read`.
        """

        def ask(con: duckdb.DuckDBPyConnection) -> pa.Table:
            statements = con.extract_statements(sql)
            kinds = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
            if len(statements) != 1 or statements[0].type not in kinds:
                raise UsageError("expected one SELECT statement: the lake is read, not changed")
            return con.sql(sql).to_arrow_table()

        try:
            return self.read(ask, as_of_ns)
        except duckdb.Error as error:
            raise UsageError(str(error)) from error

    def ingest(
        self,
        sources: Iterable[Source],
        *,
        progress: Callable[[Progress], None] = lambda _: None,
        recorded_ns: int | None = None,
    ) -> ImportSummary:
        """Import the sources the lake does not have; see `tracekit.lake.ingest`.

        A source is all in or not at all. One that cannot be read is named in the summary and the
        others go on. Spans of a session may come in any order, number of sources and imports, and
        repeatedly: the session is the same.

        Args:
            sources: What to import.
            progress: Called with every step, from two threads.
            recorded_ns: When the lake learns of the verdicts found, UTC, ns since 1970; now.

        Raises:
            LakeError: Another writer is at work, or the lake cannot be written.
        """
        # The scanner is compiled code that takes long to load, and reading needs none of it.
        from tracekit.lake.ingest import Ingest  # noqa: PLC0415

        now = time.time_ns() if recorded_ns is None else recorded_ns
        with write_lock(self.path, self.wait_s):
            manifest = self._settled()
            run = Ingest(self.path, manifest, self.info.fingerprint_key, now, progress)
            summary = run.run(sources)
            self._tidy(run.manifest)
        return summary

    def add_sessions(  # noqa: PLR0913 - what there is to say about sessions
        self,
        spans: pa.Table,
        decisions: pa.Table,
        detections: pa.Table,
        *,
        earlier: Earlier | None = None,
        with_spans: bool = True,
        recorded_ns: int | None = None,
    ) -> None:
        """Store sessions that a sampler decided: of dropped ones the ledger's rows alone.

        Args:
            spans: All spans of the sessions, as `tracekit.lake.ledger.inspected` returns them, but
                for those of sessions that are derived already.
            decisions: What was decided about them, with the columns `decided.DECISIONS`.
            detections: What detectors found in them, with the columns `decided.DETECTIONS`.
            earlier: Rows of dropped sessions that need not be derived again.
            with_spans: Whether spans of kept sessions are stored.
            recorded_ns: When the lake learns of the verdicts found, UTC, ns since 1970; now.

        Raises:
            LakeError: Another writer is at work, or the lake cannot be written.
        """
        from tracekit.lake.ledger import write_sessions  # noqa: PLC0415 - as above

        now = time.time_ns() if recorded_ns is None else recorded_ns
        with write_lock(self.path, self.wait_s):
            self._tidy(
                write_sessions(
                    self.path,
                    self._settled(),
                    spans,
                    decisions,
                    detections,
                    earlier=earlier,
                    recorded_ns=now,
                    with_spans=with_spans,
                )
            )

    def add_outcomes(
        self, verdicts: Sequence[Mapping[str, Any]], *, recorded_ns: int | None = None
    ) -> None:
        """Record verdicts on sessions or tasks of theirs; a session may come later.

        Args:
            verdicts: Rows of `outcomes`: session_id, outcome (success, failure, undetermined),
                evidence (verified: a test, an evaluation, a human; declared: the agent's own word)
                and source; where known task_id (null: the whole session), score and decided_ns
                (else: when recorded).
            recorded_ns: When the lake learned of them, UTC, ns since 1970; now by default.

        Raises:
            InputError: A verdict lacks a field or has a word that means nothing here.
            LakeError: Another writer is at work, or the lake cannot be written.
        """
        now = time.time_ns() if recorded_ns is None else recorded_ns
        labels = label_table(verdicts, now)
        with write_lock(self.path, self.wait_s):
            self._tidy(write_labels(self.path, self._settled(), labels))

    def add_outcome(
        self,
        session_id: str,
        outcome: str,
        evidence: str,
        source: str,
        *,
        recorded_ns: int | None = None,
        **details: Any,
    ) -> None:
        """Record one verdict; `details` are task_id, score and decided_ns. See `add_outcomes`."""
        verdict = {
            "session_id": session_id,
            "outcome": outcome,
            "evidence": evidence,
            "source": source,
            **details,
        }
        self.add_outcomes([verdict], recorded_ns=recorded_ns)

    def add_baselines(self, baselines: pa.Table) -> None:
        """Store what sessions of a cohort usually cost, as a collector took it to decide by.

        Args:
            baselines: Rows of table `baselines` that the lake does not have.

        Raises:
            LakeError: Another writer is at work, or the lake cannot be written.
        """
        if baselines.num_rows:
            with write_lock(self.path, self.wait_s):
                self._tidy(write_baselines(self.path, self._settled(), baselines))

    def compact(self) -> None:
        """Merge the small parts of every date that has more than one.

        Raises:
            LakeError: Another writer is at work, or the lake cannot be written.
        """
        with write_lock(self.path, self.wait_s):
            compact(self.path, self._settled(), min_parts=2, small_rows=SMALL_ROWS)

    def expire(self, before_date: str) -> None:
        """Drop the sessions that started before a date, and verdicts reached before it.

        Args:
            before_date: First UTC date that stays, `YYYY-MM-DD`.

        Raises:
            UsageError: Not a date.
            LakeError: Another writer is at work, or the lake cannot be written.
        """
        try:
            first = dt.date.fromisoformat(before_date).isoformat()
        except ValueError as error:
            raise UsageError(f"{before_date!r} is not a date: write it YYYY-MM-DD") from error
        with write_lock(self.path, self.wait_s):
            expire(self.path, self._settled(), first)

    def _take_in(self) -> None:
        """Import what lies in the inbox, so that a reader sees it; never fail the reader."""
        try:
            waiting = inbox.state(self.path)
            if not waiting.bytes:
                return
            if waiting.bytes >= MUCH_BYTES:
                self._tell(f"taking in {waiting.bytes / 1e6:,.0f} MB of new spans")
            with write_lock(self.path, min(self.wait_s, _TAKE_IN_WAIT_S)):
                key = self.info.fingerprint_key
                self._tidy(take_in(self.path, self._settled(), key, self._tell))
        except (TracekitError, OSError, duckdb.Error) as error:
            self._tell(f"new spans wait in {self.path / inbox.FOLDER}, not shown yet: {error}")

    def _settled(self) -> Manifest:
        manifest = self.manifest()
        sweep(self.path, manifest)
        return manifest

    def _tidy(self, manifest: Manifest) -> None:
        compact(self.path, manifest, min_parts=MANY_PARTS, small_rows=SMALL_ROWS)
