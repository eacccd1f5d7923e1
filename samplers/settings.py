"""How a journal is kept: sizes, times and what an acknowledgement promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracekit.errors import UsageError

MIB = 1 << 20

Fsync = Literal["interval", "always", "never"]
"""When written bytes are brought to the disk."""


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Settings of a journal.

    Attributes:
        segment_bytes: Size at which a segment file is full.
        segment_seconds: Age at which a segment is closed even if it is not full, so it can age out.
        quota_bytes: What the segments together may hold before requests are refused.
        reserve_bytes: What copying spans out of old segments may take beyond the quota.
        keep_back_seconds: How long a segment stays after its last session was decided.
        fsync: "interval": every `fsync_seconds`, and an acknowledgement survives the death of the
            process; "always": before every acknowledgement, it also survives a loss of power;
            "never": when the system likes.
        fsync_seconds: The interval.
        commit_window_seconds: How long the first of a group waits for others to share its fsync.
        lanes: Segments written at the same time, by as many threads.
        retry_seconds: What a sender is told to wait when the journal is full.
        open_segments: Old segments held mapped for reading.
        remember_seconds: How long a decision outlives its segments, for spans that come late.
        log_bytes: Size at which a file of the decision log is full.
    """

    segment_bytes: int = 64 * MIB
    segment_seconds: float = 60.0
    quota_bytes: int = 8192 * MIB
    reserve_bytes: int = 256 * MIB
    keep_back_seconds: float = 600.0
    fsync: Fsync = "interval"
    fsync_seconds: float = 0.1
    commit_window_seconds: float = 0.003
    lanes: int = 4
    retry_seconds: float = 5.0
    open_segments: int = 64
    remember_seconds: float = 3600.0
    log_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        if not 0 < self.segment_bytes <= 1024 * MIB:
            raise UsageError("segment_bytes must be between 1 and 1 GiB")
        if self.lanes < 1 or self.open_segments < 1:
            raise UsageError("lanes and open_segments must be at least 1")
        least = (self.lanes + 2) * self.segment_bytes
        if self.quota_bytes < least:
            raise UsageError(
                f"quota_bytes of {self.quota_bytes:,} is less than {self.lanes + 2} segments "
                f"({least:,} bytes): raise it, or lower segment_bytes or lanes"
            )
