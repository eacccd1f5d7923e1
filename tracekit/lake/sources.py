"""What an import takes, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Source(Protocol):
    """A file, archive or stream of spans; `tracekit.importers.open_sources` makes them."""

    @property
    def name(self) -> str:
        """Name for messages."""

    @property
    def digest(self) -> str:
        """SHA-256 of the content: the same content is imported once."""

    @property
    def size_bytes(self) -> int:
        """Size as it lies on disk."""

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """What holds no spans, and why; complete when `chunks` has ended."""

    def chunks(self) -> Iterator[bytes]:
        """Return OTLP ``ExportTraceServiceRequest`` messages."""

    def outcomes(self) -> Sequence[Mapping[str, Any]]:
        """Return the verdicts it knows, see `labels.label_table`; called after `chunks`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What an import is doing.

    Attributes:
        source: Name of the source.
        state: reading, imported, already (in the lake) or failed.
        spans: Spans read of this source so far.
        bytes: Size of the source on disk.
    """

    source: str
    state: str
    spans: int = 0
    bytes: int = 0
