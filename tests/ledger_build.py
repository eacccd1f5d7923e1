"""Build small ledgers for tests: `ledger(tasks=[task("s1", outcome="success", cost_usd=0.5)])`.

The tables are those of `tracekit/schema.yaml`; the views add what the lake's catalogue adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from tracekit import schema

EPOCH_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z, the zero of every time in a test."""

Row = Mapping[str, Any]

_ADDED = """
make_timestamp_ns(start_ns) AS started_at"""
_VERDICT = """,
coalesce(outcome_given, outcome_inferred) AS outcome,
CASE WHEN outcome_given IS NULL THEN 'inferred' ELSE 'verified' END AS outcome_source"""


def task(session_id: str, **values: Any) -> dict[str, Any]:
    """Return a task with believable defaults; `outcome` is its verified verdict."""
    start_s = values.pop("start_s", 0)
    return {
        "session_id": session_id,
        "task_id": session_id,
        "start_ns": EPOCH_NS + int(start_s * 1e9),
        "duration_s": 10.0,
        "spans": 3,
        "llm_calls": 2,
        "tool_calls": 1,
        "tool_errors": 0,
        "unpriced_calls": 0,
        "stop_reason": "completed.unverified",
        "stop_category": "completed",
        "stop_outcome": "undetermined",
        "stop_raw": "stop",
        "outcome_inferred": "undetermined",
        "outcome_given": values.pop("outcome", None),
        "weight": 1.0,
        "kept": True,
    } | values


def attempt(session_id: str, start_s: float = 0, **values: Any) -> dict[str, Any]:
    """Return an attempt that succeeded, with believable defaults; `failed` gives a failed one."""
    span_id = values.get("span_id", f"{session_id}-{start_s:g}")
    return {
        "session_id": session_id,
        "task_id": session_id,
        "trace_id": session_id,
        "span_id": span_id,
        "call_id": span_id,
        "attempt": 1,
        "is_final": True,
        "start_ns": EPOCH_NS + int(start_s * 1e9),
        "duration_s": 1.0,
        "agent_name": "agent",
        "provider": "openai",
        "model": "gpt-4.1",
        "status": "ok",
        "http_status": 200,
        "stop_class": "clean",
        "input_tokens": 1000,
        "output_tokens": 100,
    } | values


def failed(
    session_id: str,
    start_s: float = 0,
    failure_class: str = "provider.server_error",
    http_status: int | None = 500,
    **values: Any,
) -> dict[str, Any]:
    """Return an attempt that failed."""
    what = {
        "status": "error",
        "failure_class": failure_class,
        "http_status": http_status,
        "stop_class": None,
        "output_tokens": None,
    }
    return attempt(session_id, start_s, **(what | values))


def _table(con: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Row]) -> None:
    fields = list(schema.arrow_schema(schema.TABLES[name]))
    known = {field.name for field in fields}
    if name in {"sessions", "tasks"}:
        fields.append(pa.field("outcome_given", pa.string()))
        fields += [
            field
            for field in (pa.field("kept", pa.bool_()), pa.field("weight", pa.float64()))
            if field.name not in known
        ]
    data = pa.Table.from_pylist(
        [dict(row) for row in rows],
        schema=pa.schema([pa.field(field.name, _plain(field.type)) for field in fields]),
    )
    con.register(f"{name}_rows", data)
    added = _ADDED + (_VERDICT if name in {"sessions", "tasks"} else "")
    extra = "" if name == "outcomes" else f", {added}"
    con.execute(f"CREATE VIEW {name} AS SELECT *{extra} FROM {name}_rows")


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(kind) else kind


def ledger(
    tasks: Iterable[Row] = (),
    sessions: Iterable[Row] | None = None,
    spans: Iterable[Row] = (),
    outcomes: Iterable[Row] = (),
    attempts: Iterable[Row] = (),
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the five views; sessions default to one per task."""
    con = duckdb.connect()
    tasks = list(tasks)
    if sessions is None:
        sessions = [
            {key: value for key, value in row.items() if key != "task_id"} | {"tasks": 1}
            for row in tasks
        ]
    _table(con, "tasks", tasks)
    _table(con, "sessions", sessions)
    _table(con, "spans", spans)
    _table(con, "attempts", attempts)
    _table(con, "outcomes", outcomes)
    return con
