"""Two instrumentations on the same work: nothing is counted twice, and no two things as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
from models_build import AGENT, RECORDED_NS, TOOL, USED, ledger, row, rows
from otlp_build import request, span

from tracekit.models import run
from tracekit.otlp.reference import scan_reference

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

ROOT = span("invoke_agent", AGENT, end=20)
LISTED = {"tracekit.tool.arguments_hash": 7}


def both(theirs: list[Span], ours: list[Span]) -> duckdb.DuckDBPyConnection:
    """Return the ledger of spans of two instrumentation scopes."""
    con = duckdb.connect()
    data = request([ROOT, *theirs], None, "langfuse-sdk") + request(ours, None, "tracekit")
    run(con, scan_reference(data), recorded_ns=RECORDED_NS)
    return con


def call(start: float, end: float, **changes: int) -> Span:
    keys = USED | {f"gen_ai.usage.{name}": value for name, value in changes.items()}
    return span("chat", keys, parent=ROOT, start=start, end=end)


def test_a_call_beside_the_one_it_encloses_counts_once() -> None:
    """Where neither is the parent and there is no response id, time and usage tell."""
    con = both([call(1, 5)], [call(2, 4)])
    assert rows(con, "spans", "name", "billable") == [
        ("invoke_agent", False),
        ("chat", False),
        ("chat", True),
    ]
    assert row(con, "sessions", "llm_calls", "input_tokens") == (1, 1000)


def test_calls_side_by_side_of_one_instrumentation_are_two() -> None:
    """Parallel calls may be alike: within one scope every span is a call."""
    assert row(both([call(1, 5), call(2, 4)], []), "sessions", "llm_calls") == 2


def test_calls_of_other_usage_or_another_time_are_two() -> None:
    """Only the same usage within the time of the other tells of the same call."""
    assert row(both([call(1, 5)], [call(2, 4, input_tokens=7)]), "sessions", "llm_calls") == 2
    assert row(both([call(1, 5)], [call(2, 6)]), "sessions", "llm_calls") == 2


def test_a_tool_told_of_twice_counts_once() -> None:
    """A span of the same tool around or beside the one inside it is a step."""
    around = span("execute_tool search", TOOL, parent=ROOT, start=1, end=5)
    beside = span("execute_tool search", TOOL, parent=ROOT, start=2, end=4)
    assert row(both([around], [beside]), "sessions", "tool_calls") == 1
    inside = span("execute_tool search", TOOL, parent=around, start=2, end=4)
    assert row(both([around], [inside]), "sessions", "tool_calls") == 1
    assert rows(both([around], [inside]), "spans", "operation") == ["agent", "step", "tool"]


def test_a_decorated_tool_in_a_frameworks_is_one_call() -> None:
    """Within one instrumentation the arguments tell: a tool may call itself with others."""
    around = span("execute_tool search", TOOL | LISTED, parent=ROOT, start=1, end=5)
    same = span("execute_tool search", TOOL | LISTED, parent=around, start=2, end=4)
    other = span(
        "execute_tool search",
        TOOL | {"tracekit.tool.arguments_hash": 8},
        parent=around,
        start=2,
        end=4,
    )
    assert row(ledger(ROOT, around, same), "sessions", "tool_calls") == 1
    assert row(ledger(ROOT, around, other), "sessions", "tool_calls") == 2


def test_a_scrubbed_session_is_no_session() -> None:
    """Logfire writes the same note over every session key: sessions stay apart."""
    note = {"tracekit.session.id": "[Scrubbed due to 'session']"}
    con = ledger(
        span("a", USED | note, trace=1),
        span("b", USED | note, trace=2),
        span("c", USED | note, trace=3),
        span("d", USED | {"tracekit.session.id": "s"}, trace=3, start=1),
    )
    found = rows(con, "spans", "name", "session_id", "session_source")
    assert [source for _, _, source in found] == ["trace_id", "trace_id", "trace", "attribute"]
    assert [session for _, session, _ in found][2:] == ["s", "s"]
    assert row(con, "sessions WHERE session_id = 's'", "spans") == 2
