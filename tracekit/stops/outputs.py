"""Final-state inspection of scanned spans, before their content is dropped.

Runs before anything is written, on every output of a model call: which of them will be the last of
a task is known only when all files of its session are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit import schema
from tracekit.stops.inspection import inspect

_COLUMNS: Final = ("output_state", "pending_calls", "claims_success")
"""Span columns of the fields of an Inspection."""


def inspect_table(table: pa.Table) -> pa.Table:
    """Fill output_state, pending_calls and claims_success where null, and drop all content.

    What a row is filled with depends on that row alone, so that it is the same however spans are
    spread over files.

    Args:
        table: Scanned spans (`schema.scanned_columns()`).
    """
    rows = _outputs(table)
    found = [inspect(text) for text in table["output_content"].take(pa.array(rows)).to_pylist()]
    for position, name in enumerate(_COLUMNS):
        table = _filled(table, name, rows, [item[position] for item in found])
    content = {c.name for c in schema.scanned_columns() if c.kind is schema.Kind.CONTENT}
    return table.drop_columns([name for name in table.column_names if name in content])


def _outputs(table: pa.Table) -> npt.NDArray[np.int64]:
    # Operations are not known yet: a model call names a model, usage or a stop value, and no tool.
    seems_call = pc.and_(pc.is_valid(table["output_content"]), pc.is_null(table["tool_name"]))
    signs = ("request_model", "response_model", "usage_input", "usage_output", "stop_raw")
    named = [pc.is_valid(table[name]) for name in signs]
    any_sign = named[0]
    for sign in named[1:]:
        any_sign = pc.or_(any_sign, sign)
    return np.flatnonzero(pc.and_(seems_call, any_sign).to_numpy())


def _filled(
    table: pa.Table, name: str, rows: npt.NDArray[np.int64], found: list[object]
) -> pa.Table:
    index = table.schema.get_field_index(name)
    field = table.schema.field(index)
    plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    known = table[name].cast(plain).combine_chunks()
    values = np.full(len(table), None, dtype=object)
    values[rows] = found
    merged = pc.coalesce(known, pa.array(values, type=plain, from_pandas=True))
    return table.set_column(
        index, field, merged.cast(field.type) if merged.type != field.type else merged
    )
