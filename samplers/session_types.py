"""What session assembly is told, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from samplers.due_kernel import LIMITS
from samplers.pending import BEFORE_FLAG

Rows = npt.NDArray[Any]
"""Rows of pending spans, `pending.ROW`, in the order of arrival."""

TRIGGERS: Final = ("root", "done", "idle", "max_age", "max_spans", "max_bytes", "interim")
"""Why a session is due, by the kernel's number."""

SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """When a session is complete. Times are nanoseconds of the collector's clock.

    Attributes:
        root_delay: Wait after the last open root ended, for a session that is one trace by id.
        keyed_root_delay: The same for a session with a key, which may have another turn.
        done_delay: Wait after a done event.
        idle: Without any span for so long, a session is over.
        max_age: Since its first span was received.
        interim: Period of interim decisions; 0 takes none.
        max_spans: Beyond it a session runs away: it is decided at once, then only its tail is held.
        max_bytes: The same in bytes of its spans.
        tail_spans: Spans held of the end of a runaway session.
        remembered: How long after its last span a decided session is remembered.
        kept_entries: Decided sessions remembered that were kept.
        dropped_entries: Decided sessions remembered that were dropped.
    """

    root_delay: int = 5 * SECOND
    keyed_root_delay: int = 30 * SECOND
    done_delay: int = 5 * SECOND
    idle: int = 300 * SECOND
    max_age: int = 6 * 3600 * SECOND
    interim: int = 0
    max_spans: int = 20_000
    max_bytes: int = 64 << 20
    tail_spans: int = 1_000
    remembered: int = 3600 * SECOND
    kept_entries: int = 100_000
    dropped_entries: int = 400_000

    def words(self) -> npt.NDArray[np.int64]:
        """Return what the kernel needs of them."""
        names = [field.name for field in fields(self)][:LIMITS]
        return np.array([getattr(self, name) for name in names], np.int64)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about a session.

    Attributes:
        kept: Whether its spans are exported.
        threshold: T it was decided by.
        weight: How many sessions a kept one stands for; 0 where that is not known.
        rule: Name of what decided.
    """

    kept: bool
    threshold: int = 0
    weight: float = 1.0
    rule: str = ""


@dataclass(frozen=True, slots=True)
class LateSpans:
    """Spans of a session that was decided before: they follow.

    Attributes:
        key: Key of the session, as `DueSession.key`.
        rows: Where they are.
        verdict: What to follow.
    """

    key: str
    rows: Rows
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a request.

    Attributes:
        spans: Spans of the request.
        duplicates: Of these, copies of spans received before.
        released: Spans by segment whose bytes are not needed any more: copies, and what was cut
            from runaway sessions.
        late: Spans of sessions already decided.
    """

    spans: int
    duplicates: int
    released: dict[int, int]
    late: tuple[LateSpans, ...]


@dataclass(frozen=True, slots=True)
class DueSession:
    """A session to decide.

    Attributes:
        handle: Names it to `Sessions.settle`.
        keys: Its session keys; mostly one, or none.
        traces: Its trace ids.
        trigger: One of `TRIGGERS`.
        rows: Its pending spans.
        verdict: What was decided before, for the tail of a runaway session: to be followed.
        is_runaway: Whether it has gone over `max_spans` or `max_bytes`.
        spans: Spans received, those cut included.
        bytes: Their bytes.
        cut_spans: Spans cut.
        cut_bytes: Their bytes.
        first_seen_ns: When the first span was received.
        last_seen_ns: When the last one was.
        start_ns: Earliest start of a span.
        end_ns: Latest end.
    """

    handle: int
    keys: tuple[str, ...]
    traces: tuple[bytes, ...]
    trigger: str
    rows: Rows
    verdict: Verdict | None
    is_runaway: bool
    spans: int
    bytes: int
    cut_spans: int
    cut_bytes: int
    first_seen_ns: int
    last_seen_ns: int
    start_ns: int
    end_ns: int

    @property
    def key(self) -> str:
        """The smallest session key, else the smallest trace id in hex."""
        return min(self.keys) if self.keys else min(self.traces).hex()

    @property
    def is_interim(self) -> bool:
        """Whether the session goes on, so that not keeping it is not final."""
        return self.trigger == "interim"

    @property
    def asked_before(self) -> npt.NDArray[np.bool_]:
        """Which spans were in an earlier interim decision, which did not keep them."""
        before: npt.NDArray[np.bool_] = (self.rows["flags"] & BEFORE_FLAG) != 0
        return before
