"""Keeping a dropped session after all: a late verdict, while its spans are in the journal."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from samplers.collector.batch import of_request
from samplers.collector.outbox import Kept
from samplers.moving import find_spans
from samplers.pending import ROW
from tracekit.errors import UsageError
from tracekit.otlp.encode import select
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from samplers.collector.outlet import Outlet
    from samplers.decision import DecisionRecord
    from samplers.decisions import DecisionLog
    from samplers.journal import Journal
    from samplers.moving import Match

BY_HAND: Final = "kept by hand"


def pull_back(  # noqa: PLR0913 - what the collector consists of
    key: str,
    record: DecisionRecord | None,
    journal: Journal,
    log: DecisionLog,
    outlet: Outlet,
    *,
    now_ns: int,
) -> DecisionRecord:
    """Keep a session that was dropped, and export it; return the new decision.

    It speaks for nobody but itself: it has no probability, no weight and no `th`.

    Args:
        key: Its key.
        record: The decision on it.
        journal: Where its spans are.
        log: Where decisions are.
        outlet: Where kept sessions go.
        now_ns: The time.

    Raises:
        UsageError: Nothing is on record, or it was kept anyhow.
        JournalError: Its spans have aged out, at least some of them.
    """
    if record is None:
        raise UsageError(
            f"no decision about session {key!r} is on record: it is open still, or long forgotten; "
            "`tracekit sessions` lists what there is"
        )
    if record.keep:
        raise UsageError(f"session {key!r} is kept already")
    upto = journal.watermark()
    matches = find_spans(journal, record.segments, record.traces)
    kept = replace(
        record,
        keep=True,
        reasons=(BY_HAND,),
        inclusion=None,
        th_out=None,
        erase=True,
        targets=outlet.targets,
        overruled_ns=now_ns,
    )
    for segment, spans in _held(matches).items():
        journal.hold(segment, spans)
    log.overturn(kept)
    _export(key, kept, matches, outlet, upto)
    return kept


def _held(matches: list[Match]) -> Counter[int]:
    held: Counter[int] = Counter()
    for match in matches:
        held[match.record.segment] += len(match.rows)
    return held


def _export(
    key: str, record: DecisionRecord, matches: list[Match], outlet: Outlet, upto: int
) -> None:
    request = b"".join(select(scan(m.record.request), m.rows.tolist()) for m in matches)
    places = np.zeros(sum(len(match.rows) for match in matches), ROW)
    places["segment"] = np.repeat(
        [match.record.segment for match in matches], [len(match.rows) for match in matches]
    )
    places["offset"] = np.concatenate([match.offsets for match in matches])
    batch = of_request(request, [key], [len(places)], outlet.fingerprint_key)
    outlet.keep(batch, [Kept(0, key, places, record)], upto)
