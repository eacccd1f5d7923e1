"""Stops judged in a running process are those of the classifier."""

from __future__ import annotations

from random import Random
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stop_cases import Case, cases, classified, encode

from tracekit.schema import Kind, sql_type
from tracekit.stops import live, load_taxonomy, register
from tracekit.stops.rules import evidence_columns, load, statement
from tracekit.stops.values import values

CODES = load_taxonomy().codes
CLASSES = ["clean", "tool_call"]
WORDS: dict[str, list[str]] = {
    "llm_code": [*CODES, *CLASSES],
    "framework_code": [*CODES, *CLASSES],
    "llm_error_code": list(CODES),
    "root_code": list(CODES),
    "tool_code": list(CODES),
    "tool_end_code": list(CODES),
    "declared_code": list(CODES),
    "done_class": ["ok", "failed", "infeasible", "needs_input", "partial"],
    "verdict": ["pass", "fail"],
    "llm_state": [
        *("complete", "empty", "refusal", "unclosed_fence", "unclosed_bracket"),
        *("invalid_json", "unterminated_arguments"),
    ],
}
COLUMNS = [column for column in evidence_columns() if not column.name.endswith("_id")]
CASES = cases()


def quiet_row(random: Random) -> dict[str, Any]:
    """Return a row in which most columns are quiet, as they are, and some say something."""
    words: dict[Kind, list[Any]] = {
        Kind.BOOL: [None, False, False, True],
        Kind.INT: [None, 0, 0, 0, 1, 2, 3, 5, 12],
    }
    silent = [None] * random.randrange(30)
    return {
        column.name: random.choice(
            words.get(column.kind) or [*silent, *WORDS.get(column.name, ["x"])]
        )
        for column in COLUMNS
    }


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    declared = ", ".join(f"{c.name} {sql_type(c)}" for c in evidence_columns())
    connection.execute(f"CREATE TABLE evidence ({declared})")
    register(connection)
    return connection


def by_sql(con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    schema = con.sql("SELECT * FROM evidence LIMIT 0").to_arrow_table().schema
    keyed = [{"session_id": f"{n:06}", "task_id": "t", **row} for n, row in enumerate(rows)]
    con.register("given_rows", pa.Table.from_pylist(keyed, schema=schema))
    con.execute("CREATE OR REPLACE TEMP TABLE evidence AS SELECT * FROM given_rows")
    con.execute(statement())
    return con.execute(
        "SELECT stop_reason, stop_category, stop_outcome, stop_fault, stop_rule, stop_rule_version,"
        " stop_evidence, coalesce(stop_contributing, '') FROM stops ORDER BY session_id"
    ).fetchall()


def by_python(row: dict[str, Any]) -> tuple[Any, ...]:
    judgement = live.judge(row)
    return (*judgement[:-1], ",".join(judgement.contributing))


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1 << 30))
def test_a_judgement_is_the_classifiers(con: duckdb.DuckDBPyConnection, seed: int) -> None:
    """On any evidence Python and SQL give the same stop, rule, level and contributing codes."""
    random = Random(seed)
    rows = [quiet_row(random) for _ in range(300)]
    assert [by_python(row) for row in rows] == by_sql(con, rows)


def test_every_weighing_of_a_declared_code_is_the_classifiers(
    con: duckdb.DuckDBPyConnection,
) -> None:
    """Each declared code is weighed against each code that can be found, with each verdict."""
    quiet: dict[str, Any] = {column.name: None for column in COLUMNS}
    rows = [
        {**quiet, "declared_code": declared, "root_code": found, "verdict": verdict}
        for declared in CODES
        for found in (*CODES, None)
        for verdict in ("pass", "fail", None)
    ]
    assert [by_python(row) for row in rows] == by_sql(con, rows)


