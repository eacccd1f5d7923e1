"""Run the models on the spans of a test: `ledger(span(...), span(...))`, then `rows(con, ...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
from otlp_build import request

from tracekit.models import run
from tracekit.otlp.reference import scan_reference

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

RECORDED_NS = 1_790_000_000_000_000_000
"""When the lake of a test learned of its verdicts."""

LLM = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
}
"""A model call."""

USED = LLM | {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
"""A model call that tells its usage; it costs 0.0035 USD."""

TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}


def ledger(
    *spans: Span, scope: str = "", resource: dict[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables the models make of some spans of one scope."""
    con = duckdb.connect()
    run(con, scan_reference(request(spans, resource, scope)), recorded_ns=RECORDED_NS)
    return con


def rows(con: duckdb.DuckDBPyConnection, table: str, *columns: str) -> list[Any]:
    """Return a table's rows by start: values of one column, or tuples of several."""
    order = {"outcomes": "decided_ns, task_id"}.get(table, "start_ns, end_ns DESC")
    if table == "attempts":
        order = "start_ns, duration_s DESC"
    found = con.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}").fetchall()
    return [row[0] for row in found] if len(columns) == 1 else found


def row(con: duckdb.DuckDBPyConnection, table: str, *columns: str) -> Any:
    """Return the only row of a table: a value of one column, or a tuple of several."""
    (only,) = rows(con, table, *columns)
    return only
