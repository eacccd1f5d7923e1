"""What `SamplingExporter` was told, for the thread that decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from samplers.policy_model import Policy


@dataclass(frozen=True, slots=True)
class Settings:
    """What the exporter was told.

    Attributes:
        policy: What to keep.
        lake: Folder of the lake that gets a row for every session; None for no ledger.
        max_spans: Spans that may be pending.
        max_bytes: Bytes of them.
        interval_s: Seconds between two rounds of decisions.
        lake_seconds: Seconds between two writes to the lake.
    """

    policy: Policy
    lake: Path | None = None
    max_spans: int = 50_000
    max_bytes: int = 64 << 20
    interval_s: float = 5.0
    lake_seconds: float = 60.0
