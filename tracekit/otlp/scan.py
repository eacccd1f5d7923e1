"""Scan OTLP trace requests into columns.

    scanned = scan(request_bytes)
    scanned.table              # one row per span: `schema.scanned_columns()`
    scanned.span_bytes(0)      # the first span as it came

The bytes of a span are never copied or re-encoded, so what nobody knows survives. The work is done
by the compiled kernel (`layout.py`); spans with odd attribute values are decoded by the reference
(`reference.py`), which also defines what every column means.
"""

from __future__ import annotations

import secrets
from functools import cache, cached_property
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit.errors import InputError
from tracekit.otlp import kernel, layout
from tracekit.otlp.assemble import assemble
from tracekit.otlp.encode import select
from tracekit.otlp.keytable import ABSENT, key_table
from tracekit.otlp.reference import scan_reference
from tracekit.schema import attribute_columns

MAX_REQUEST_BYTES = 1 << 31
"""Offsets into a request are 32-bit: split longer input."""

_REASONS = {
    layout.MALFORMED: "not valid protobuf",
    layout.BAD_UTF8: "a text is not valid UTF-8",
    layout.BAD_TRACE_ID: "a span's trace id is not 16 bytes, or all zero",
    layout.BAD_SPAN_ID: "a span's span id is not 8 bytes, or all zero",
    layout.BAD_PARENT_ID: "a span's parent id is not 8 bytes",
    layout.BAD_TIME: "a span's time is beyond the year 2262",
    layout.TOO_DEEP: f"an attribute value nests deeper than {layout.MAX_DEPTH} levels",
}

_FEWEST_SYMBOLS = 1024
"""Room for different texts, a power of two; where more come, all is scanned again."""

_SEED = np.uint64(secrets.randbits(64))


