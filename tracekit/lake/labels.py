"""Verdicts that do not come from spans: a test that ran later, a human, a label file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tracekit.errors import InputError
from tracekit.schema import TABLES, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OUTCOMES = ("success", "failure", "undetermined")
EVIDENCE = ("verified", "declared")
_COLUMNS = TABLES["outcomes"]


def label_table(rows: Sequence[Mapping[str, Any]], recorded_ns: int) -> pa.Table:
    """Return verdicts as a table with the columns of `outcomes`.

    Args:
        rows: session_id, outcome, evidence and source; task_id, score and decided_ns where known.
        recorded_ns: When the lake learned of them, UTC, ns since 1970.

    Raises:
        InputError: A row lacks a session id or a source, or has a word that means nothing here.
    """
    checked = [_checked(row) | {"recorded_ns": recorded_ns} for row in rows]
    try:
        return pa.Table.from_pylist(checked, schema=arrow_schema(_COLUMNS))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise InputError(f"a verdict has a value of the wrong type: {error}") from error


def _checked(row: Mapping[str, Any]) -> dict[str, Any]:
    session = row.get("session_id")
    if not session:
        raise InputError(f"a verdict names no session: {dict(row)}")
    unknown = sorted(set(row) - {column.name for column in _COLUMNS})
    if unknown:
        raise InputError(f"verdict on session {session}: unknown field {unknown[0]!r}")
    for field, words in (("outcome", OUTCOMES), ("evidence", EVIDENCE)):
        if row.get(field) not in words:
            raise InputError(
                f"verdict on session {session}: {field} is {row.get(field)!r}, "
                f"expected {', '.join(words[:-1])} or {words[-1]}"
            )
    if not row.get("source"):
        raise InputError(f"verdict on session {session}: no source; say who decided it")
    return dict(row)
