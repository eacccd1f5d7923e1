"""Arrow tables from what the kernel filled: no Python object per span or value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.dialects.registry import load
from tracekit.otlp import gather, kernel
from tracekit.otlp.keytable import ABSENT
from tracekit.otlp.reference import KINDS, STATUSES
from tracekit.schema import Column, Kind, arrow_schema, attribute_columns, scanned_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8).copy()

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def assemble(buf: Bytes, out: kernel.Out) -> pa.Table:
    """Return one row per span with the columns `schema.scanned_columns()`.

    Args:
        buf: The scanned request.
        out: What `kernel.scan_spans` filled.
    """
    spans = int(out.counters[1])
    symbols = _symbols(buf, out)
    arrays = [*_wire_arrays(buf, out, spans, symbols), *_attribute_arrays(buf, out, spans, symbols)]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(scanned_columns()))


def _symbols(buf: Bytes, out: kernel.Out) -> pa.Array:
    count = int(out.counters[0])
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(out.symbol_length[:count], out=offsets[1:])
    data = np.empty(offsets[-1], np.uint8)
    gather.copy_symbols(buf, out.symbol_start[:count], offsets, data)
    return _strings(offsets, data, None)


def _wire_arrays(buf: Bytes, out: kernel.Out, spans: int, symbols: pa.Array) -> Iterator[pa.Array]:
    wire = out.wire[:, :spans]
    dialects = {mark.order: mark.dialect for mark in load().marks}
    for row, size in (
        (kernel.TRACE, 16),
        (kernel.SPAN, 8),
        (kernel.PARENT, 8),
        (kernel.LINK_TRACE, 16),
        (kernel.LINK_SPAN, 8),
    ):
        yield _hex(buf, wire[row], size)
    yield _texts(buf, wire[kernel.STATE].view(np.uint64), wire[kernel.STATE] >= 0)
    yield _dictionary(wire[kernel.NAME], wire[kernel.NAME] >= 0, symbols)
    yield _dictionary(wire[kernel.SPAN_KIND], None, pa.array(KINDS))
    yield _dictionary(wire[kernel.SCOPE_NAME], wire[kernel.SCOPE_NAME] >= 0, symbols)
    yield pa.array(wire[kernel.START])
    yield pa.array(wire[kernel.END], mask=wire[kernel.END] == 0)
    yield _dictionary(wire[kernel.STATUS], None, pa.array(STATUSES))
    yield _dictionary(
        wire[kernel.MARK],
        wire[kernel.MARK] != ABSENT,
        pa.array([dialects.get(order, "") for order in range(ABSENT)]),
    )


def _attribute_arrays(
    buf: Bytes, out: kernel.Out, spans: int, symbols: pa.Array
) -> Iterator[pa.Array]:
    for slot, column in enumerate(attribute_columns()):
        if not out.seen[slot]:
            yield _nulls(column, spans)
            continue
        values = out.values[slot, :spans]
        yield _column(buf, column, values, out.ranks[slot, :spans] != ABSENT, symbols)


def _nulls(column: Column, spans: int) -> pa.Array:
    if column.kind is Kind.SYMBOL:
        return pa.DictionaryArray.from_arrays(
            pa.nulls(spans, pa.int32()), pa.array([], pa.string())
        )
    return pa.nulls(spans, arrow_schema((column,)).field(0).type)


def _column(
    buf: Bytes, column: Column, values: npt.NDArray[np.uint64], valid: Flags, symbols: pa.Array
) -> pa.Array:
    match column.kind:
        case Kind.SYMBOL:
            return _dictionary(values.view(np.int64), valid, symbols)
        case Kind.TEXT | Kind.CONTENT:
            return _texts(buf, values, valid)
        case Kind.INT | Kind.HASH:
            return pa.array(values.view(np.int64), mask=~valid)
        case Kind.DOUBLE:
            return pa.array(values.view(np.float64), mask=~valid, from_pandas=False)
        case Kind.BOOL:
            return pa.array(values == 1, mask=~valid)


def _dictionary(numbers: Ints, valid: Flags | None, words: pa.Array) -> pa.Array:
    mask = None if valid is None else ~valid
    indices = pa.array(numbers.astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(indices, words, safe=False)


def _texts(buf: Bytes, packed: npt.NDArray[np.uint64], valid: Flags) -> pa.Array:
    offsets = np.empty(packed.shape[0] + 1, np.int32)
    gather.text_offsets(packed, valid, offsets)
    data = np.empty(offsets[-1], np.uint8)
    gather.copy_texts(buf, packed, valid, offsets, data)
    return _strings(offsets, data, valid)


def _hex(buf: Bytes, starts: Ints, size: int) -> pa.Array:
    offsets = np.empty(starts.shape[0] + 1, np.int32)
    valid = starts >= 0
    data = np.empty(2 * size * int(valid.sum()), np.uint8)
    gather.hex_texts(buf, starts, size, _HEX, offsets, data)
    return _strings(offsets, data, valid)


def _strings(offsets: npt.NDArray[np.int32], data: Bytes, valid: Flags | None) -> pa.Array:
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(
        pa.string(), offsets.shape[0] - 1, [bitmap, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
