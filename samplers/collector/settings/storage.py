"""Settings of the journal, of sessions, of the policy, of the lake and of the health endpoint."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic reads the annotations
from typing import Literal

from pydantic import ByteSize, Field, model_validator

from samplers.collector.settings.base import (
    Address,
    Count,
    Duration,
    Settings,
    Size,
    is_loopback,
    split_address,
)

_MIB = 1 << 20


class JournalSettings(Settings):
    """Where requests are written before they are acknowledged."""

    fsync: Literal["interval", "always", "never"] = Field(
        default="interval",
        description="`interval`: to disk every `fsync_interval`; a crash of the process loses "
        "nothing, a power cut what came since. `always`: before every acknowledgement, requests "
        "taken together; each waits for the disk. `never`: when the system likes to.",
    )
    fsync_interval: Duration = Field(default=0.1, description="Between two writes to disk.")
    commit_window: Duration = Field(
        default=0.003,
        description="With `always`: how long a request waits for others to share the write.",
    )
    segment: Size = Field(
        default=ByteSize(64 * _MIB),
        le=1024 * _MIB,
        description="Bytes of one segment file. Space is freed file by file.",
    )
    segment_age: Duration = Field(
        default=60.0,
        description="When a segment is closed although it is not full, so that it can age out.",
    )
    quota: Size = Field(
        default=ByteSize(8192 * _MIB),
        description="Bytes of all segments. Beyond it, clients are told to come again.",
    )
    reserve: Size = Field(
        default=ByteSize(256 * _MIB),
        description="Bytes beyond `quota` for spans of long sessions that are copied out of old "
        "segments, so that these can go.",
    )
    keep_back: Duration = Field(
        default=600.0,
        description="How long segments stay after their sessions were decided, so that "
        "`tracekit keep` can pull a dropped one back. Their bytes count towards `quota`, and are "
        "given up before a client is refused.",
    )
    lanes: Count = Field(default=4, description="Segments written at a time, by as many threads.")
    retry: Duration = Field(
        default=5.0, description="What clients are told to wait when the journal is full."
    )
    open_segments: Count = Field(
        default=64, description="Old segments that stay mapped into memory for reading."
    )

    @model_validator(mode="after")
    def _room_for_lanes(self) -> JournalSettings:
        least = (self.lanes + 2) * self.segment
        if self.quota < least:
            raise ValueError(
                f"quota must be at least {self.lanes + 2} segments ({least:,} bytes), two more "
                "than lanes"
            )
        return self


class SessionSettings(Settings):
    """When a session is over, and what is remembered of it; a policy's own `sessions` wins."""

    root_delay: Duration = Field(
        default=5.0,
        description="After the root span ended, for a session that is one trace: time for spans "
        "that are still on their way. Later ones follow the decision, but took no part in it.",
    )
    keyed_root_delay: Duration = Field(
        default=30.0,
        description="The same for a session with a key, which may have another turn.",
    )
    done_delay: Duration = Field(default=5.0, description="After a typed done event, likewise.")
    idle: Duration = Field(
        default=300.0,
        description="Without a new span. Agents that wait for people longer than this are "
        "decided in between.",
    )
    max_age: Duration = Field(
        default=21600.0, description="Since the first span; then it is decided as it is."
    )
    interim: Duration = Field(
        default=0.0,
        description="Between interim decisions of a session that runs on; 0 takes none. What such "
        "a decision keeps is exported at once and stays kept.",
    )
    max_spans: Count = Field(
        default=20_000,
        description="Spans; beyond it a session runs away: it is decided at once, and of what "
        "follows only the last `tail_spans` are held.",
    )
    max_bytes: Size = Field(default=ByteSize(64 * _MIB), description="Bytes of spans, likewise.")
    tail_spans: Count = Field(
        default=1_000, description="Spans held of the end of a runaway session."
    )
    remembered: Duration = Field(
        default=3600.0,
        description="How long a decision is remembered for late spans, after the last of them. A "
        "late span of a forgotten session begins a new one.",
    )
    kept_entries: Count = Field(
        default=100_000, description="Decided sessions remembered that were kept."
    )
    dropped_entries: Count = Field(
        default=400_000, description="Decided sessions remembered that were dropped."
    )


class PolicySettings(Settings):
    """What to keep."""

    preset: str | None = Field(
        default=None,
        description="A policy that ships with tracekit: keep-anomalies, keep-all, errors-only or "
        "baseline-only. keep-anomalies where neither this nor `file` is set.",
    )
    file: Path | None = Field(default=None, description="A policy file of your own.")
    shadows: list[Path] = Field(
        default_factory=list,
        description="Policy files that are decided and counted beside, and keep nothing.",
    )
    watch: bool = Field(
        default=True,
        description="Take over a changed file. One with errors is refused and the old policy "
        "stays. SIGHUP does the same at any time.",
    )
    batches: Count | None = Field(
        default=None,
        description="Batches of sessions looked at at a time, each by a thread of its own. They "
        "take up to half of the memory while there is much to decide: with less of it they are "
        "smaller. By default one per core and 2 GiB of memory, up to 4.",
    )

    @model_validator(mode="after")
    def _one(self) -> PolicySettings:
        if self.preset is not None and self.file is not None:
            raise ValueError("give either preset or file")
        return self


class LakeSettings(Settings):
    """Where the ledger goes: every session, kept or not, and the spans of kept ones."""

    folder: Path | None = Field(
        default=None, description="Folder of the lake. Without it, no ledger is written."
    )
    spans: bool = Field(default=True, description="Whether spans of kept sessions go there too.")
    flush_interval: Duration = Field(
        default=60.0,
        description="Between two writes. Shorter: fresher tables, more and smaller files.",
    )


class HealthSettings(Settings):
    """Where /live, /ready, /metrics and /keep answer."""

    enabled: bool = Field(default=True, description="Whether to listen.")
    endpoint: Address = Field(
        default="127.0.0.1:13133",
        description="Address to listen on. Who reaches it can read counts and names of policies, "
        "and have dropped sessions kept, but reads no spans.",
    )
    insecure: bool = Field(
        default=False, description="Listen beyond this machine. There are no tokens and no TLS."
    )

    @model_validator(mode="after")
    def _guarded(self) -> HealthSettings:
        if not (is_loopback(split_address(self.endpoint)[0]) or self.insecure):
            raise ValueError(
                f"{self.endpoint} can be reached from other machines: listen on 127.0.0.1, or say "
                "`insecure: true`"
            )
        return self
