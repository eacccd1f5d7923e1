"""Arrow tables from what the kernel filled: no Python object per span or value."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.dialects.registry import load
from tracekit.otlp import gather, layout
from tracekit.otlp.keytable import ABSENT
from tracekit.otlp.reference import KINDS, STATUSES
from tracekit.schema import ARROW_TYPES, Kind, arrow_schema, attribute_columns, scanned_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEX_PAIRS = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16).copy()
"""The two digits of every byte, as they lie in memory."""

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


_KINDS = pa.array(KINDS)
_STATUSES = pa.array(STATUSES)


@cache
def _schema() -> pa.Schema:
    return arrow_schema(scanned_columns())


@cache
def _attribute_kinds() -> tuple[Kind, ...]:
    return tuple(column.kind for column in attribute_columns())


@cache
def _dialects() -> pa.Array:
    """Return the dialect of every order of a mark; orders without a mark are empty."""
    dialects = {mark.order: mark.dialect for mark in load().marks}
    return pa.array([dialects.get(order, "") for order in range(ABSENT)])


def assemble(buf: Bytes, out: layout.Out) -> pa.Table:
    """Return one row per span with the columns `schema.scanned_columns()`.

    Args:
        buf: The scanned request.
        out: What `kernel.scan_spans` filled.
    """
    spans = int(out.counters[1])
    symbols = _symbols(buf, out)
    arrays = [*_wire_arrays(buf, out, spans, symbols), *_attribute_arrays(buf, out, spans, symbols)]
    return pa.Table.from_arrays(arrays, schema=_schema())


def _symbols(buf: Bytes, out: layout.Out) -> pa.Array:
    count = int(out.counters[0])
    if not count:
        return pa.array([""])
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(out.symbol_length[:count], out=offsets[1:])
    data = np.empty(offsets[-1], np.uint8)
    gather.copy_symbols(buf, out.symbol_start[:count], offsets, data)
    return _strings(offsets, data, None)


def _wire_arrays(buf: Bytes, out: layout.Out, spans: int, symbols: pa.Array) -> Iterator[pa.Array]:
    wire = out.wire[:, :spans]
    for row, size in (
        (layout.TRACE, 16),
        (layout.SPAN, 8),
        (layout.PARENT, 8),
        (layout.LINK_TRACE, 16),
        (layout.LINK_SPAN, 8),
    ):
        yield _hex(buf, wire[row], size)
    yield _texts(buf, wire[layout.STATE].view(np.uint64), wire[layout.STATE] >= 0)
    yield _dictionary(wire[layout.NAME], wire[layout.NAME] >= 0, symbols)
    yield _dictionary(wire[layout.SPAN_KIND], None, _KINDS)
    yield _dictionary(wire[layout.SCOPE_NAME], wire[layout.SCOPE_NAME] >= 0, symbols)
    yield _numbers(pa.int64(), wire[layout.START], None)
    yield _numbers(pa.int64(), wire[layout.END], wire[layout.END] != 0)
    yield _dictionary(wire[layout.STATUS], None, _STATUSES)
    yield _dictionary(
        wire[layout.MARK],
        wire[layout.MARK] != ABSENT,
        _dialects(),
    )


def _attribute_arrays(
    buf: Bytes, out: layout.Out, spans: int, symbols: pa.Array
) -> Iterator[pa.Array]:
    for slot, kind in enumerate(_attribute_kinds()):
        if out.seen[slot]:
            values, ranks = out.values[slot, :spans], out.ranks[slot, :spans]
            yield _column(buf, kind, values, ranks != ABSENT, symbols)
        else:
            yield _nulls(kind, spans)


@lru_cache(maxsize=64)
def _nulls(kind: Kind, spans: int) -> pa.Array:
    if kind is Kind.SYMBOL:
        return _dictionary(np.zeros(spans, np.int32), np.zeros(spans, np.bool_), pa.array([""]))
    return pa.nulls(spans, ARROW_TYPES[kind])


def _column(
    buf: Bytes, kind: Kind, values: npt.NDArray[np.uint64], valid: Flags, symbols: pa.Array
) -> pa.Array:
    match kind:
        case Kind.SYMBOL:
            return _dictionary(values, valid, symbols)
        case Kind.TEXT | Kind.CONTENT:
            return _texts(buf, values, valid)
        case Kind.INT | Kind.HASH | Kind.DOUBLE:
            return _numbers(ARROW_TYPES[kind], values, valid)
        case Kind.BOOL:
            return _numbers(pa.bool_(), np.packbits(values == 1, bitorder="little"), valid)


def _bitmap(valid: Flags | None) -> pa.Buffer | None:
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _numbers(kind: pa.DataType, values: npt.NDArray[Any], valid: Flags | None) -> pa.Array:
    # Not pa.array: it looks for pandas on every call, which costs more than the copy.
    data = pa.py_buffer(np.ascontiguousarray(values))
    spans = values.shape[0] if valid is None else valid.shape[0]
    return pa.Array.from_buffers(kind, spans, [_bitmap(valid), data])


def _dictionary(numbers: npt.NDArray[Any], valid: Flags | None, words: pa.Array) -> pa.Array:
    # Arrow follows the number of a null too when it unifies dictionaries: it must be a real one.
    real = numbers if valid is None else np.where(valid, numbers, 0)
    indices = _numbers(pa.int32(), real.astype(np.int32), valid)
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
    pairs = np.empty(size * int(valid.sum()), np.uint16)
    gather.hex_texts(buf, starts, size, _HEX_PAIRS, offsets, pairs)
    return _strings(offsets, pairs.view(np.uint8), valid)


def _strings(offsets: npt.NDArray[np.int32], data: Bytes, valid: Flags | None) -> pa.Array:
    buffers = [_bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), offsets.shape[0] - 1, buffers)