def scan(data: bytes | memoryview, key: int = 0) -> Scan:
    """Scan the bytes of an OTLP ``ExportTraceServiceRequest``, or of several concatenated ones.

    Args:
        data: The request. Protobuf messages concatenate, so a batch of requests is one request.
        key: Key of the fingerprints, 0 to 2**64 - 1.

    Raises:
        InputError: The bytes are not a valid request; the message names the reason and the offset.
    """
    buf = np.frombuffer(memoryview(data).toreadonly(), np.uint8)
    if buf.shape[0] >= MAX_REQUEST_BYTES:
        raise InputError(
            f"request of {buf.shape[0]:,} bytes is over {MAX_REQUEST_BYTES:,}: split it"
        )
    counts = np.zeros(4, np.int64)
    result = kernel.count_messages(buf, counts)
    if result != layout.OK:
        _refuse(result, int(counts[3]))
    symbols = max(_FEWEST_SYMBOLS, 1 << (int(counts[2]) // 4).bit_length())
    while True:
        out = _allocate(int(counts[2]), int(counts[0]), int(counts[1]), symbols)
        result = kernel.scan_spans(buf, key_table(), out, _SEED, np.uint64(key))
        if result != layout.FULL:
            break
        symbols *= 8
    if result != layout.OK:
        _refuse(result, int(out.counters[4]))
    found = Scan(data, buf, out, key)
    if found.slow.size:
        _check_values(found)
    return found


def _check_values(found: Scan) -> None:
    """Refuse what the kernel did not look into: values the reference will decode.

    What is accepted here is kept, and read again when its session is decided.
    """
    rows = found.slow.tolist()
    if not _is_protobuf(found, rows):
        broken = next((row for row in rows if not _is_protobuf(found, [row])), rows[0])
        _refuse(layout.MALFORMED, int(found.offsets[broken, 0]))


def _is_protobuf(found: Scan, rows: list[int]) -> bool:
    try:
        ExportTraceServiceRequest.FromString(select(found, rows))
    except DecodeError:
        return False
    return True


@cache
def _slots() -> dict[str, int]:
    return {column.name: slot for slot, column in enumerate(attribute_columns())}


def _refuse(result: int, position: int) -> NoReturn:
    raise InputError(f"{_REASONS[result]}, at byte {position:,} of the request")


def _allocate(spans: int, resources: int, scopes: int, symbols: int) -> layout.Out:
    columns = len(attribute_columns())
    return layout.Out(
        values=np.empty((columns, spans + 2), np.uint64),
        ranks=np.full((columns, spans + 2), ABSENT, np.uint8),
        wire=np.zeros((layout.WIRE_ROWS, spans), np.int64),
        slow=np.zeros(spans, np.uint8),
        seen=np.zeros(columns, np.uint8),
        resources=np.zeros((resources, 2), np.int64),
        scopes=np.zeros((scopes, 2), np.int64),
        buckets=np.full(4 * symbols, -1, np.int32),
        symbol_hash=np.empty(symbols, np.uint64),
        symbol_start=np.empty(symbols, np.int64),
        symbol_length=np.empty(symbols, np.int64),
        fill=np.empty(2 * columns, np.int64),
        stack=np.empty(2 * layout.MAX_DEPTH, np.int64),
        counters=np.zeros(8, np.int64),
    )


class Scan:
    """A scanned request: its columns, and where each span lies in its bytes.

    Attributes:
        data: The request as it came.
        spans: Number of spans.
        offsets: int64 (n, 2): start and length of each span message in `data`.
        resource_of: int64 (n,): which of `resources` a span belongs to.
        scope_of: int64 (n,): which of `scopes` a span belongs to.
        resources: int64 (r, 2): start and end of each ``ResourceSpans`` message.
        scopes: int64 (s, 2): start and end of each ``ScopeSpans`` message.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        buf: npt.NDArray[np.uint8],
        out: layout.Out,
        key: int,
    ) -> None:
        self.data = data
        self.spans = int(out.counters[1])
        self.resources = out.resources
        self.scopes = out.scopes
        self._buf = buf
        self._out = out
        self._key = key

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Start and length of each span message, shape (n, 2)."""
        bounds: npt.NDArray[np.int64] = self._out.wire[[layout.OFFSET, layout.LENGTH]].T
        return bounds

    @property
    def resource_of(self) -> npt.NDArray[np.int64]:
        """Number of each span's resource, shape (n,)."""
        numbers: npt.NDArray[np.int64] = self._out.wire[layout.RESOURCE]
        return numbers

    @property
    def scope_of(self) -> npt.NDArray[np.int64]:
        """Number of each span's scope, shape (n,)."""
        numbers: npt.NDArray[np.int64] = self._out.wire[layout.SCOPE]
        return numbers

    @property
    def trace_ids(self) -> npt.NDArray[np.uint8]:
        """The bytes of each span's trace id, shape (n, 16)."""
        starts: npt.NDArray[np.int64] = self._out.wire[layout.TRACE]
        ids: npt.NDArray[np.uint8] = self._buf[starts[:, None] + np.arange(16)]
        return ids

    def span_bytes(self, row: int) -> memoryview:
        """Return the bytes of one span message, as they came."""
        start, length = self.offsets[row]
        return memoryview(self.data)[start : start + length]

    @property
    def wire(self) -> npt.NDArray[np.int64]:
        """What the kernel found in each span outside its attributes: rows of `layout.Out.wire`."""
        return self._out.wire

    @cached_property
    def slow(self) -> npt.NDArray[np.int64]:
        """Rows whose attributes the reference must decode: `words` does not hold for them."""
        return np.flatnonzero(self._out.slow)

    def words(self, column: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
        """Return the kernel's raw words of an attribute column, and which spans have it.

        Args:
            column: Name of the column. A text is its start in the request << 32 | its length.
        """
        slot = _slots()[column]
        ranks = self._out.ranks[slot, : self.spans]
        return self._out.values[slot, : self.spans], ranks != ABSENT

    @property
    def buffer(self) -> npt.NDArray[np.uint8]:
        """The request as an array of bytes."""
        return self._buf

    @cached_property
    def table(self) -> pa.Table:
        """One row per span, in the order of the request: `schema.scanned_columns()`."""
        table, slow = assemble(self._buf, self._out), self.slow
        if not slow.size:
            return table
        return _patch(table, slow, scan_reference(select(self, slow), self._key))


def _patch(table: pa.Table, slow: npt.NDArray[np.int64], decoded: pa.Table) -> pa.Table:
    """Replace rows of a table by rows decoded elsewhere."""
    rows = np.arange(table.num_rows)
    rows[slow] = table.num_rows + np.arange(slow.size)
    both = pa.concat_tables([table, decoded]).unify_dictionaries().combine_chunks()
    return both.take(pa.array(rows))
