"""What a lake says of the sessions a collector decided: detectors and policies asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers import features
from samplers.evaluate import evaluate
from samplers.threshold import threshold
from tracekit import detectors
from tracekit.predicates import confined

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from samplers.policy_model import Policy
    from samplers.terms import Matches
    from tracekit.lake import Lake

_VERDICTS = """
SELECT session_id, detector, verdict, severity, value, threshold, evidence_span_ids, reason
FROM {table} ORDER BY ALL
"""
_TABLES = ("sessions", "detections", "detector_cohorts")


def recorded(lake: Lake) -> list[tuple[Any, ...]]:
    """Return the verdicts of detectors as they were when the sessions were decided."""
    return lake.read(lambda con: con.execute(_VERDICTS.format(table=detectors.RECORDED)).fetchall())


def judged(lake: Lake) -> tuple[list[tuple[Any, ...]], dict[str, pa.Table]]:
    """Return verdicts reached now, from the spans of the lake, and the tables behind policies."""

    def ask(con: duckdb.DuckDBPyConnection) -> tuple[list[tuple[Any, ...]], dict[str, pa.Table]]:
        detectors.register(con)
        detectors.run(con, recorded=detectors.RECORDED)
        tables = {name: con.sql(f"FROM {name}").to_arrow_table() for name in _TABLES}
        return con.execute(_VERDICTS.format(table="detections")).fetchall(), tables

    return lake.read(ask)


def matches(tables: dict[str, pa.Table], policy: Policy) -> dict[str, Matches]:
    """Return what a policy's predicates and strata say of every session of a lake."""
    with confined() as con:
        for name, table in tables.items():
            con.register(name, table)
        features.create_table(con)
        con.execute(f"INSERT INTO features BY NAME {features.statement(received=False)}")
        return {facts.session_id: facts.matches[0] for facts in evaluate(con, (policy,))}


def announced(policy: Policy, found: Matches) -> tuple[int, str]:
    """Return the threshold that rules and baseline give, and which of them; floors aside."""
    claims = [
        (threshold(rule.share, policy.precision), rule.name)
        for number, rule in enumerate(policy.rules)
        if found.rules >> number & 1
    ]
    claims.append((threshold(policy.baseline, policy.precision), "baseline"))
    return min(claims, key=lambda claim: claim[0])
