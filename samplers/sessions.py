"""Which spans belong together, and when a session is complete.

    ingested = sessions.ingest(scan(data), segment=7, base_offset=4096, now_ns=now)
    for session in sessions.due(now):
        verdict = decide(session)                     # reads the bytes: `assemble.py`
        late = sessions.settle(session, verdict, now)

A span belongs to the session its key names, and all of a trace belongs together: a key on any span
of it is the key of all of it, and two keys in one trace make one session. What was taken for two
sessions becomes one when the span that joins them comes.

A session is complete when every trace of it has a root that ended and a delay has passed; a delay
after a typed done event, unless another trace began since; when nothing came for a while; or at a
maximum age. A session with too many spans or bytes is due at once: what came so far is its head; of
what follows only the last spans are held, until it ends. One that goes on for hours gets interim
decisions: kept is final, not kept is asked again, with all its spans. Only the receive time counts.

Once decided, a session is remembered for a while with its verdict, which late spans follow.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from samplers import session_kernel as kernel
from samplers.due_kernel import BY_INTERIM, find_due
from samplers.pending import (
    ASKED,
    CUT,
    DECIDED,
    DECIDING,
    DIRTY,
    DUPLICATES,
    FRESH,
    KEY_NAME,
    MERGES,
    NAME,
    OPEN,
    RELEASED,
    ROW,
    SESSION,
    SESSIONS,
    SESSIONS_TOP,
    TRACE_NAME,
    Capacity,
    PendingStore,
)
from samplers.pending_kernel import evict
from samplers.session_columns import fingerprints, session_columns
from samplers.session_types import (
    TRIGGERS,
    DueSession,
    Ingested,
    LateSpans,
    Limits,
    Rows,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from samplers.recovery import Origin
    from samplers.session_columns import SessionColumns
    from tracekit.otlp.scan import Scan

__all__ = ["DueSession", "Ingested", "LateSpans", "Limits", "Sessions", "Verdict"]

Ints = npt.NDArray[np.int64]

_FACTS: Final = (
    "state", "first_name", "is_runaway", "spans", "bytes", "cut_spans", "cut_bytes", "first_seen",
    "last_seen", "min_start", "max_end",
)  # fmt: skip
"""Fields of a session that `DueSession` shows; from `spans` on in its order."""

_FIRST_NAME: Final = list(SESSION.names or ()).index("first_name")
_KIND: Final = list(NAME.names or ()).index("kind")
_LINK: Final = list(NAME.names or ()).index("link")

MAX_OFFSET: Final = 1 << 32


class Sessions:
    """The sessions that are under way, and the verdicts of those that are over.

    Not thread-safe: the caller holds a lock. `ingest` is compiled and works without the GIL.
    """

    def __init__(self, capacity: Capacity | None = None, limits: Limits | None = None) -> None:
        self.capacity = capacity or Capacity()
        self.limits = limits or Limits()
        self._store = PendingStore(self.capacity)
        self._keys: dict[int, str] = {}
        self._rules: dict[str, int] = {}  # in the order of their numbers

    @property
    def limits(self) -> Limits:
        """When a session is complete; what is set applies from then on."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits, self._words = limits, limits.words()

    def ingest(self, scan: Scan, segment: int, base_offset: int, now_ns: int) -> Ingested:
        """Take the spans of a request that is in the journal.

        Args:
            scan: The request.
            segment: Number of the segment file it was written to.
            base_offset: Where its first byte is in that file.
            now_ns: When it was received.

        Raises:
            PendingFullError: There is no room; nothing was taken, the sender should try again.
            ValueError: The segment file is 4 GiB long, or longer.
        """
        if base_offset + len(scan.data) >= MAX_OFFSET:
            raise ValueError(f"segment {segment} is longer than {MAX_OFFSET:,} bytes")
        if not scan.spans:
            return Ingested(0, 0, {}, ())
        self._store.check_room(scan.spans)
        state = self._store.state
        columns = session_columns(scan, state.seeds)
        before = int(state.counters[DUPLICATES])
        released = np.empty(4 * scan.spans, np.int32)
        fresh = np.empty((scan.spans, 2), np.int64)
        dirty = np.empty(scan.spans, np.int32)
        kernel.ingest(
            state, self._words, scan.buffer, scan.wire, scan.resources, scan.scopes,
            columns.prints, columns.has_key, columns.is_done, segment, base_offset, now_ns,
            released, fresh, dirty,
        )  # fmt: skip
        self._remember_keys(scan, columns, fresh)
        return Ingested(
            scan.spans,
            int(state.counters[DUPLICATES]) - before,
            Counter(released[: state.counters[RELEASED]].tolist()),
            tuple(self._drain(dirty[: state.counters[DIRTY]].tolist())),
        )

    def waiting_in(self, segments: Collection[int], part: range) -> Ints:
        """Return where spans of waiting sessions lie, shape (n, 2): segment and offset.

        Args:
            segments: Segments to look in.
            part: Which sessions to look at, of `slots`; the caller goes through them in parts.
        """
        state = self._store.state
        wanted = np.zeros(max(segments, default=0) + 1, np.bool_)
        wanted[list(segments)] = True
        numbers = slice(part.start, part.stop)
        found = np.empty((int(state.sessions["stored"][numbers].sum(dtype=np.int64)), 2), np.int64)
        count = kernel.find_in_segments(state, wanted, part.start, part.stop, found)
        return found[:count]

    @property
    def slots(self) -> int:
        """Places for sessions that are, or once were, in use."""
        return int(self._store.state.counters[SESSIONS_TOP])

    def moved(
        self, scan: Scan, segment: int, base_offset: int, origin: Origin
    ) -> npt.NDArray[np.bool_]:
        """Take note that spans lie elsewhere now; return for which of them that mattered.

        The others had left meanwhile, or another copy of theirs had replaced them.

        Args:
            scan: The request they are in now.
            segment: Number of the segment file it was written to.
            base_offset: Where its first byte is in that file.
            origin: Where they were.
        """
        is_moved = np.zeros(scan.spans, np.bool_)
        kernel.repoint(
            self._store.state, scan.buffer, scan.wire, scan.resources, scan.scopes, segment,
            base_offset, origin.segment, origin.offsets.astype(np.int64),
            is_moved,
        )  # fmt: skip
        return is_moved

    def _remember_keys(
        self, scan: Scan, columns: SessionColumns, fresh: npt.NDArray[np.int64]
    ) -> None:
        count = int(self._store.state.counters[FRESH])
        for name, row in fresh[:count].tolist():
            self._keys[name] = columns.key(scan, row)

    def _drain(self, numbers: list[int]) -> Iterator[LateSpans]:
        """Take the late spans out of decided sessions; the tail of a runaway one stays."""
        sessions = self._store.state.sessions
        for number in numbers:
            if sessions["is_runaway"][number]:
                sessions["is_dirty"][number] = 0
            elif sessions["stored"][number]:
                (rows,) = self._take(np.array([number]), np.zeros(1, np.bool_))
                yield LateSpans(self._key(number), rows, self._verdict(number))

    def _take(self, numbers: Ints, is_interim: npt.NDArray[np.bool_]) -> list[Rows]:
        """Return the rows of sessions; they are freed where the decision is not an interim one."""
        ends = np.cumsum(self._store.state.sessions["stored"][numbers], dtype=np.int64)
        rows = np.empty(int(ends[-1]) if ends.size else 0, ROW)
        kernel.take_sessions(self._store.state, numbers, is_interim, ends, rows)
        bounds = [0, *ends.tolist()]
        return [rows[begin:end] for begin, end in pairwise(bounds)]

    def _names(self, number: int) -> Iterator[tuple[int, int]]:
        """Yield number and kind of each name of a session."""
        names = self._store.state.names
        at = self._store.state.sessions.item(number)[_FIRST_NAME]
        while at >= 0:
            name = names.item(at)
            yield at, name[_KIND]
            at = name[_LINK]

    def _key(self, number: int) -> str:
        keys, traces = self._named(number)
        return min(keys) if keys else min(traces).hex()

    def _named(self, number: int) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        names = list(self._names(number))
        return (
            tuple(self._keys[at] for at, kind in names if kind == KEY_NAME),
            tuple(self._trace_id(at) for at, kind in names if kind == TRACE_NAME),
        )

    def _trace_id(self, name: int) -> bytes:
        first, second, *_ = self._store.state.names.item(name)
        return bytes(first.to_bytes(8, "little") + second.to_bytes(8, "little"))

    def _verdict(self, number: int) -> Verdict:
        session = self._store.state.sessions[number]
        return Verdict(
            bool(session["is_kept"]),
            int(session["threshold"]),
            float(session["weight"]),
            list(self._rules)[session["rule"]],
        )

    def due(self, now_ns: int, limit: int = 200_000) -> list[DueSession]:
        """Return sessions to decide, those waiting longest first; each must be settled.

        Args:
            now_ns: The time.
            limit: Spans of all of them together. One session more than fits is returned, so that
                each call gets on; the others come with the next call.
        """
        state = self._store.state
        found = np.empty((int(state.counters[SESSIONS_TOP]), 3), np.int64)
        count = find_due(state, self._words, now_ns, found)
        found = found[:count]
        found = found[np.lexsort((found[:, 0], found[:, 2]))]
        stored = np.cumsum(state.sessions["stored"][found[:, 0]])
        found = found[: int(np.searchsorted(stored, limit)) + 1]
        due = self._due(np.ascontiguousarray(found[:, 0]), found[:, 1])
        self._expire(now_ns)
        self._store.trim()
        return due

    def _due(self, numbers: Ints, triggers: Ints) -> list[DueSession]:
        sessions = self._store.state.sessions[numbers]
        rows = self._take(numbers, triggers == BY_INTERIM)
        facts = zip(*(sessions[name].tolist() for name in _FACTS), strict=True)
        return [
            DueSession(
                handle,
                *self._named(number),
                TRIGGERS[trigger],
                its_rows,
                self._verdict(number) if state == DECIDED else None,
                bool(is_runaway),
                *others,
            )
            for number, trigger, its_rows, (state, handle, is_runaway, *others) in zip(
                numbers.tolist(), triggers.tolist(), rows, facts, strict=True
            )
        ]

    def settle(self, due: DueSession, verdict: Verdict, now_ns: int) -> list[LateSpans]:
        """Take note of a decision; returns the spans that came meanwhile and must follow it.

        After an interim decision that does not keep the session, all its spans go on waiting.

        Args:
            due: What `due` returned, without a verdict of its own.
            verdict: The decision.
            now_ns: The time.

        Raises:
            ValueError: The session is not being decided.
        """
        state = self._store.state
        number = int(state.names["session"][due.handle])
        if number < 0 or state.sessions["state"][number] not in {ASKED, DECIDING}:
            raise ValueError(f"session {due.key} is not being decided")
        self._note(number, verdict, now_ns)
        return list(self._drain([number])) if state.sessions["state"][number] == DECIDED else []

    def restore(
        self, keys: Sequence[str], traces: Sequence[bytes], verdict: Verdict, now_ns: int
    ) -> list[LateSpans]:
        """Take note of a decision of an earlier run, after its spans were taken from the journal.

        Args:
            keys: `DueSession.keys` of the session decided then.
            traces: Its `DueSession.traces`.
            verdict: The decision.
            now_ns: When it was taken.

        Returns:
            All spans of it that are in the journal: they follow.

        Raises:
            PendingFullError: There is no room to remember it.
        """
        self._store.check_room(len(keys) + len(traces))
        state = self._store.state
        prints, _ = fingerprints(keys, state.seeds)
        ids = np.frombuffer(b"".join(traces), np.uint64).reshape(-1, 2)
        kinds = np.repeat(np.array([KEY_NAME, TRACE_NAME], np.int64), [len(keys), len(traces)])
        fresh = np.empty(kinds.size, np.int64)
        number = kernel.adopt(state, kinds, np.concatenate([prints, ids]), now_ns, fresh)
        names = fresh[: len(keys)].tolist()
        self._keys.update({at: key for at, key in zip(names, keys, strict=True) if at >= 0})
        self._note(number, verdict, now_ns)
        return list(self._drain([number]))

    def _note(self, number: int, verdict: Verdict, now_ns: int) -> None:
        rule = self._rules.setdefault(verdict.rule, len(self._rules))
        threshold = np.uint64(verdict.threshold)
        kernel.settle(
            self._store.state, number, verdict.kept, threshold, verdict.weight, rule, now_ns
        )

    def _expire(self, now_ns: int) -> None:
        """Forget decided sessions that are too old or too many."""
        state = self._store.state
        top = int(state.counters[SESSIONS_TOP])
        sessions = state.sessions[:top]
        decided = np.flatnonzero((sessions["state"] == DECIDED) & (sessions["stored"] == 0))
        touched = np.maximum(sessions["last_seen"][decided], sessions["decided_at"][decided])
        is_kept = sessions["is_kept"][decided] != 0
        gone = touched + self.limits.remembered <= now_ns
        for group, entries in (
            (is_kept, self.limits.kept_entries),
            (~is_kept, self.limits.dropped_entries),
        ):
            # Sorted by age, all but the youngest go.
            members = np.flatnonzero(group)
            members = members[np.argsort(touched[members], kind="stable")]
            gone[members[: max(members.size - entries, 0)]] = True
        numbers = decided[gone]
        for number in numbers.tolist():
            for at, kind in self._names(number):
                if kind == KEY_NAME:
                    del self._keys[at]
        evict(state, numbers)

    @property
    def pending_spans(self) -> int:
        """Spans that wait."""
        return self._store.live

    def stats(self) -> dict[str, int]:
        """Return counts for metrics: what waits, what is remembered, what has happened."""
        state = self._store.state
        states = state.sessions["state"][: int(state.counters[SESSIONS_TOP])]
        by_state = np.bincount(states, minlength=DECIDED + 1)
        return {
            "pending_spans": self._store.live,
            "pending_spans_limit": self._store.capacity,
            "sessions": int(state.counters[SESSIONS]),
            "open": int(by_state[OPEN]),
            "deciding": int(by_state[ASKED] + by_state[DECIDING]),
            "remembered": int(by_state[DECIDED]),
            "duplicates": int(state.counters[DUPLICATES]),
            "merges": int(state.counters[MERGES]),
            "cut_spans": int(state.counters[CUT]),
        }
