"""Journal and decision log of a process that keeps nothing on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from samplers.decisions import DecisionLog
from samplers.journal import Journal
from samplers.lanes import Location
from tracekit.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from samplers.decision import DecisionRecord
    from samplers.recovery import Record

_SEGMENTS: Final = 1 << 31
"""Numbers of segments there are; then they begin anew."""

_MOST_DECISIONS: Final = 10_000


class MemoryJournal(Journal):
    """Requests in memory, each a segment of its own, forgotten with the last of its spans.

    Attributes:
        bytes: Of the requests held.
        spans: Of them that are pending.
    """

    def __init__(self) -> None:
        # None of the files, locks and threads that Journal.__init__ begins.
        self.bytes = 0
        self.spans = 0
        self._requests: dict[int, tuple[bytes, int]] = {}
        self._next = 0

    def append(
        self, request: bytes, received_ns: int, *, spans: int, meta: bytes = b""
    ) -> Location:
        """Hold a request."""
        del received_ns, meta
        number, self._next = self._next % _SEGMENTS, self._next + 1
        self._requests[number] = request, spans
        self.bytes += len(request)
        self.spans += spans
        return Location(number, 0, self._next)

    def ingested(self, at: Location) -> None:
        """Do nothing: one thread appends and ingests."""

    def watermark(self) -> int:
        """Return the sequence of the last request."""
        return self._next

    def release(self, segment: int, spans: int, at_ns: int | None = None) -> None:
        """Forget spans; with the last of them their request."""
        del at_ns
        request, pending = self._requests[segment]
        self.spans -= spans
        if pending > spans:
            self._requests[segment] = request, pending - spans
            return
        del self._requests[segment]
        self.bytes -= len(request)

    def view(self, segment: int) -> memoryview:
        """Return a request."""
        return memoryview(self._requests[segment][0])

    def requests(self) -> list[bytes]:
        """Return the requests held, oldest first."""
        return [request for request, _ in self._requests.values()]

    def segments(self) -> list[int]:
        """Return the numbers of the requests held."""
        return list(self._requests)

    def recover(self) -> Iterator[Record]:
        """Yield nothing: there is no earlier run."""
        return iter(())

    def records(self, segment: int) -> Iterator[Record]:
        """Refuse: what was dropped is gone."""
        raise JournalError(f"segment {segment} is gone: a process keeps nothing that was dropped")


class MemoryDecisions(DecisionLog):
    """Decisions to keep, for spans that come late; the latest ones."""

    def __init__(self) -> None:
        # None of the files that DecisionLog.__init__ reads.
        self._kept: dict[int, DecisionRecord] = {}

    def decide(self, decisions: Sequence[DecisionRecord]) -> list[DecisionRecord]:
        """Take note of decisions; one to keep a session stands."""
        standing = [self._kept.get(one.session, one) for one in decisions]
        for one in standing:
            if one.keep:
                self._kept[one.session] = one
        while len(self._kept) > _MOST_DECISIONS:
            del self._kept[next(iter(self._kept))]
        return standing

    def get(self, session: int) -> DecisionRecord | None:
        """Return the decision to keep a session, if it is still known."""
        return self._kept.get(session)

    def exported(self, target: str, upto: Mapping[int, int]) -> None:
        """Do nothing: what a target has is not asked of a process that ends."""

    def is_exported(self, session: int, target: str, sequence: int) -> bool:
        """Return false: nothing is exported twice but after a restart."""
        del session, target, sequence
        return False

    def late(self, session: int, segments: Iterable[int]) -> None:
        """Do nothing: where late spans are is not asked."""

    def targets(self) -> list[str]:
        """Return none."""
        return []
