"""The way into the lake: decided sessions are collected and written together."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from samplers.session_types import Rows
from tracekit.errors import LakeError
from tracekit.lake.columns import received_columns
from tracekit.lake.decided import DECISIONS, DETECTIONS
from tracekit.lake.derived import Earlier
from tracekit.schema import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from samplers.decision import DecisionRecord
    from tracekit.lake.derived import Derived
    from tracekit.lake.lake import Lake

_log = logging.getLogger(__name__)

MOST_ROWS: Final = 200_000
"""Spans, and rows of derived calls, that wait before they are written ahead of time; with twice as
many nothing is decided."""

_SECOND: Final = 1_000_000_000

Released = Counter[tuple[int, int]]
"""Spans by the segment they are in and the time they were decided."""

SpansOf = Callable[[Sequence[str], Sequence[Rows]], pa.Table]
"""Returns the spans of sessions, by their keys and where they are in the journal."""


class Ledger:
    """What waits for the lake. Not thread-safe.

    Args:
        lake: The lake.
        spans: Whether spans of kept sessions go there.
        interval: Seconds between two writes.
    """

    def __init__(self, lake: Lake, *, spans: bool = True, interval: float = 60.0) -> None:
        self.lake = lake
        self._with_spans = spans
        self._interval = round(interval * _SECOND)
        self._waiting: list[pa.Table] = []
        self._derived: list[Derived] = []
        self._places: defaultdict[str, list[Rows]] = defaultdict(list)
        self._decisions: dict[str, DecisionRecord] = {}
        self._detections: list[pa.Table] = []
        self._upto: dict[int, int] = {}
        self._released: Released = Counter()
        self._rows = 0
        self._written_ns = 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing should be added."""
        return self._rows >= 2 * MOST_ROWS

    def add(self, table: pa.Table) -> None:
        """Take spans of decided sessions."""
        if table.num_rows:
            self._waiting.append(table)
            self._rows += table.num_rows

    def derived(self, rows: Derived, places: Mapping[str, Rows]) -> None:
        """Take dropped sessions as they were derived; their spans are in the journal till then.

        Args:
            rows: What was derived of them.
            places: Where the spans of each are.
        """
        if places:
            self._derived.append(rows)
            self._rows += rows.tables["attempts"].num_rows + len(places)
            for key, its in places.items():
                self._places[key].append(its)

    def decided(self, key: str, record: DecisionRecord) -> None:
        """Take the decision on a session; where there are two, the one that kept it stands."""
        if record.keep or key not in self._decisions:
            self._decisions[key] = record

    def detected(self, table: pa.Table) -> None:
        """Take what the detectors found in decided sessions, `DETECTIONS`."""
        self._detections.append(table)

    def settle(self, upto: Mapping[int, int], released: Mapping[tuple[int, int], int]) -> None:
        """Note what may be said once everything taken so far is in the lake.

        Args:
            upto: Per session, the journal's watermark from before its spans were gathered.
            released: Spans by segment and time of the decision.
        """
        self._upto.update(upto)
        self._released.update(released)

    def flush(
        self, now_ns: int, spans_of: SpansOf, *, at_once: bool = False
    ) -> tuple[dict[int, int], Released]:
        """Write, when it is time; return what was settled of it.

        What cannot be written waits for the next time.

        Args:
            now_ns: The time.
            spans_of: Returns spans by session and place.
            at_once: Do not wait for the time.
        """
        nothing: tuple[dict[int, int], Released] = ({}, Counter())
        is_time = now_ns - self._written_ns >= self._interval or self._rows >= MOST_ROWS
        if not (at_once or is_time):
            return nothing
        self._written_ns = now_ns
        if self._rows:
            try:
                self._write(now_ns, spans_of)
            except LakeError as error:
                _log.warning("the ledger waits: %s", error)
                return nothing
        settled = self._upto, self._released
        self._upto, self._released, self._rows = {}, Counter(), 0
        self._waiting, self._decisions, self._detections = [], {}, []
        self._derived, self._places = [], defaultdict(list)
        return settled

    def _write(self, now_ns: int, spans_of: SpansOf) -> None:
        def again(keys: Collection[str]) -> pa.Table:
            pairs = [(key, rows) for key in keys for rows in self._places[key]]
            return spans_of([key for key, _ in pairs], [rows for _, rows in pairs])

        self.lake.add_sessions(
            pa.concat_tables([arrow_schema(received_columns()).empty_table(), *self._waiting]),
            pa.Table.from_pylist(
                [_row(key, record) for key, record in self._decisions.items()], DECISIONS
            ),
            pa.concat_tables([DETECTIONS.empty_table(), *self._detections]),
            earlier=Earlier(self._derived, again),
            with_spans=self._with_spans,
            recorded_ns=now_ns,
        )


def _row(key: str, record: DecisionRecord) -> dict[str, Any]:
    """Return a decision as the lake has it; a session that nobody keeps stands for nobody."""
    return {
        "session_id": key,
        "trigger": record.trigger or None,
        "bytes": record.bytes,
        "kept": record.keep,
        "weight": 1 / record.inclusion if record.keep and record.inclusion else None,
        "policy": record.policy or None,
        "rule": record.rule,
        "stratum": record.stratum,
        "reasons": ", ".join(record.reasons),
        "threshold": record.threshold,
        "randomness": record.randomness,
        "probability": record.probability,
        "inclusion": record.inclusion,
        "decided_ns": record.decided_ns,
        "decided_spans": record.spans,
        "degrade": record.degrade,
        "overruled_ns": record.overruled_ns,
    }
