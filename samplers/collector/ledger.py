"""The way into the lake: decided sessions are collected and written together."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from tracekit.errors import LakeError
from tracekit.lake.columns import received_columns
from tracekit.schema import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.lake.lake import Lake

_log = logging.getLogger(__name__)

MOST_SPANS: Final = 200_000
"""Spans that wait before they are written ahead of time; with twice as many nothing is decided."""

_SECOND: Final = 1_000_000_000

Released = Counter[tuple[int, int]]
"""Spans by the segment they are in and the time they were decided."""


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
        self._tables: dict[bool, list[pa.Table]] = {True: [], False: []}
        self._upto: dict[int, int] = {}
        self._released: Released = Counter()
        self._spans = 0
        self._written_ns = 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing should be added."""
        return self._spans >= 2 * MOST_SPANS

    def add(self, table: pa.Table, *, kept: bool) -> None:
        """Take spans of decided sessions."""
        self._tables[kept].append(table)
        self._spans += table.num_rows

    def settle(self, upto: Mapping[int, int], released: Mapping[tuple[int, int], int]) -> None:
        """Note what may be said once everything taken so far is in the lake.

        Args:
            upto: Per session, the journal's watermark from before its spans were gathered.
            released: Spans by segment and time of the decision.
        """
        self._upto.update(upto)
        self._released.update(released)

    def flush(self, now_ns: int, *, at_once: bool = False) -> tuple[dict[int, int], Released]:
        """Write, when it is time; return what was settled of it.

        What cannot be written waits for the next time.
        """
        nothing: tuple[dict[int, int], Released] = ({}, Counter())
        is_time = now_ns - self._written_ns >= self._interval or self._spans >= MOST_SPANS
        if not (at_once or is_time):
            return nothing
        self._written_ns = now_ns
        if self._spans:
            try:
                kept, dropped = (_joined(self._tables[is_kept]) for is_kept in (True, False))
                self.lake.add_sessions(kept, dropped, spans=self._with_spans, recorded_ns=now_ns)
            except LakeError as error:
                _log.warning("the ledger waits: %s", error)
                return nothing
        settled = self._upto, self._released
        self._upto, self._released, self._spans = {}, Counter(), 0
        self._tables = {True: [], False: []}
        return settled


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables([arrow_schema(received_columns()).empty_table(), *tables])
