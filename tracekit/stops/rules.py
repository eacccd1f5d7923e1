"""The stop rules as SQL: checked, and compiled into one statement."""

from __future__ import annotations

from functools import cache
from importlib import resources

import duckdb

from tracekit import schema
from tracekit.errors import TracekitError
from tracekit.stops import taxonomy
from tracekit.stops.ruleset import FALLBACK, Rule, RuleSet, check_names, read
from tracekit.stops.taxonomy import data


def evidence_columns() -> tuple[schema.Column, ...]:
    """Return the columns of the evidence table, in order."""
    return tuple(
        schema.Column(name, schema.Kind(kind), meaning)
        for name, (kind, meaning) in data("evidence.yaml")["columns"].items()
    )


@cache
def load() -> RuleSet:
    """Return the rules shipped with this package.

    Raises:
        TracekitError: A rule gives no known code, repeats an id, or its predicate is not SQL over
            the evidence columns; the message names the rule.
    """
    loaded = read()
    check(loaded.rules)
    return loaded


def check(rules: tuple[Rule, ...]) -> None:
    """Refuse rules that cannot be evaluated.

    Raises:
        TracekitError: As in `load`.
    """
    check_names(rules)
    columns = ", ".join(f'"{c.name}" {schema.sql_type(c)}' for c in evidence_columns())
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE evidence ({columns})")
        for rule in rules:
            for predicate in filter(None, (rule.when, rule.recovered)):
                _check_predicate(con, rule, predicate)


def _check_predicate(con: duckdb.DuckDBPyConnection, rule: Rule, predicate: str) -> None:
    try:
        found = con.execute(f"SELECT ({predicate}) AS hit FROM evidence LIMIT 0").description
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise TracekitError(
            f"stop rule {rule.id}: its predicate does not evaluate: {reason}"
        ) from error
    if found is None or str(found[0][1]) != "BOOLEAN":
        raise TracekitError(f"stop rule {rule.id}: its predicate is not true or false: {predicate}")


def statement(*, refinements: bool = True) -> str:
    """Return the SQL that makes table `stops` from `evidence`, `stop_rules` and `stop_codes`.

    Args:
        refinements: Give the optional refinements; otherwise the core codes they fold into.
    """
    loaded = load()
    declarations = set(data("evidence.yaml")["declarations"])
    hits, first = [], []
    for n, rule in enumerate(loaded.rules, 1):
        hits.append(f"coalesce({rule.when}, FALSE) AS hit_{n}")
        if rule.recovered:
            hits.append(f"coalesce({rule.recovered}, FALSE) AS was_{n}")
        first.append(f"WHEN hit_{n} THEN {n}")
    columns = (
        f"CAST(NULL AS {schema.sql_type(c)}) AS {c.name}" if c.name in declarations else c.name
        for c in evidence_columns()
    )
    template = resources.files(__package__).joinpath("classify.sql").read_text(encoding="utf-8")
    return template.format(
        hits=",\n        ".join(hits),
        first=" ".join(first),
        contributing="\n            || ".join(_contributing(loaded.rules, refinements=refinements)),
        without_declarations=", ".join(columns),
        version=loaded.version,
    )


def _contributing(rules: tuple[Rule, ...], *, refinements: bool) -> list[str]:
    matches: dict[str, list[str]] = {}
    for n, rule in enumerate(rules, 1):
        code = rule.code if refinements else taxonomy.load().folded(rule.code)
        if not code.startswith(FALLBACK):
            matches.setdefault(code, []).append(f"hit_{n}")
            if rule.recovered:
                matches[code].append(f"was_{n}")
    return [
        f"CASE WHEN r.code <> '{code}' AND ({' OR '.join(found)}) THEN ',{code}' ELSE '' END"
        for code, found in matches.items()
    ]
