"""All predicates of all policies on a batch of sessions, in one SQL statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samplers.features import SOURCE
from samplers.terms import Matches
from tracekit.predicates import confined

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa

    from samplers.policy_model import Judgement


@dataclass(frozen=True, slots=True)
class Facts:
    """What a batch's statement says of one session.

    Attributes:
        session_id: Its key.
        tenant: Its tenant; empty where unknown.
        trigger: Why it is decided now; empty where unknown.
        spans: Spans received.
        bytes: Bytes of them.
        matches: What each policy says, in the order of the policies.
    """

    session_id: str
    tenant: str
    trigger: str
    spans: int
    bytes: int
    matches: tuple[Matches, ...]


def statement(policies: Sequence[Judgement]) -> str:
    """Return the statement over a table `features`: two bit masks per policy, and its strata.

    A predicate that is null, or that fails on a value (a cast, an overflow), does not match.
    """
    columns = [
        "session_id",
        "coalesce(tenant_id, '')",
        "coalesce(trigger, '')",
        "coalesce(spans, 0)",
        "coalesce(bytes, 0)",
    ]
    for policy in policies:
        columns.append(_mask([rule.when for rule in policy.rules]))
        columns.append(_mask([rule.when for rule in policy.drop]))
        columns.extend(_stratum(entry.by) for entry in policy.strata)
    return "SELECT\n" + ",\n".join(columns) + f"\nFROM {SOURCE}"


def _mask(predicates: Sequence[str]) -> str:
    bits = (
        f"CASE WHEN TRY(\n{predicate}\n) THEN {1 << number}::BIGINT ELSE 0 END"
        for number, predicate in enumerate(predicates)
    )
    return "\n| ".join(bits) or "0"


def _stratum(columns: Sequence[str]) -> str:
    parts = ", ".join(f"coalesce(\"{column}\"::VARCHAR, '-')" for column in columns)
    return f"concat_ws('/', {parts})"


def evaluate(con: duckdb.DuckDBPyConnection, policies: Sequence[Judgement]) -> list[Facts]:
    """Return what the policies say of every row of the connection's table `features`.

    Args:
        con: Connection with the table or view; one of `confined`, unless others own the data.
        policies: The live policy, then its shadows.
    """
    rows = con.execute(statement(policies)).fetchall()
    ends = []
    at = 5
    for policy in policies:
        ends.append((at, at + 2, at + 2 + len(policy.strata)))
        at = ends[-1][2]
    return [_facts(row, ends) for row in rows]


def _facts(row: tuple[Any, ...], ends: Sequence[tuple[int, int, int]]) -> Facts:
    session_id, tenant, trigger, spans, size, *_ = row
    matches = tuple(Matches(row[rules], row[rules + 1], row[a:b]) for rules, a, b in ends)
    return Facts(session_id, tenant, trigger, spans, size, matches)


def evaluate_table(features: pa.Table, policies: Sequence[Judgement]) -> list[Facts]:
    """Return the same of an Arrow table of features, on a connection of its own."""
    with confined() as con:
        con.register("features", features)
        return evaluate(con, policies)
