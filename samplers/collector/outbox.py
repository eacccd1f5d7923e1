"""Kept sessions as requests: the spans as they came, with what the sampler adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from samplers import threshold
from tracekit.otlp import tracestate
from tracekit.otlp.append import Stage, encode_attributes, suffixes
from tracekit.otlp.encode import select
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from samplers.collector.batch import Batch
    from samplers.collector.decider import Judged
    from samplers.decision import DecisionRecord
    from samplers.session_types import Rows
    from samplers.strip import Leaving

_MOST_BYTES: Final = 3 << 20
"""Of one request: most receivers take 4 MiB."""

_MOST_SPANS: Final = 4096

_STOP: Final = "tracekit.stop.reason"
_COST: Final = "tracekit.cost.usd"
_DEGRADE: Final = "tracekit.sampling.degrade"


@dataclass(slots=True)
class Parcel:
    """A request to export.

    Attributes:
        request: Its bytes.
        spans: How many spans it has.
        keys: Keys of the sessions in it, in order.
        sizes: Spans of each.
        whole: Sessions that are exported with it, each with the journal's watermark.
        stripped: Bytes that were taken out of it.
    """

    request: bytes
    spans: int
    keys: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    whole: dict[int, int] = field(default_factory=dict)
    stripped: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A session of a batch that is decided.

    Attributes:
        number: Number of their session in the batch.
        key: Its key.
        rows: Where they are in the journal.
        record: The decision.
        judged: What was derived; None for spans that follow an earlier decision.
        is_old: Whether an earlier run decided, so that a target may have some of them.
    """

    number: int
    key: str
    rows: Rows
    record: DecisionRecord
    judged: Judged | None = None
    is_old: bool = False


def parcels(
    batch: Batch,
    kept: Iterable[tuple[Kept, Sequence[int]]],
    upto: int,
    leaving: Leaving,
) -> Iterator[Parcel]:
    """Yield requests of limited size, sessions one after the other.

    Args:
        batch: The spans.
        kept: Sessions, and which rows of the batch leave.
        upto: The journal's watermark from before they were gathered.
        leaving: How they leave.
    """
    rows: list[int] = []
    tails: list[bytes] = []
    parcel, size = Parcel(b"", 0), 0
    lengths = batch.scan.offsets[:, 1].tolist()

    def packed() -> Parcel:
        parcel.spans = len(rows)
        if leaving.strip is None:
            parcel.request = select(batch.scan, rows, tails)
        else:
            whole = select(batch.scan, rows)
            bare = leaving.strip(whole)
            parcel.stripped = len(whole) - len(bare)
            parcel.request = select(scan(bare), range(len(rows)), tails)
        return parcel

    for one, chosen in kept:
        parcel.keys.append(one.key)
        parcel.sizes.append(0)
        for row, tail in zip(chosen, _tails(batch, one, chosen, leaving), strict=True):
            span = lengths[row] + len(tail)
            if rows and (size + span > _MOST_BYTES or len(rows) >= _MOST_SPANS):
                yield packed()
                rows, tails, size = [], [], 0
                parcel = Parcel(b"", 0, [one.key], [0])
            rows.append(row)
            tails.append(tail)
            parcel.sizes[-1] += 1
            size += span
        parcel.whole[one.record.session] = upto
    if rows:
        yield packed()


def _tails(batch: Batch, one: Kept, rows: Sequence[int], leaving: Leaving) -> list[bytes]:
    """Return what is appended to each span of a session."""
    record = one.record
    known = None if record.erase else record.threshold
    stage = Stage(known, _randomness(batch, one), leaving.is_first_stage)
    level = {_DEGRADE: leaving.level} if leaving.level else None
    tails = suffixes(batch.scan, rows, stage, level)
    if one.judged is None and record.overruled_ns is None:
        return tails
    places = {row: place for place, row in enumerate(rows)}
    for place, row in enumerate(row for row in batch.heads(one.number) if row in places):
        span = bytes(batch.scan.span_bytes(row))
        added = dict(_sampling(record))
        if place == 0 and one.judged is not None:
            added |= _derived(one.judged, span)
        tails[places[row]] += encode_attributes(added)
    return tails


def _randomness(batch: Batch, one: Kept) -> int:
    if one.judged is not None:
        return one.judged.decision.randomness
    part = batch.table.select(["trace_id", "trace_state"]).take(list(batch.rows(one.number)))
    pairs = {(str(row["trace_id"]), row["trace_state"] or "") for row in part.to_pylist()}
    traces = [(int(trace, 16), tracestate.read(state)) for trace, state in sorted(pairs)]
    return threshold.randomness(one.key, traces)


def _sampling(record: DecisionRecord) -> Iterator[tuple[str, str | float]]:
    yield "tracekit.sampling.policy", record.policy
    if record.inclusion:
        yield "tracekit.sampling.probability", record.inclusion
        yield "tracekit.sampling.weight", 1 / record.inclusion
    yield "tracekit.sampling.reasons", ", ".join(record.reasons)


def _derived(judged: Judged, span: bytes) -> dict[str, str | float]:
    """Return what was derived of a session, unless the span says so already: a key comes once."""
    found: dict[str, str | float] = {}
    if judged.stop_reason is not None and _STOP.encode() not in span:
        found[_STOP] = judged.stop_reason
    if judged.cost_usd is not None and _COST.encode() not in span:
        found[_COST] = judged.cost_usd
    if judged.anomalies:
        found["tracekit.anomalies"] = ", ".join(judged.anomalies)
    return found