def test_every_recorded_case_gets_its_stop_from_its_evidence() -> None:
    """The evidence of every stop case is judged as the case expects."""
    data = b"".join(encode(case.spans, case.name, n) for n, case in enumerate(CASES))
    con = classified(data)
    rows = con.sql("SELECT * FROM evidence").to_arrow_table().to_pylist()
    expected: dict[str, Case] = {case.name: case for case in CASES}
    assert len(rows) == len(CASES)
    for row in rows:
        found, case = live.judge(row), expected[row["session_id"]]
        assert (found.reason, found.outcome, found.evidence) == (
            case.expect["code"],
            case.expect["outcome"],
            case.expect["level"],
        )


def test_no_evidence_is_no_reason() -> None:
    """A task nothing is known of has an unknown stop, and an unknown declared code says nothing."""
    assert live.judge({}).reason == "unknown.no_evidence"
    assert live.judge({"declared_code": "limit.speed"}).reason == "unknown.no_evidence"


def test_the_rules_checked_by_sql_are_the_rules_judged_by() -> None:
    """Both engines read one file, and neither changes a rule."""
    assert {rule.code for rule in load().rules} == set(CODES)
    assert all(live.is_code(rule.code) for rule in load().rules)


@pytest.mark.parametrize(
    ("provider", "raw", "meaning"),
    [
        ("openai", None, None),
        ("openai", "stop", "clean"),
        ("OpenAI", "STOP", "clean"),
        (None, "tool_calls", "tool_call"),
        ("openai", "stop,length", "truncated.output_limit"),
        ("openai", "tool_calls,stop", "tool_call"),
        ("openai", "who_knows", None),
        ("openai", "who_knows,stop", "clean"),
        ("cohere", "ERROR_LIMIT", "truncated.context_window"),
        ("gcp.gemini", "FinishReason.MAX_TOKENS", "truncated.output_limit"),
        ("aws.bedrock", "failed", "runtime.exception"),
        ("openai", "failed", "provider.server_error"),
    ],
)
def test_a_stop_value_has_the_class_of_the_models(
    provider: str | None, raw: str | None, meaning: str | None
) -> None:
    """The provider's own meaning goes first, and of several values the one that says most."""
    assert live.stop_class(provider, raw) == meaning


def test_stop_values_joined_at_random_have_the_class_of_the_models() -> None:
    """Pairs of known values of every provider are classed as the models class them."""
    known = values().stops
    pairs = [
        (provider, f"{one},{other}")
        for provider in known
        if provider != "*"
        for one in (*known[provider], "nobody_knows", "stop")
        for other in ("stop", "length", "tool_calls", "nobody_knows")
    ]
    spans = [
        {
            "is": "chat",
            "at": [n, n + 1],
            "finish": raw,
            "parent": "none",
            "trace": n,
            "gen_ai.provider.name": provider,
        }
        for n, (provider, raw) in enumerate(pairs, 1)
    ]
    con = classified(encode(spans, "s"))
    found = con.execute("SELECT provider, stop_raw, stop_class FROM spans ORDER BY start_ns")
    assert found.fetchall() == [(p, raw, live.stop_class(p, raw)) for p, raw in pairs]


@pytest.mark.parametrize(
    ("error", "http_status", "place", "code"),
    [
        ("openai.RateLimitError", None, "inference", "provider.rate_limited"),
        ("429", None, "inference", "provider.rate_limited"),
        (None, 529, "inference", "provider.overloaded"),
        ("NobodyKnows", 503, "inference", "provider.overloaded"),
        ("TimeoutError", None, "tool", "tool.timeout"),
        (None, 504, "tool", "tool.timeout"),
        (None, 404, "tool", None),
        ("TimeoutError", None, "run", "limit.time"),
        ("NobodyKnows", 503, "run", None),
        (None, None, "inference", None),
    ],
)
def test_an_error_means_what_it_means_where_it_was_raised(
    error: str | None, http_status: int | None, place: str, code: str | None
) -> None:
    """The type says more than the status, and a run has no status."""
    assert live.error_code(error, http_status, place) == code
