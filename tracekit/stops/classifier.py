"""Why every task really stopped: table `stops` from table `spans`, in DuckDB."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from tracekit import scripts
from tracekit.stops import rules, taxonomy
from tracekit.stops.values import Values, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

_TEXT: Final = pa.string()
_INT: Final = pa.int64()


class Unmapped(NamedTuple):
    """A reported value without a meaning.

    Attributes:
        kind: What it is: stop, framework, error or declared.
        provider: Canonical provider of the spans (the dialect, for framework and declared values).
        raw: The value as written.
        spans: Spans that carry it.
    """

    kind: str
    provider: str
    raw: str
    spans: int


def register(con: duckdb.DuckDBPyConnection, *, refinements: bool = True) -> None:
    """Create the value tables the models and the classifier join with, as temporary tables.

    stop_values(provider, raw, class): provider stop values in lower case; provider `*` is any.
    error_values(raw, code, tool_code, root_code): error types in lower case, without module path;
    code is their meaning on a model call.
    http_values(status, code, tool_code): HTTP statuses.
    stop_codes(code, category, outcome, fault, parent, level): the taxonomy.
    stop_rules(n, rule, code, level): the rules in order.
    """
    for name, table in _tables(refinements).items():
        _create(con, name, table)


def classify(
    con: duckdb.DuckDBPyConnection,
    spans: str = "spans",
    *,
    refinements: bool = True,
    registered: bool = False,
) -> None:
    """Create tables `evidence` and `stops` from the spans.

    Both have one row per (session_id, task_id). `evidence` has the columns of `evidence.yaml`;
    `stops` the key and the columns of the groups stop and verdict of `tracekit/schema.yaml`.

    Args:
        con: Connection to work in.
        spans: Table or view with the columns of `schema.TABLES["spans"]` that the evidence needs.
        refinements: Give the optional refinements; otherwise the core codes they fold into.
        registered: The connection has been through `register` before, with the same refinements.
    """
    if not registered:
        register(con, refinements=refinements)
    con.execute(f"CREATE OR REPLACE TEMP VIEW stop_spans AS SELECT * FROM {spans}")
    _resolve(con)
    scripts.run(con, _sql("evidence.sql"))
    scripts.run(con, _statement(refinements))


def unmapped(con: duckdb.DuckDBPyConnection) -> list[Unmapped]:
    """Return the reported values of the spans that have no meaning, most frequent first.

    Call it after `classify` on the same connection.
    """
    return [Unmapped(*row) for row in con.execute(_sql("unmapped.sql")).fetchall()]


@cache
def _sql(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _statement(refinements: bool) -> str:
    return rules.statement(refinements=refinements)


def _create(con: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    con.register("tracekit_stops_import", table)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM tracekit_stops_import")
    con.unregister("tracekit_stops_import")


def _table(columns: dict[str, pa.DataType], rows: Iterable[Sequence[Any]]) -> pa.Table:
    fields = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [pa.array(list(f), t) for f, t in zip(fields, columns.values(), strict=True)]
    return pa.Table.from_arrays(arrays, names=list(columns))


@cache
def _tables(refinements: bool) -> dict[str, pa.Table]:
    known, codes, loaded = values(), taxonomy.load(), rules.load()
    names = sorted({name for place in known.errors.values() for name in place})
    return {
        "stop_values": _table(
            {"provider": _TEXT, "raw": _TEXT, "class": _TEXT},
            ((p, raw, c) for p, words in known.stops.items() for raw, c in words.items()),
        ),
        "error_values": _table(
            {"raw": _TEXT, "code": _TEXT, "tool_code": _TEXT, "root_code": _TEXT},
            ((name, *_meanings(known, name)) for name in names),
        ),
        "http_values": _table(
            {"status": _INT, "code": _TEXT, "tool_code": _TEXT},
            ((status, code, known.http_tool.get(status)) for status, code in known.http.items()),
        ),
        "stop_codes": _table(
            dict.fromkeys(("code", "category", "outcome", "fault", "parent", "level"), _TEXT),
            (
                (c.code, c.category, c.outcome, c.fault, c.parent, c.level)
                for c in codes.codes.values()
            ),
        ),
        "stop_rules": _table(
            {"n": _INT, "rule": _TEXT, "code": _TEXT, "level": _TEXT},
            (
                (n, rule.id, rule.code if refinements else codes.folded(rule.code), rule.level)
                for n, rule in enumerate(loaded.rules, 1)
            ),
        ),
    }


def _meanings(known: Values, raw: str) -> tuple[str | None, str | None, str | None]:
    return known.error(raw, "inference"), known.error(raw, "tool"), known.error(raw, "run")


def _resolve(con: duckdb.DuckDBPyConnection) -> None:
    # Names come with module paths, in any case and as free text: their few distinct spellings are
    # looked up here, so that SQL compares for equality only.
    known = values()
    seen: list[tuple[str, str]] = con.execute(_sql("seen.sql")).fetchall()
    frameworks = ((raw, known.framework(raw)) for kind, raw in seen if kind == "framework")
    errors = ((raw, *_meanings(known, raw)) for kind, raw in seen if kind == "error")
    statuses = (
        (kind, raw, known.statuses[kind].get(raw.strip().lower()))
        for kind, raw in seen
        if kind in known.statuses
    )
    _create(con, "seen_frameworks", _table({"raw": _TEXT, "code": _TEXT}, frameworks))
    _create(
        con,
        "seen_errors",
        _table(dict.fromkeys(("raw", "llm_code", "tool_code", "root_code"), _TEXT), errors),
    )
    _create(
        con, "seen_statuses", _table(dict.fromkeys(("kind", "raw", "meaning"), _TEXT), statuses)
    )
