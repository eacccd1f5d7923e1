"""The columns of the Parquet files: the declared ones, and those the lake keeps for itself.

Spans of a session may arrive on several days, and what a span means depends on the others: its
session key may stand on another span, it may turn out to be a retry, its task may be known only
when the task's span ends. So a session that receives spans is derived again, from all of its spans
*as they were scanned*. Models read some scanned columns and replace others; those are stored beside
the derived ones as `scanned_<column>`. Every other scanned column passes the models unchanged and
is stored once. With them, the scanned rows that a session came from can be read back exactly, and
deriving is a function of the set of scanned rows alone, so nothing depends on the order or the
grouping of imports.

The views show none of these columns.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from hashlib import sha256

from tracekit.models import REPLACED
from tracekit.schema import SPAN_COLUMNS, TABLES, Column, Kind, Stage, scanned_columns, sql_type

REWRITTEN = ("task_id", "task_name", "agent_name", "tool_name")
"""Public scanned columns that models fill where a span has none. A test compares all the others."""

TRACE_IDS = "lake_trace_ids"
"""In sessions: every trace of the session, to find the sessions a new span touches."""

ONLY_TASK = "lake_only_task"
"""In tasks: whether the session has no other task, so that a verdict on either is on both."""

FROM_SPANS = "lake_from_spans"
"""In outcomes: whether deriving the session again makes the row again, or it was recorded alone."""

_OWN = {
    "sessions": {TRACE_IDS: "VARCHAR[]"},
    "tasks": {ONLY_TASK: "BOOLEAN"},
    "outcomes": {FROM_SPANS: "BOOLEAN"},
}

SESSION_ORDER = {
    "spans": "session_id, start_ns, span_id",
    "attempts": "session_id, start_ns, span_id",
    "tasks": "session_id, start_ns, task_id",
    "sessions": "session_id",
    "outcomes": "session_id, decided_ns",
    "detections": "session_id, detector",
    "baselines": "agent_name, task_name",
}
"""A session's rows lie together, and row groups cover few ids: looking one session up is cheap."""


def received_columns() -> tuple[Column, ...]:
    """Return the scanned columns without captured content: the input of the models."""
    return tuple(column for column in scanned_columns() if column.kind is not Kind.CONTENT)


def made_columns() -> tuple[str, ...]:
    """Return what the models make of a span, behind what places and orders it."""
    made = (
        column.name
        for column in TABLES["spans"]
        if column.stage is Stage.DERIVED or column.name in REPLACED
    )
    return ("row_id", "start_ns", "span_id", *made)


@cache
def kept_columns() -> tuple[Column, ...]:
    """Return the scanned columns that the spans' files hold beside the declared ones."""
    internal = {column.name for column in SPAN_COLUMNS if column.internal}
    return tuple(
        replace(column, name=stored_name(column))
        for column in received_columns()
        if column.name in internal or column.name in REWRITTEN
    )


def stored_name(column: Column) -> str:
    """Return the name under which the spans' files hold a scanned column."""
    return f"scanned_{column.name}" if column.internal or column.name in REWRITTEN else column.name


def stored_types(table: str) -> dict[str, str]:
    """Return the DuckDB type of every column in a table's files, in order."""
    types = {column.name: sql_type(column) for column in TABLES[table]}
    if table == "spans":
        types |= {column.name: sql_type(column) for column in kept_columns()}
    return types | _OWN.get(table, {})


@cache
def layout() -> str:
    """Return a name for the columns all files are written with today.

    Files with another layout, or none, were written before a column was added.
    """
    described = repr([(table, stored_types(table)) for table in TABLES])
    return sha256(described.encode()).hexdigest()[:8]
