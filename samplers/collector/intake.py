"""Requests into the journal, and their spans into the sessions under way."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from samplers.collector.outcome import Accepted, Malformed, RetryLater
from samplers.pending import PendingFullError
from tracekit.errors import InputError, JournalError, JournalFullError
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    import threading
    from collections import Counter
    from collections.abc import Callable

    from samplers.collector.outcome import Outcome
    from samplers.journal import Journal
    from samplers.recovery import Origin, Record
    from samplers.session_types import Ingested, LateSpans
    from samplers.sessions import Sessions
    from tracekit.otlp.scan import Scan

_log = logging.getLogger(__name__)

_FULL_SECONDS: Final = 2.0
_FULL: Final = RetryLater(_FULL_SECONDS, "too many spans wait for their sessions to end")


class Intake:
    """Takes requests, from any thread.

    Attributes:
        late: Spans of decided sessions that are to follow; guarded by the lock.
        is_full: Whether nothing is taken until sessions have ended.
    """

    def __init__(
        self,
        journal: Journal,
        sessions: Sessions,
        lock: threading.Lock,
        counts: Counter[str],
        clock: Callable[[], int],
    ) -> None:
        """Connect the parts.

        Args:
            journal: Where requests are written.
            sessions: What takes their spans.
            lock: Guards the sessions.
            counts: Where spans are counted.
            clock: Nanoseconds since 1970.
        """
        self.late: list[LateSpans] = []
        self.is_full = False
        self._journal = journal
        self._sessions = sessions
        self._lock = lock
        self._counts = counts
        self._clock = clock
        self._turn = -1
        self._copies: set[int] = set()

    def receive(self, request: bytes, tenant: str = "") -> Outcome:
        """Take a request; when it is accepted it is in the journal.

        Args:
            request: Bytes of an `ExportTraceServiceRequest`.
            tenant: Whose it is, where the connection tells.
        """
        try:
            scanned = scan(request)
        except InputError as error:
            return Malformed(str(error))
        if not scanned.spans:
            return Accepted()
        if self.is_full:
            return _FULL
        try:
            return self._take(request, scanned, tenant)
        except JournalFullError as error:
            return RetryLater(error.retry_seconds, "the journal is full")
        except JournalError:
            _log.exception("the journal cannot be written")
            return RetryLater(_FULL_SECONDS, "the journal cannot be written", full=False)

    def take_back(self, record: Record) -> bool:
        """Take a record of an earlier run; false where there is no room for it.

        Spans that were moved replace those they are copies of, where these have just been taken
        back too.
        """
        scanned = scan(record.request)
        if record.turn != self._turn:
            self._turn, self._copies = record.turn, set()
        if record.origin is not None and record.origin.segment in self._copies:
            self._supersede(record, record.origin, scanned)
        else:
            now = record.received_ns
            try:
                self._note(self._sessions.ingest(scanned, record.segment, record.offset, now), now)
            except PendingFullError:
                return False
        self._copies.add(record.segment)
        return True

    def _supersede(self, record: Record, origin: Origin, scanned: Scan) -> None:
        is_moved = self._sessions.moved(scanned, record.segment, record.offset, origin)
        count = int(is_moved.sum())
        self._journal.release(origin.segment, count, 0)
        self._journal.release(record.segment, len(is_moved) - count, 0)

    def _take(self, request: bytes, scanned: Scan, tenant: str) -> Outcome:
        now = self._clock()
        at = self._journal.append(request, now, spans=scanned.spans, meta=tenant.encode())
        try:
            with self._lock:
                self._note(self._sessions.ingest(scanned, at.segment, at.offset, now), now)
        except PendingFullError:
            self.is_full = True
            self._journal.release(at.segment, scanned.spans)
            return _FULL
        finally:
            self._journal.ingested(at)
        return Accepted()

    def _note(self, ingested: Ingested, now_ns: int) -> None:
        self._counts["spans"] += ingested.spans
        self._counts["late_spans"] += sum(len(late.rows) for late in ingested.late)
        self.late.extend(ingested.late)
        for segment, spans in ingested.released.items():
            self._journal.release(segment, spans, now_ns)
