"""The classifier on evidence of any kind, and the rules as data."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stop_cases import classified, encode

from tracekit.errors import TracekitError
from tracekit.schema import TABLES, Kind, sql_type
from tracekit.stops import classify, load_taxonomy, register, unmapped
from tracekit.stops.rules import check, evidence_columns, statement
from tracekit.stops.ruleset import Rule
from tracekit.stops.values import values

CODES = load_taxonomy().codes
WORDS: dict[str, st.SearchStrategy[str]] = {
    name: st.sampled_from(options)
    for name, options in {
        "llm_code": [*CODES, "clean", "tool_call"],
        "framework_code": [*CODES, "clean"],
        "llm_error_code": list(CODES),
        "root_code": list(CODES),
        "tool_code": list(CODES),
        "tool_end_code": list(CODES),
        "declared_code": list(CODES),
        "done_class": ["ok", "failed", "infeasible", "needs_input", "partial"],
        "verdict": ["pass", "fail"],
        "llm_state": ["complete", "empty", "refusal", "unclosed_fence", "unterminated_arguments"],
    }.items()
}


def evidence_rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    # Any mixture of values and nulls, also such as no recording would give.
    kinds = {Kind.BOOL: st.booleans(), Kind.INT: st.integers(0, 20)}
    columns = {
        column.name: st.none() | WORDS.get(column.name, kinds.get(column.kind, st.just("x")))
        for column in evidence_columns()[2:]
    }
    return st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=20)


def empty_spans(con: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f'"{c.name}" {sql_type(c)}' for c in TABLES["spans"])
    con.execute(f"CREATE TABLE spans ({columns})")


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    empty_spans(connection)
    classify(connection)
    return connection


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15
)
@given(rows=evidence_rows(), refinements=st.booleans())
def test_every_task_gets_exactly_one_code_of_the_taxonomy(
    con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], refinements: bool
) -> None:
    """Classification is total, whatever the evidence; contributing codes are codes, and others."""
    schema = con.sql("SELECT * FROM evidence LIMIT 0").to_arrow_table().schema
    keyed = [{"session_id": f"s{n}", "task_id": "t", **row} for n, row in enumerate(rows)]
    con.register("given_rows", pa.Table.from_pylist(keyed, schema=schema))
    con.execute("CREATE OR REPLACE TEMP TABLE evidence AS SELECT * FROM given_rows")
    register(con, refinements=refinements)
    con.execute(statement(refinements=refinements))
    found = con.sql("SELECT * FROM stops ORDER BY session_id").to_arrow_table().to_pylist()
    assert sorted(row["session_id"] for row in found) == sorted(row["session_id"] for row in keyed)
    for row in found:
        code = CODES[row["stop_reason"]]
        assert (row["stop_category"], row["stop_outcome"], row["stop_fault"]) == (
            code.category,
            code.outcome,
            code.fault,
        )
        assert row["inferred_stop_reason"] in CODES
        contributing = (row["stop_contributing"] or "").split(",")
        assert row["stop_reason"] not in contributing
        assert set(contributing) - {""} <= set(CODES)
        assert len(contributing) == len(set(contributing))
        assert row["stop_evidence"] in {"declared", "E0", "E1", "E2", "E3"}


def test_the_evidence_table_has_the_declared_columns() -> None:
    """evidence.sql makes the columns of evidence.yaml, in order and of their types."""
    fresh = duckdb.connect()
    empty_spans(fresh)
    classify(fresh)
    found = [(name, str(kind)) for name, kind, *_ in fresh.execute("DESCRIBE evidence").fetchall()]
    assert found == [(c.name, sql_type(c)) for c in evidence_columns()]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Rule(id="limit.steps", level="E0", when="no_such_column > 0"), "no_such_column"),
        (Rule(id="limit.steps", level="E0", when="llm_calls >"), "does not evaluate"),
        (Rule(id="limit.steps", level="E0", when="llm_calls + 1"), "not true or false"),
        (Rule(id="limit.speed", level="E0", when="TRUE"), "no code of the taxonomy"),
    ],
)
def test_a_bad_rule_is_refused_by_name(rule: Rule, reason: str) -> None:
    """The error names the rule and what is wrong with it."""
    with pytest.raises(TracekitError, match=rf"stop rule {rule.id}: .*{reason}"):
        check((rule,))


def test_two_rules_of_one_id_are_refused() -> None:
    """Rule ids are unique."""
    rule = Rule(id="limit.steps", level="E0", when="TRUE")
    with pytest.raises(TracekitError, match="used twice"):
        check((rule, rule))


def test_without_refinements_a_code_folds_into_its_parent() -> None:
    """An overloaded provider is a server error, and its outcome and fault are the parent's."""
    spans = [
        {"is": "agent", "at": [0, 10]},
        {"is": "chat", "at": [1, 9], "status": "error", "error.type": "overloaded_error"},
    ]
    con = classified(encode(spans, "s"))
    assert con.execute("SELECT stop_reason FROM stops").fetchall() == [("provider.overloaded",)]
    classify(con, refinements=False)
    found = con.execute("SELECT stop_reason, stop_contributing, stop_fault FROM stops").fetchall()
    assert found == [("provider.server_error", None, "P")]


