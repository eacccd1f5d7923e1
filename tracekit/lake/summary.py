"""What an import did."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Failed:
    """A source that contributed nothing.

    Attributes:
        name: The source.
        why: What was wrong with it, in one line.
    """

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Things inside a source that hold no spans.

    Attributes:
        what: The thing: a file of an archive, a kind of record.
        why: Why it was left out.
        count: How many times.
    """

    what: str
    why: str
    count: int


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import read, left out and changed.

    Attributes:
        files: Sources imported now.
        already: Sources left alone since the lake has them.
        failed: Sources that contributed nothing, and why.
        skipped: Parts of imported sources that hold no spans, and why.
        spans: Spans read, repeated ones included.
        sessions: Sessions the lake did not have.
        updated: Sessions the lake had and that were derived again with more spans.
        outcomes: Verdicts that were new to the lake.
        bytes: Size of the imported sources, as they lie on disk.
        seconds: Time by stage: read, scan, inspect, models, write; and total. The first three run
            beside the others, so the stages may add up to more than the total.
        unmapped_stops: Spans by stop value, terminal state or error that has no meaning yet.
        unknown_operations: Spans by name, of those whose operation is unknown.
    """

    files: int
    already: int
    failed: tuple[Failed, ...]
    skipped: tuple[Skipped, ...]
    spans: int
    sessions: int
    updated: int
    outcomes: int
    bytes: int
    seconds: dict[str, float] = field(hash=False)
    unmapped_stops: dict[str, int] = field(hash=False)
    unknown_operations: dict[str, int] = field(hash=False)


@dataclass(slots=True)
class Tally:
    """An `ImportSummary` while it is counted."""

    files: int = 0
    already: int = 0
    failed: list[Failed] = field(default_factory=list)
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)
    spans: int = 0
    sessions: int = 0
    updated: int = 0
    outcomes: int = 0
    bytes: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    unmapped_stops: Counter[str] = field(default_factory=Counter)
    unknown_operations: Counter[str] = field(default_factory=Counter)

    def summary(self) -> ImportSummary:
        """Return the counts as they stand."""
        return ImportSummary(
            files=self.files,
            already=self.already,
            failed=tuple(self.failed),
            skipped=tuple(Skipped(*key, count) for key, count in sorted(self.skipped.items())),
            spans=self.spans,
            sessions=self.sessions,
            updated=self.updated,
            outcomes=self.outcomes,
            bytes=self.bytes,
            seconds=dict(self.seconds),
            unmapped_stops=dict(self.unmapped_stops.most_common()),
            unknown_operations=dict(self.unknown_operations.most_common()),
        )
