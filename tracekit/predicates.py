"""Checking predicates that people write: one boolean expression over columns, nothing else."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import duckdb
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_BEFORE = "SELECT (\n"
"""What precedes a predicate where it is parsed; a line of its own, as it may end in a comment."""


class PredicateError(ValueError):
    """A predicate cannot be used.

    Attributes:
        line: Line of the predicate it is about, from 0.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Allowed:
    nodes: frozenset[str]
    functions: frozenset[str]


@cache
def _allowed() -> _Allowed:
    text = resources.files("tracekit").joinpath("predicates.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    functions = (name for names in document["functions"].values() for name in names)
    return _Allowed(frozenset(document["nodes"]), frozenset(functions))


def confined() -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB that reaches nothing else of the machine, settings locked."""
    con = duckdb.connect(config={"python_enable_replacements": False, "threads": 1})
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


@dataclass(frozen=True, slots=True)
class Subject:
    """What predicates are about.

    Attributes:
        noun: What one row is: a session, a task.
        create: Makes its empty table.
        source: What stands after FROM.
        names: The columns a predicate may name.
        unknown: Says what is to be said of a name that is none of them.
    """

    noun: str
    create: Callable[[duckdb.DuckDBPyConnection], None]
    source: str
    names: frozenset[str]
    unknown: Callable[[str], str]


class Checker:
    """Checks predicates against an empty table of their subject."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._con = confined()
        subject.create(self._con)

    def check(self, predicate: str) -> frozenset[str]:
        """Return the columns of what is one boolean expression that always gives the same answer.

        Raises:
            PredicateError: Naming what is wrong, and what was perhaps meant.
        """
        nodes = list(self._nodes(predicate))
        for node in nodes:
            self._check_node(node, predicate)
        try:
            found = self._con.execute(
                f"SELECT TRY(\n{predicate}\n) FROM {self._subject.source} LIMIT 0"
            ).description
        except duckdb.Error as error:
            raise PredicateError(_first_line(error)) from error
        if str(found[0][1]) != "BOOLEAN":
            raise PredicateError(f"it gives {found[0][1]}, not true or false: compare it")
        columns = (node for node in nodes if node["class"] == "COLUMN_REF")
        return frozenset(node["column_names"][0].lower() for node in columns)

    def _nodes(self, predicate: str) -> Iterator[dict[str, Any]]:
        # What is an expression without parentheses too cannot close them: `true) OR (true`.
        self._parsed(f"SELECT {predicate}\n")
        tree = self._parsed(f"{_BEFORE}{predicate}\n)")
        statements = tree["statements"]
        if len(statements) != 1 or len(statements[0]["node"]["select_list"]) != 1:
            raise PredicateError("it must be one expression")
        yield from _walk(statements[0]["node"]["select_list"])

    def _parsed(self, query: str) -> dict[str, Any]:
        try:
            row = self._con.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
        except duckdb.Error as error:
            raise PredicateError(_first_line(error)) from error
        tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
        if tree["error"]:
            told = " ".join(str(tree.get("error_message", "")).split())
            raise PredicateError(f"it is no SQL expression: {told}")
        return tree

    def _check_node(self, node: dict[str, Any], predicate: str) -> None:
        kind = node["class"]
        start = int(node.get("query_location") or 0) - len(_BEFORE)
        text = predicate.encode()
        line = text[:start].count(b"\n") if 0 <= start <= len(text) else 0
        if kind not in _allowed().nodes:
            what = {"SUBQUERY": "subqueries", "WINDOW": "window functions", "STAR": "stars"}
            named = what.get(kind, f"{kind.lower()} expressions")
            about = f"it is about one {self._subject.noun}"
            raise PredicateError(f"{named} are not allowed: {about}", line)
        if kind == "COLUMN_REF":
            names = node["column_names"]
            if len(names) > 1 or names[0].lower() not in self._subject.names:
                hint = "; text goes in 'single quotes'" if f'"{names[-1]}"' in predicate else ""
                raise PredicateError(self._subject.unknown(".".join(names)) + hint, line)
        if kind == "FUNCTION" and node["function_name"].lower() not in _allowed().functions:
            raise PredicateError(self._refused(node["function_name"].lower()), line)

    def _refused(self, name: str) -> str:
        rows = self._con.execute(
            "SELECT DISTINCT function_type, stability FROM duckdb_functions() "
            "WHERE function_name = ?",
            [name],
        ).fetchall()
        if not rows:
            return f"no function {name}(){unknown(name, _allowed().functions)}"
        kinds, stabilities = zip(*rows, strict=True)
        if "aggregate" in kinds or name == "count_star":
            return f"{name}() is an aggregate; it is about one {self._subject.noun}"
        if set(stabilities) - {"CONSISTENT", None}:
            return f"{name}() does not always give the same answer; a predicate must"
        return f"{name}() is not allowed in predicates{unknown(name, _allowed().functions)}"


def unknown(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a word nobody knows, or nothing where none is close."""
    close = difflib.get_close_matches(word.lower(), list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _walk(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if "class" in tree and "type" in tree:
            yield tree
        for value in tree.values():
            yield from _walk(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _walk(value)


def _first_line(error: duckdb.Error) -> str:
    line = (str(error).strip().splitlines() or ["it cannot be evaluated"])[0]
    return re.sub(r"^[A-Z][\w ]* Error: ", "", line)
