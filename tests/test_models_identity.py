"""Which spans there are, and which session and task they belong to."""

from __future__ import annotations

import duckdb
import pyarrow as pa
from models_build import AGENT, LLM, RECORDED_NS, TOOL, USED, ledger, row, rows
from otlp_build import request, span

from tracekit.models import run
from tracekit.otlp.reference import scan_reference
from tracekit.schema import DERIVED, TABLES, sql_type


def test_tables_have_the_declared_columns_in_order() -> None:
    """Every table has the columns and types of the schema, in its order."""
    con = ledger(span("chat gpt-4o", USED))
    for table in DERIVED:
        columns = TABLES[table]
        found = [(name, kind) for name, kind, *_ in con.execute(f"DESCRIBE {table}").fetchall()]
        assert found == [(column.name, sql_type(column)) for column in columns]


def test_no_spans_make_empty_tables() -> None:
    """A request without spans is no error."""
    con = ledger()
    assert [rows(con, table, "session_id") for table in DERIVED] == [[]] * len(DERIVED)


def test_a_span_received_twice_counts_once_and_the_later_end_wins() -> None:
    """Of two copies of a span the one that ended later stays."""
    early = span("chat gpt-4o", LLM, end=1, span_id=7)
    late = span("chat gpt-4o", USED, end=2, span_id=7)
    unended = span("chat gpt-4o", LLM, end=None, span_id=7)
    con = ledger(early, late, unended, late)
    assert row(con, "spans", "duration_s", "input_tokens") == (2.0, 1000)
    assert row(con, "sessions", "spans", "llm_calls") == (1, 1)


def test_one_span_id_in_two_traces_is_two_spans() -> None:
    """Only the pair of trace and span id identifies a span."""
    con = ledger(span("a", LLM, trace=1, span_id=7), span("b", LLM, trace=2, span_id=7))
    assert len(rows(con, "spans", "name")) == 2


def test_running_twice_changes_nothing() -> None:
    """The tables after a second run on the same connection are those of the first."""
    con = duckdb.connect()
    root = span("invoke_agent", AGENT, end=9)
    data = request([root, span("chat", USED, parent=root), span("tool", TOOL, parent=root)])
    results = []
    for _ in range(2):
        run(con, scan_reference(data), recorded_ns=RECORDED_NS)
        results.append([rows(con, table, "*") for table in DERIVED])
    assert results[0] == results[1]


def test_scanned_may_be_a_table_of_the_connection() -> None:
    """Without an argument the models read table `scanned`, and leave the connection's settings."""
    con = duckdb.connect()
    scanned = scan_reference(request([span("chat gpt-4o", USED)]))
    con.register("scanned", scanned)
    run(con, recorded_ns=RECORDED_NS)
    numbered = scanned.append_column("row_id", pa.array([17]))
    con.register("scanned", numbered)
    run(con, recorded_ns=RECORDED_NS)
    assert row(con, "sessions", "llm_calls") == 1
    assert con.execute("SELECT current_setting('preserve_insertion_order')").fetchall() == [(True,)]


def test_the_roots_session_key_spreads_to_its_trace() -> None:
    """A span without a key takes the root's, and one with a key keeps its own."""
    root = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "of the root"}, end=9)
    own = {"gen_ai.conversation.id": "its own"}
    con = ledger(root, span("a", LLM, parent=root, start=1), span("b", own, parent=root, start=2))
    assert rows(con, "spans", "session_id", "session_source") == [
        ("of the root", "attribute"),
        ("of the root", "trace"),
        ("its own", "attribute"),
    ]


def test_the_smallest_session_key_spreads_where_the_root_has_none() -> None:
    """The answer does not depend on which span came first; an empty key is none."""
    root = span("invoke_agent", AGENT | {"gen_ai.conversation.id": ""}, end=9)
    keys = ({"session.id": key} for key in ("k2", "k1"))
    con = ledger(root, *(span("x", key, parent=root, start=1) for key in keys))
    assert rows(con, "spans", "session_id")[0] == "k1"


def test_a_trace_without_a_key_is_its_own_session() -> None:
    """The trace id is the last resort."""
    con = ledger(span("chat", LLM, trace=0xAB))
    assert row(con, "spans", "session_id", "session_source") == (f"{0xAB:032x}", "trace_id")


def test_a_session_spans_traces() -> None:
    """Traces with one session key are one session."""
    key = {"gen_ai.conversation.id": "c"}
    con = ledger(*(span("chat", USED | key, trace=trace) for trace in (1, 2, 3)))
    assert row(con, "sessions", "session_id", "traces", "llm_calls", "tasks") == ("c", 3, 3, 1)


def test_without_a_declared_task_the_session_is_the_task() -> None:
    """A span's task is never null."""
    con = ledger(span("chat", USED | {"gen_ai.conversation.id": "c"}))
    assert row(con, "spans", "task_id") == "c"
    assert row(con, "tasks", "session_id", "task_id") == ("c", "c")


def test_a_single_declared_task_is_the_whole_session() -> None:
    """One task id anywhere in a session holds for all of its spans, in all of its traces."""
    key = {"gen_ai.conversation.id": "c"}
    root = span("invoke_agent", AGENT | key, end=9)
    named = span("task", {"tracekit.task.id": "t"}, parent=root, start=1, end=2)
    con = ledger(root, named, span("chat", USED | key, trace=2, start=20, end=21))
    assert rows(con, "spans", "task_id") == ["t", "t", "t"]
    assert row(con, "tasks", "task_id", "llm_calls") == ("t", 1)


def test_of_several_tasks_the_innermost_that_contains_a_span_is_its_task() -> None:
    """Inside two nested task spans, a span belongs to the inner one; outside of all, to none."""
    root = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "c"}, end=30)
    outer = span("task", {"tracekit.task.id": "outer"}, parent=root, start=1, end=20)
    inner = span("task", {"tracekit.task.id": "inner"}, parent=outer, start=5, end=10)
    con = ledger(
        root,
        outer,
        inner,
        span("chat", USED, parent=outer, start=2, end=3),
        span("chat", USED, parent=inner, start=6, end=7),
        span("chat", USED, parent=inner, start=9, end=11),
        span("chat", USED, parent=root, start=25, end=26),
    )
    tasks = rows(con, "spans", "task_id")
    assert tasks == ["c", "outer", "outer", "inner", "inner", "outer", "c"]


def test_a_task_does_not_reach_into_another_trace() -> None:
    """Containment counts within one trace: clocks and concurrency differ between traces."""
    key = {"gen_ai.conversation.id": "c"}
    con = ledger(
        span("a", key | {"tracekit.task.id": "a"}, trace=1, end=10),
        span("b", key | {"tracekit.task.id": "b"}, trace=2, end=10),
        span("chat", USED | key, trace=3, start=1, end=2),
    )
    assert rows(con, "spans", "task_id")[-1] == "c"


def test_what_no_task_contains_is_no_task_but_costs_the_session() -> None:
    """The spans outside all tasks of a session get no row in tasks; its sums hold them."""
    root = span("invoke_agent", AGENT | {"gen_ai.conversation.id": "c"}, end=30)
    con = ledger(
        root,
        *(
            span("task", {"tracekit.task.id": name}, parent=root, start=at, end=at + 1)
            for at, name in enumerate("ab", 1)
        ),
        span("chat", USED, parent=root, start=25, end=26),
    )
    assert rows(con, "tasks", "task_id", "llm_calls") == [("a", 0), ("b", 0)]
    assert row(con, "sessions", "tasks", "llm_calls") == (2, 1)
