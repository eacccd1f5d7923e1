"""SQL predicates in plain Python say what DuckDB says."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import TracekitError
from tracekit.stops.live import check
from tracekit.stops.predicates import PredicateError, compiled, parse
from tracekit.stops.ruleset import Rule

COLUMNS = {"a": "bool", "b": "bool", "n": "int", "m": "int", "s": "symbol", "t": "symbol"}
VALUES = {
    "bool": st.none() | st.booleans(),
    "int": st.none() | st.integers(0, 3),
    "symbol": st.none() | st.sampled_from(["x", "y", "it's"]),
}
ROWS = st.fixed_dictionaries({name: VALUES[kind] for name, kind in COLUMNS.items()})
TYPES = {"bool": "BOOLEAN", "int": "BIGINT", "symbol": "VARCHAR"}

numbers = st.sampled_from(["n", "m", "0", "2", "NULL", "coalesce(n, 1)", "coalesce(n, m)"])
texts = st.sampled_from(["s", "t", "'x'", "'it''s'", "NULL", "coalesce(s, '')", "coalesce(s, t)"])
signs = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])


def lists(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=3).map(lambda found: f"({', '.join(found)})")


def predicates() -> st.SearchStrategy[str]:
    leaves = st.one_of(
        st.sampled_from(["a", "b", "TRUE", "false", "NULL", "coalesce(a, FALSE)", "a = b"]),
        *(st.tuples(kind, signs, kind).map(" ".join) for kind in (numbers, texts)),
        *(
            st.tuples(kind, st.sampled_from(["IN", "NOT IN"]), lists(kind)).map(" ".join)
            for kind in (numbers, texts)
        ),
        *(
            st.tuples(kind, st.sampled_from(["IS NULL", "IS NOT NULL"])).map(" ".join)
            for kind in (numbers, texts)
        ),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map("NOT {}".format),
            st.tuples(inner, st.sampled_from([" AND ", " OR "]), inner).map("".join),
            inner.map("({})".format),
        ),
        max_leaves=8,
    )


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@settings(deadline=None, max_examples=200)
@given(predicate=predicates(), rows=st.lists(ROWS, min_size=1, max_size=10))
def test_a_predicate_holds_where_it_holds_in_sql(
    con: duckdb.DuckDBPyConnection, predicate: str, rows: list[dict[str, Any]]
) -> None:
    """Whatever is written in the subset, Python and DuckDB find the same rows, nulls included."""
    declared = ", ".join(f"{name} {TYPES[kind]}" for name, kind in COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TABLE given_rows (i INTEGER, {declared})")
    con.executemany(
        "INSERT INTO given_rows VALUES (?, ?, ?, ?, ?, ?, ?)",
        [[i, *(row[name] for name in COLUMNS)] for i, row in enumerate(rows)],
    )
    query = f"SELECT coalesce({predicate}, FALSE), coalesce(NOT ({predicate}), FALSE)"
    expected = con.execute(f"{query} FROM given_rows ORDER BY i").fetchall()
    function = compiled([predicate, f"NOT ({predicate})"], COLUMNS)
    assert [function(**row) for row in rows] == expected


@pytest.mark.parametrize(
    ("predicate", "reason"),
    [
        ("", "expected a value instead of the end"),
        ("a AND", "expected a value instead of the end"),
        ("(a", "expected \\) instead of the end"),
        ("a b", "cannot read 'b' here"),
        ("a = 'open", 'cannot read "\'open"'),
        ("n + 1 > 2", "cannot read '\\+ 1"),
        ("no_such > 2", "no column or function no_such"),
        ("lower(s) = 'x'", "no column or function lower"),
        ("n", "n is not true or false"),
        ("NOT n > 1 AND s", "s is not true or false"),
        ("s > 2", "s and 2 cannot be compared"),
        ("s IN ('x', 2)", "s and 2 cannot be compared"),
        ("(a OR b) = TRUE", "a predicate where a value is expected"),
        ("n BETWEEN 1 AND 2", "cannot read 'BETWEEN' here"),
        ("s LIKE 'x'", "cannot read 'LIKE' here"),
        ("n >", "expected a value instead of the end"),
    ],
)
def test_what_the_parser_does_not_know_is_an_error(predicate: str, reason: str) -> None:
    """Nothing is guessed: the error says what stands where."""
    with pytest.raises(PredicateError, match=reason):
        parse(predicate, COLUMNS)


def test_a_rule_with_such_a_predicate_is_refused_by_name() -> None:
    """The error names the rule."""
    rule = Rule(id="limit.steps", level="E0", when="s LIKE 'x'")
    with pytest.raises(TracekitError, match=r"stop rule limit\.steps: cannot read 'LIKE' here"):
        check((rule,), COLUMNS)
