"""The lake: Parquet partitions, the manifest that commits them, and the views."""

from __future__ import annotations

from tracekit.lake.lake import Lake
from tracekit.lake.sources import Progress, Source
from tracekit.lake.summary import Failed, ImportSummary, Skipped

__all__ = ["Failed", "ImportSummary", "Lake", "Progress", "Skipped", "Source"]
