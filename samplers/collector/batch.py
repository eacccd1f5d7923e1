"""The spans of some sessions out of the journal, scanned, each with the key of its session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from samplers.assemble import assemble
from tracekit.lake.ledger import inspected
from tracekit.otlp.scan import Scan, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samplers.assemble import Reader
    from samplers.session_types import Rows


@dataclass(frozen=True)
class Batch:
    """Spans of sessions, those of the first one first.

    Attributes:
        scan: Their request.
        table: Their columns, as the models take them.
        bounds: Where the rows of each session begin, and where the last ones end.
    """

    scan: Scan
    table: pa.Table
    bounds: npt.NDArray[np.int64]

    def rows(self, number: int) -> range:
        """Return the rows of a session."""
        return range(int(self.bounds[number]), int(self.bounds[number + 1]))

    def heads(self, number: int) -> list[int]:
        """Return the root spans of a session, the earliest first; its first span without any."""
        rows = self.rows(number)
        first, last = np.searchsorted(self._roots, [rows.start, rows.stop])
        roots = self._roots[first:last].tolist()
        return sorted(roots, key=self._starts.__getitem__) or [rows.start]

    def of(self, numbers: Sequence[int]) -> pa.Table:
        """Return the columns of some sessions."""
        chosen = np.zeros(len(self.bounds) - 1, np.bool_)
        chosen[list(numbers)] = True
        return self.table.filter(pa.array(np.repeat(chosen, np.diff(self.bounds))))

    @cached_property
    def _roots(self) -> npt.NDArray[np.int64]:
        is_root = pc.is_null(self.table["parent_span_id"]).to_numpy(zero_copy_only=False)
        return np.flatnonzero(is_root)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        starts: npt.NDArray[np.int64] = self.table["start_ns"].fill_null(0).to_numpy()
        return starts


def gather(keys: Sequence[str], rows: Sequence[Rows], read: Reader, key: int) -> Batch:
    """Return the spans of sessions.

    Args:
        keys: Key of each session.
        rows: Rows of each, at least one.
        read: Reads the journal.
        key: Key of the fingerprints.
    """
    return of_request(assemble(rows, read), keys, [len(its) for its in rows], key)


def of_request(
    request: bytes | memoryview, keys: Sequence[str], sizes: Sequence[int], key: int
) -> Batch:
    """Return a request that holds the spans of sessions, one session after the other."""
    scanned = scan(request, key)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(sizes, np.int64))])
    return Batch(scanned, _keyed(inspected(scanned.table), keys, sizes), bounds)


def _keyed(table: pa.Table, keys: Sequence[str], sizes: Sequence[int]) -> pa.Table:
    """Say of every span which session it belongs to.

    What was decided as one session is one in the tables too, though its spans name several keys.
    A session that goes by its trace id has no key.
    """
    owner = pa.array(np.repeat(np.array(keys, object), sizes), pa.string())
    index = table.schema.get_field_index("session_key")
    field = table.schema.field(index)
    own = pc.equal(owner, table["trace_id"].cast(pa.string()))
    chosen = pc.if_else(own, table["session_key"].cast(pa.string()), owner)
    return table.set_column(index, field, chosen.cast(field.type))
