"""The decision log: what was decided about each session, and how far it was exported.

    log = DecisionLog(folder, journal.syncer, journal.settings)
    standing = log.decide(batch)                 # on record before anything is exported
    ...                                          # export what is kept
    log.exported("tempo", {session: watermark})  # when the target has it

**What is promised.** A session is decided once: `decide` of a session that has a decision returns
the earlier one, also after a restart, and only `overturn` (a late verdict) replaces it. Export is
at least once: a kept session is pending for each of its targets until `exported` is on record, so
a crash between the target's answer and that record sends the session again, and never loses it.
Spans that came later than the watermark of an export are pending too (`is_exported`).

A batch is one frame: after a crash all of its decisions are on record, or none is. A decision is
forgotten (`compact`) when none of its segments is left, its exports are done, and `remember` has
passed. Where its spans are is not indexed: it names segments and traces, and those are scanned
again (`samplers.moving.find_spans`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from samplers import frames
from samplers.decision import (
    ABANDONED,
    KEEP,
    SEGMENTS,
    TARGETS,
    UPTO,
    DecisionRecord,
    Entry,
    from_row,
    to_row,
)
from samplers.logfiles import LogFiles
from samplers.settings import JournalSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from samplers.syncing import Batch, Syncer

_SECOND: Final = 1_000_000_000
_FRAMES: Final = 8
"""Frames of which the rows are at hand."""


class DecisionLog:
    """A folder of log files. Safe to use from several threads.

    Args:
        folder: Where the files are: that of the journal, whose lock guards it.
        syncer: Of the journal: one fsync covers both.
        settings: Of the journal: `fsync`, `remember_seconds`, `log_bytes`.
        clock: Nanoseconds since 1970; given by tests.

    Raises:
        JournalError: A file in the folder is foreign, damaged in its header, or newer.
    """

    def __init__(
        self,
        folder: Path,
        syncer: Syncer,
        settings: JournalSettings | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._clock = clock
        settings = settings or JournalSettings()
        self._remember = round(settings.remember_seconds * _SECOND)
        self._lock = threading.RLock()
        self._entries: dict[int, Entry] = {}
        self._pending: dict[str, dict[int, None]] = {}
        self._frames: dict[tuple[int, int], dict[str, list[Any]]] = {}
        self._counts: Counter[str] = Counter()
        self._syncer = syncer
        self._fsync = settings.fsync
        self._files = LogFiles(folder, settings.log_bytes, clock)
        for number, frame in self._files.replay():
            self._apply(number, frame.offset, frame.kind, orjson.loads(frame.payload))
        self._counts["recovered"] = len(self._entries)

    def decide(self, decisions: Sequence[DecisionRecord]) -> list[DecisionRecord]:
        """Put decisions on record; return the standing ones, in the same order.

        A session that was decided before keeps its decision.

        Raises:
            JournalFullError: The disk is full: nothing is decided, try again later.
            JournalError: The disk fails.
        """
        batch: Batch | None = None
        with self._lock:
            fresh: dict[int, DecisionRecord] = {}
            for one in decisions:
                if one.session not in self._entries:
                    fresh.setdefault(one.session, one)
            if fresh:
                batch = self._write(frames.DECISIONS, [to_row(one) for one in fresh.values()])
            self._counts["repeated"] += len(decisions) - len(fresh)
            self._counts["decided"] += len(fresh)
            standing = [fresh.get(one.session) or self._read(one.session) for one in decisions]
        self._settle(batch)
        return standing

    def overturn(self, decision: DecisionRecord) -> None:
        """Replace the decision about a session: a late verdict pulled it back.

        Raises:
            JournalFullError: The disk is full: try again later.
            JournalError: The disk fails.
        """
        with self._lock:
            batch = self._write(frames.DECISIONS, [to_row(decision)])
            self._counts["overturned"] += 1
        self._settle(batch)

    def get(self, session: int) -> DecisionRecord | None:
        """Return the decision about a session, if it is still on record."""
        with self._lock:
            return self._read(session) if session in self._entries else None

    def exported(self, target: str, upto: Mapping[int, int]) -> None:
        """Say that a target has sessions.

        Args:
            target: Name of the target.
            upto: Per session, the journal's watermark from before its spans were gathered: what
                came later is not in the export.
        """
        rows = [[_name(session), sequence] for session, sequence in upto.items()]
        with self._lock:
            self._write(frames.EXPORTED, [target, rows])
            self._counts["exported"] += len(rows)

    def is_exported(self, session: int, target: str, sequence: int) -> bool:
        """Return whether a target has the spans of a session from a record of the journal."""
        entry = self._entries.get(session)
        return entry is not None and entry.upto.get(target, -1) >= sequence

    def pending(self, target: str) -> list[DecisionRecord]:
        """Return kept sessions a target does not have yet, oldest first."""
        with self._lock:
            return [self._read(session) for session in self._pending.get(target, ())]

    def targets(self) -> list[str]:
        """Return the targets that have sessions pending."""
        with self._lock:
            return sorted(name for name, sessions in self._pending.items() if sessions)

    def abandon(self, target: str) -> int:
        """Wait no more for a target, one that is no longer configured; return for how many."""
        with self._lock:
            left = len(self._pending.get(target, ()))
            if left:
                self._write(frames.ABANDONED, target)
                self._counts["abandoned"] += left
            return left

    def late(self, session: int, segments: Iterable[int]) -> None:
        """Say that more segments hold spans of a decided session, so it is remembered for them."""
        with self._lock:
            entry = self._entries.get(session)
            new = sorted(set(segments) - set(entry.segments)) if entry else []
            if new:
                self._write(frames.LATE, [_name(session), new])

    def compact(self, live: Iterable[int]) -> int:
        """Drop whole files from the oldest on; the few decisions in them still needed are copied.

        Args:
            live: The segments that are left.

        Returns:
            How many decisions were forgotten.
        """
        segments = frozenset(live)
        gone = 0
        with self._lock:
            # A file closed so long ago holds only decisions that are older still.
            for number in self._files.closed(self._clock() - self._remember):
                here = [s for s, entry in self._entries.items() if entry.file == number]
                needed = [s for s in here if self._needed(s, segments)]
                if 2 * len(needed) > len(here):
                    break
                self._copy(needed)
                for session in set(here) - set(needed):
                    del self._entries[session]
                gone += len(here) - len(needed)
                self._files.remove(number)
            self._counts["forgotten"] += gone
        return gone

    def roll(self) -> None:
        """Close the current file, so that `compact` may take it."""
        with self._lock:
            self._files.roll()

    def state(self) -> dict[str, int]:
        """Return counters since the start, and what is on record now, for metrics."""
        with self._lock:
            return {
                **self._counts,
                "sessions": len(self._entries),
                "pending": sum(len(sessions) for sessions in self._pending.values()),
                "files": self._files.count,
                "log_bytes": self._files.size,
                "torn": self._files.torn,
            }

    def _needed(self, session: int, live: frozenset[int]) -> bool:
        entry = self._entries[session]
        waits = any(session in sessions for sessions in self._pending.values())
        return waits or not live.isdisjoint(entry.segments)

    def _copy(self, sessions: Sequence[int]) -> None:
        """Write decisions again, with how far they were exported, at the end of the log."""
        rows = [to_row(self._read(session), self._entries[session]) for session in sessions]
        if rows:
            self._write(frames.DECISIONS, rows)
            self._syncer.sync()  # the file they are from is about to go

    def _read(self, session: int) -> DecisionRecord:
        entry = self._entries[session]
        return from_row(self._rows(entry.file, entry.offset)[_name(session)])

    def _rows(self, file: int, offset: int) -> dict[str, list[Any]]:
        """Return the rows of a frame by session; those read last are at hand.

        Sessions that were decided together are asked for together: after a restart, and when their
        file goes.
        """
        rows = self._frames.pop((file, offset), None)
        if rows is None:
            rows = {row[0]: row for row in orjson.loads(self._files.payload(file, offset))}
        self._frames[file, offset] = rows
        if len(self._frames) > _FRAMES:
            del self._frames[next(iter(self._frames))]
        return rows

    def _write(self, kind: int, content: Any) -> Batch | None:
        number, offset, handle = self._files.append(kind, orjson.dumps(content))
        self._apply(number, offset, kind, content)
        return None if self._fsync == "never" else self._syncer.wrote(handle)

    def _settle(self, batch: Batch | None) -> None:
        """Wait for the disk where that is promised; outside the lock, so waiters share."""
        if batch is not None and self._fsync == "always":
            self._syncer.wait(batch)

    def _apply(self, number: int, offset: int, kind: int, content: Any) -> None:
        """Take a frame into the index; the same whether it was just written or is replayed."""
        if kind == frames.DECISIONS:
            for row in content:
                self._apply_decision(number, offset, row)
        elif kind == frames.EXPORTED:
            target, rows = content
            for session, sequence in rows:
                self._apply_export(int(session, 16), target, sequence)
        elif kind == frames.LATE:
            entry = self._entries.get(int(content[0], 16))
            if entry is not None:
                entry.segments = (*entry.segments, *content[1])
        elif kind == frames.ABANDONED:
            for session in list(self._pending.get(content, ())):
                self._apply_export(session, content, ABANDONED)

    def _apply_decision(self, number: int, offset: int, row: list[Any]) -> None:
        session, upto = int(row[0], 16), row[UPTO]
        self._entries[session] = Entry(number, offset, tuple(row[SEGMENTS]), dict(upto))
        if row[KEEP]:
            for target in row[TARGETS]:
                if target not in upto:
                    self._pending.setdefault(target, {})[session] = None

    def _apply_export(self, session: int, target: str, sequence: int) -> None:
        entry = self._entries.get(session)
        if entry is not None:
            entry.upto[target] = max(sequence, entry.upto.get(target, -1))
        self._pending.get(target, {}).pop(session, None)


def _name(session: int) -> str:
    """Return a session's fingerprint as the log writes it: JSON has no integers of 128 bits."""
    return f"{session:032x}"
