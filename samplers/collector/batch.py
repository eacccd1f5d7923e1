"""The spans of some sessions out of the journal, scanned, each with the key of its session."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
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
        part = self.table.select(["parent_span_id", "start_ns"]).slice(rows.start, len(rows))
        is_root = pc.is_null(part["parent_span_id"]).to_numpy(zero_copy_only=False)
        starts = part["start_ns"].fill_null(0).to_numpy()
        roots = sorted(np.flatnonzero(is_root).tolist(), key=lambda row: int(starts[row]))
        return [rows.start + row for row in roots or [0]]


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
