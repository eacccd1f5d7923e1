"""What a policy makes of a session that is in a lake, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from samplers import features, threshold
from samplers.decide import BASELINE, decide
from samplers.evaluate import evaluate
from samplers.terms import Budgets, Case, Decision, State
from tracekit import detectors
from tracekit.otlp import tracestate
from tracekit.otlp.tracestate import NEVER
from tracekit.predicates import confined
from tracekit.reports.session import session
from tracekit.schema import DECISION, RECEIVED

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from samplers.evaluate import Facts
    from samplers.policy_model import Policy

_TABLES: Final = ("sessions", "tasks", "attempts", "spans")
_RECORDED: Final = "recorded_detections"


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that could keep a session, or forbid to.

    Attributes:
        part: `drop`, `rule` or `baseline`.
        name: Its name.
        matches: Whether it speaks of the session.
        probability: Probability it gives; 0 for a drop rule.
        threshold: T of it.
        reached: Whether R reaches T.
        when: Its predicate.
    """

    part: str
    name: str
    matches: bool
    probability: float
    threshold: int
    reached: bool
    when: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a session is kept or not.

    Attributes:
        decision: The decision, without floors, quotas and budgets: those follow from the sessions
            that came before, which a lake does not tell.
        claims: Everything the policy says, in its order.
        features: Features of the session.
        recorded: What the ledger has of the decision that was made; only `kept` and `weight` are
            known where no collector made one.
        left_out: Parts of the policy that the decision leaves out.
        spans_known: Whether the spans are there, to read the incoming `rv` and `th` from.
    """

    decision: Decision
    claims: tuple[Claim, ...]
    features: dict[str, Any]
    recorded: dict[str, Any]
    left_out: tuple[str, ...]
    spans_known: bool


def explain(con: duckdb.DuckDBPyConnection, session_id: str, policy: Policy) -> Explanation:
    """Return what a policy makes of a session.

    Args:
        con: Connection with the lake's views.
        session_id: Key of the session, or as much of it as only one begins with.
        policy: The policy.

    Raises:
        UsageError: If no session begins with it, or several do.
    """
    head = session(con, session_id).head
    key = str(head["session_id"])
    with _alone(con, key) as own:
        facts, row = _facts(own, policy)
        traces = [
            (int(trace_id, 16), tracestate.read(state or ""))
            for trace_id, state in own.execute(
                "SELECT DISTINCT trace_id, trace_state FROM spans"
            ).fetchall()
        ]
    recorded = {column.name: head[column.name] for column in (*RECEIVED, *DECISION)}
    randomness = threshold.randomness(key, traces)
    if not traces and isinstance(recorded["randomness"], int):
        randomness = recorded["randomness"]
    decision = _decided(policy, facts, randomness, threshold.incoming(randomness, traces))
    return Explanation(
        decision,
        tuple(_claims(policy, facts, randomness)),
        row,
        recorded,
        _left_out(policy),
        bool(traces),
    )


def _alone(con: duckdb.DuckDBPyConnection, key: str) -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables of one session, its detectors' verdicts and features."""
    detectors.register(con)
    detectors.freeze(con)
    own = confined()
    sources = {table: table for table in _TABLES} | {_RECORDED: detectors.RECORDED}
    for table, source in sources.items():
        question = f"SELECT * FROM {source} WHERE session_id = ?"
        own.register(f"{table}_import", con.sql(question, params=[key]).to_arrow_table())
        own.execute(f"CREATE TABLE {table} AS FROM {table}_import")
    detectors.register(own)
    detectors.restore(own, con.sql("FROM baselines").to_arrow_table())
    detectors.run(own, recorded=_RECORDED)
    features.create_table(own)
    own.execute(f"INSERT INTO features BY NAME {features.statement(received=False)}")
    return own


def _facts(own: duckdb.DuckDBPyConnection, policy: Policy) -> tuple[Facts, dict[str, Any]]:
    (facts,) = evaluate(own, (policy,))
    cursor = own.execute(f"FROM {features.SOURCE}")
    names = [column[0] for column in cursor.description or []]
    (row,) = cursor.fetchall()
    return facts, dict(zip(names, row, strict=True))


def _decided(
    policy: Policy, facts: Facts, randomness: int, incoming: threshold.Incoming
) -> Decision:
    terms = replace(policy.terms(), strata=(), budgets=Budgets(), ladder=())
    case = Case(
        facts.session_id,
        randomness,
        (replace(facts.matches[0], strata=()),),
        facts.spans,
        tenant=facts.tenant,
        incoming=incoming,
    )
    (decision,) = decide((terms,), (State(),), (case,), now_ns=0)
    return decision


def _claims(policy: Policy, facts: Facts, randomness: int) -> Iterator[Claim]:
    matches = facts.matches[0]
    for number, drop in enumerate(policy.drop):
        hit = bool(matches.drops >> number & 1)
        yield Claim("drop", drop.name, hit, 0.0, NEVER, reached=False, when=drop.when.strip())
    for number, rule in enumerate(policy.rules):
        rejection = threshold.threshold(rule.share, policy.precision)
        hit = bool(matches.rules >> number & 1)
        reached = randomness >= rejection
        yield Claim("rule", rule.name, hit, rule.share, rejection, reached, rule.when.strip())
    rejection = threshold.threshold(policy.baseline, policy.precision)
    reached = randomness >= rejection
    yield Claim(BASELINE, BASELINE, True, policy.baseline, rejection, reached, "")


def _left_out(policy: Policy) -> tuple[str, ...]:
    limited = policy.budgets != type(policy.budgets)()
    return (*(["strata"] if policy.strata else []), *(["budgets"] if limited else []))
