"""The attribute keys of all dialects as one hash table for the scanner.

The table maps key bytes (for attributes of span events: with the event's name) to what a value is
good for: the columns it feeds with their ranks, the dialect it marks, and whether it must take the
slow way because its value packs an object.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracekit.dialects.coerce import LIST_COLUMNS
from tracekit.dialects.registry import Registry, load
from tracekit.errors import TracekitError
from tracekit.otlp import layout
from tracekit.otlp.wire import key_hash, prefix_gate
from tracekit.schema import Kind, attribute_columns

ABSENT = 255
"""Rank of a column that has no value yet."""

KIND_CODES = {
    Kind.SYMBOL: layout.SYMBOL_KIND,
    Kind.TEXT: layout.TEXT_KIND,
    Kind.CONTENT: layout.CONTENT_KIND,
    Kind.INT: layout.INT_KIND,
    Kind.DOUBLE: layout.DOUBLE_KIND,
    Kind.BOOL: layout.BOOL_KIND,
    Kind.HASH: layout.HASH_KIND,
}

_PREFIX_BYTES = 4
TAKES_SLOW_WAY = 1
"""Entry flag: the value packs an object or is scaled; the reference decodes it."""
TAKES_SLOW_WAY_IF_LIST = 2
"""Entry flag: a text may be an array written out; the reference decodes one with brackets."""


class KeyTable(NamedTuple):
    """Arrays of the table, in the shapes the kernel wants.

    `buckets` (power of two, int32) holds entry numbers or -1, probed linearly from `hashes`'s low
    bits. Entry i has bytes `blob[start[i]:start[i] + length[i]]`, event `event[i]` (0: the span
    itself), the order of a marked dialect `mark[i]` (255: none), `flags[i]`, and feeds columns
    `slot[first[i]:first[i + 1]]` with ranks `rank[...]`. `prefix_*` list the prefixes that
    mark a dialect in keys not listed; `prefix_gate` tells by four bytes where none can match.
    Events are numbered from 1 in `event_start`/`event_length`.
    """

    buckets: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    blob: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    event: npt.NDArray[np.uint8]
    mark: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int32]
    slot: npt.NDArray[np.int32]
    rank: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.uint8]
    prefix_gate: npt.NDArray[np.uint8]
    prefix_start: npt.NDArray[np.int64]
    prefix_length: npt.NDArray[np.int64]
    prefix_mark: npt.NDArray[np.uint8]
    event_start: npt.NDArray[np.int64]
    event_length: npt.NDArray[np.int64]


@dataclass
class _Entry:
    feeds: list[tuple[int, int]] = field(default_factory=list)
    mark: int = ABSENT
    flags: int = 0


def _entries(registry: Registry, events: list[str]) -> dict[tuple[str, int], _Entry]:
    slots = {column.name: i for i, column in enumerate(attribute_columns())}
    entries: defaultdict[tuple[str, int], _Entry] = defaultdict(_Entry)
    for alias in registry.aliases:
        event = events.index(alias.event) + 1 if alias.event else 0
        entry = entries[alias.key, event]
        entry.feeds.append((slots[alias.column], alias.rank))
        if alias.column in LIST_COLUMNS:
            entry.flags |= TAKES_SLOW_WAY_IF_LIST
        if alias.scale != 1.0:
            entry.flags |= TAKES_SLOW_WAY
    for unpack in registry.unpacks:
        entries[unpack.key, 0].flags |= TAKES_SLOW_WAY
    for mark in registry.marks:
        if not mark.is_prefix:
            entries[mark.text, 0].mark = mark.order
    for (key, event), entry in entries.items():
        orders = [
            mark.order for mark in registry.marks if mark.is_prefix and key.startswith(mark.text)
        ]
        entry.mark = min([entry.mark, *orders]) if event == 0 else ABSENT
    return dict(entries)


@cache
def key_table() -> KeyTable:
    """Build the table from the registry; cached, since dialects are fixed within a process."""
    registry = load()
    events = sorted({alias.event for alias in registry.aliases if alias.event})
    entries = _entries(registry, events)
    prefixes = [mark for mark in registry.marks if mark.is_prefix]

    texts = [key for key, _ in entries] + [mark.text for mark in prefixes] + events
    lengths = np.array([len(text.encode()) for text in texts], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    blob = np.frombuffer("".join(texts).encode(), np.uint8).copy()
    n, m = len(entries), len(prefixes)

    gate = np.zeros(256, np.uint8)
    for mark in prefixes:
        if len(mark.text) < _PREFIX_BYTES:
            raise TracekitError(
                f"fingerprint prefix {mark.text!r} of {mark.dialect}: use 4 or more"
            )
        gate[int(prefix_gate(np.uint64(int.from_bytes(mark.text.encode()[:4], "little"))))] = 1
    hashes = np.array(
        [key_hash(blob, starts[i], starts[i] + lengths[i]) for i in range(n)], np.uint64
    )
    values = list(entries.values())
    feeds = [feed for entry in values for feed in entry.feeds]
    return KeyTable(
        buckets=_buckets(hashes),
        hashes=hashes,
        blob=blob,
        start=starts[:n],
        length=lengths[:n],
        event=np.array([event for _, event in entries], np.uint8),
        mark=np.array([entry.mark for entry in values], np.uint8),
        flags=np.array([entry.flags for entry in values], np.uint8),
        first=np.cumsum([0, *(len(entry.feeds) for entry in values)]).astype(np.int32),
        slot=np.array([slot for slot, _ in feeds], np.int32),
        rank=np.array([rank for _, rank in feeds], np.uint8),
        kind=np.array([KIND_CODES[column.kind] for column in attribute_columns()], np.uint8),
        prefix_gate=gate,
        prefix_start=starts[n : n + m],
        prefix_length=lengths[n : n + m],
        prefix_mark=np.array([mark.order for mark in prefixes], np.uint8),
        event_start=starts[n + m :],
        event_length=lengths[n + m :],
    )


def _buckets(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """Return linear-probing buckets at a load of at most a quarter."""
    size = 1 << max(4, (4 * len(hashes) - 1).bit_length())
    buckets = np.full(size, -1, np.int32)
    for i, value in enumerate(hashes):
        at = int(value) & (size - 1)
        while buckets[at] >= 0:
            at = (at + 1) & (size - 1)
        buckets[at] = i
    return buckets