def test_the_inferred_outcome_knows_no_verdict_and_no_declaration() -> None:
    """What is compared with the verdict must not have seen it."""
    spans = [
        {
            "is": "agent",
            "at": [0, 10],
            "tracekit.stop.declared": "completed.declared",
            "verdict": "pass",
        },
        {"is": "chat", "at": [1, 9], "finish": "stop"},
    ]
    con = classified(encode(spans, "s"))
    found = con.execute(
        "SELECT stop_reason, inferred_stop_reason, outcome_inferred, outcome_declared FROM stops"
    ).fetchall()
    assert found == [("completed.verified", "completed.unverified", "undetermined", "success")]


DECLARATIONS: list[tuple[dict[str, str], str | None]] = [
    ({}, None),
    ({"tracekit.done.status": "ok"}, "success"),
    ({"tracekit.done.status": "failed"}, "failure"),
    ({"tracekit.done.status": "infeasible"}, "undetermined"),
    ({"tracekit.task.status": "success"}, "success"),
    ({"tracekit.stop.declared": "limit.cost"}, "failure"),
    ({"tracekit.stop.declared": "no.such_code"}, None),
]


def test_the_declared_outcome_is_what_was_declared() -> None:
    """Typed statuses and codes declare an outcome; nothing else does."""
    data = b"".join(
        encode(
            [
                {"is": "agent", "at": [0, 10], **attributes},
                {"is": "chat", "at": [1, 9], "finish": "stop"},
            ],
            str(n),
            n,
        )
        for n, (attributes, _) in enumerate(DECLARATIONS)
    )
    found = classified(data).execute("SELECT outcome_declared FROM stops ORDER BY session_id")
    assert [row[0] for row in found.fetchall()] == [outcome for _, outcome in DECLARATIONS]


def test_an_unmapped_value_is_counted_and_stays_as_written() -> None:
    """The raw values are untouched, and every unknown one is counted with its provider."""
    con = classified(
        encode(
            [
                {"is": "agent", "at": [0, 10], "tracekit.stop.framework_raw": "Ran Off"},
                {"is": "chat", "at": [1, 2], "finish": "Mind_Wandered"},
                {"is": "chat", "at": [2, 3], "finish": "Mind_Wandered"},
                {"is": "chat", "at": [3, 9], "status": "error", "error.type": "WeirdError"},
            ],
            "s",
        )
    )
    found = {(kind, provider, raw, spans) for kind, provider, raw, spans in unmapped(con)}
    assert ("stop", "openai", "Mind_Wandered", 2) in found
    assert ("error", "openai", "WeirdError", 1) in found
    assert {raw for kind, _, raw, _ in found if kind == "framework"} == {"Ran Off"}
    raw = con.execute("SELECT stop_framework_raw, stop_reason FROM stops").fetchall()
    assert raw == [("Ran Off", "unknown.no_evidence")]


def test_value_tables_hold_one_row_per_value(con: duckdb.DuckDBPyConnection) -> None:
    """The tables other models join with never multiply their rows."""
    for table, key in {
        "stop_values": "provider, raw",
        "error_values": "raw",
        "http_values": "status",
        "stop_codes": "code",
    }.items():
        doubles = con.execute(f"SELECT {key} FROM {table} GROUP BY {key} HAVING count(*) > 1")
        assert doubles.fetchall() == [], table
    assert values().http[529] == "provider.overloaded"
