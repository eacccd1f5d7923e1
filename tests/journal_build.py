"""Build journals for tests: small segments, a clock that is told, and records easily compared."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from samplers.decision import DecisionRecord
from samplers.journal import Journal, JournalSettings, Location

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = 1_000_000_000


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.ns = 1_000 * SECOND

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return self.ns

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += round(seconds * SECOND)


def settings(**changes: Any) -> JournalSettings:
    """Return settings of a journal with segments of 4 KiB, one lane, and no fsync of its own."""
    small: dict[str, Any] = {
        "segment_bytes": 4096,
        "quota_bytes": 1 << 20,
        "reserve_bytes": 8192,
        "fsync": "never",
        "lanes": 1,
    }
    return JournalSettings(**(small | changes))


@contextmanager
def opened(folder: Path, clock: Clock | None = None, **changes: Any) -> Iterator[Journal]:
    """Open a journal, recovered, and close it at the end."""
    journal = Journal(folder, settings(**changes), clock=clock or Clock())
    for _ in journal.recover():
        pass
    try:
        yield journal
    finally:
        journal.close()


def put(journal: Journal, request: bytes, spans: int = 1, received_ns: int = 0) -> Location:
    """Append a request whose spans are ingested at once."""
    at = journal.append(request, received_ns, spans=spans)
    journal.ingested(at)
    return at


def recovered(folder: Path, **changes: Any) -> list[bytes]:
    """Return the requests a new process finds in a folder."""
    journal = Journal(folder, settings(**changes), clock=Clock())
    try:
        return [bytes(record.request) for record in journal.recover()]
    finally:
        journal.close()


def decision(session: int, *, keep: bool = True, **changes: Any) -> DecisionRecord:
    """Return a decision about a session; a kept one goes to the target "out"."""
    fields: dict[str, Any] = {
        "threshold": 0xE6666666666668 if keep else None,
        "policy": "keep-anomalies",
        "rule": "errors",
        "stratum": "a|b",
        "probability": 0.1,
        "trigger": "root_ended",
        "reasons": ("errors", "slow"),
        "decided_ns": 1_000 * SECOND,
        "spans": 3,
        "segments": (1,),
        "traces": (session.to_bytes(16, "big"),),
        "targets": ("out",) if keep else (),
    }
    return DecisionRecord(session=session, keep=keep, **(fields | changes))
