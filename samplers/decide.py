"""Which sessions are kept: features and the state of a policy to decisions.

Nothing here reads a clock, draws a number or touches a file: what a session is, its R, the time and
the state of strata and budgets are arguments. T of a session is complete before its R is compared.

A session that a drop rule matches is out. Every other one has the probability of the union, on one
R: the largest of the rules' that match and the floors of its strata, times the budgets' factor on
these, and of the baseline within the quotas of its strata, times the budgets' factor on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from samplers import pacing, strata
from samplers.pacing import Pace
from samplers.strata import StrataState
from samplers.terms import Case, Decision, Matches, Shadow, State, Terms
from samplers.threshold import Basis, threshold, union
from tracekit.otlp import tracestate
from tracekit.otlp.tracestate import ALWAYS, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from samplers.pacing import Limit

BASELINE: Final = "baseline"
FLOOR: Final = "floor"
EARLIER: Final = "earlier decision"

_MOST_PACES: Final = 20_000
_OTHERS: Final = "(other)"


class _Claim(NamedTuple):
    """A probability, and what gives it; budgets spare rules and floors longer than the baseline."""

    probability: float
    source: str
    reasons: tuple[str, ...]
    protected: bool = True


class _Bill(NamedTuple):
    """What a session is to one budget."""

    pace: Pace
    size: float
    expected: float
    protected: bool
    shrinks: bool


class _Verdict(NamedTuple):
    threshold: int
    source: str
    reasons: tuple[str, ...]
    degrade: int = 0


def decide(
    policies: Sequence[Terms], states: Sequence[State], cases: Iterable[Case], now_ns: int
) -> Iterator[Decision]:
    """Yield the decisions on sessions, in their order; each one sees those before it.

    Args:
        policies: The live policy, then its shadows.
        states: State of each; final cases are counted in it.
        cases: Sessions.
        now_ns: Time, UTC, ns since 1970.
    """
    for terms, state in zip(policies, states, strict=True):
        _begin(terms, state, now_ns)
    for case in cases:
        live, *others = (
            _judge(terms, state, case, matches, now_ns)
            for terms, state, matches in zip(policies, states, case.matches, strict=True)
        )
        shadows = tuple(
            Shadow(
                terms.name, case.randomness >= verdict.threshold, verdict.threshold, verdict.source
            )
            for terms, verdict in zip(policies[1:], others, strict=True)
        )
        yield _decision(policies[0].name, case, live, shadows)


def pulled_back(decision: Decision, reason: str) -> Decision:
    """Return the decision on a session that somebody keeps whatever R says.

    One that was dropped speaks for nobody but itself: no probability, no weight, no `th`.
    """
    if decision.keep:
        return decision
    return replace(
        decision, keep=True, inclusion=None, rule=reason, reasons=(reason,), th_out=None, erase=True
    )


def _begin(terms: Terms, state: State, now_ns: int) -> None:
    for rules in terms.strata:
        strata.advance(state.strata.setdefault(rules.name, StrataState()), rules, now_ns)
    if len(state.paces) >= _MOST_PACES:
        state.paces = {name: pace for name, pace in state.paces.items() if not pace.idle}


def _judge(terms: Terms, state: State, case: Case, matches: Matches, now_ns: int) -> _Verdict:
    if matches.drops:
        source = next(name for n, name in enumerate(terms.drops) if matches.drops >> n & 1)
        return _Verdict(case.previous, source, (source,))
    claims = list(_claims(terms, state, case, matches))
    protected = max((claim.probability for claim in claims if claim.protected), default=0.0)
    random = max((claim.probability for claim in claims if not claim.protected), default=0.0)
    factors = [1.0, 1.0]
    bills = []
    degrade = 0
    for unit, pace in _paces(terms, state, case, now_ns):
        share = _stage(case, max(protected * factors[True], random * factors[False]))
        leads = protected * factors[True] >= random * factors[False]
        size = float(case.spans if unit == "spans" else case.bytes)
        bills.append(_Bill(pace, size, size * share, leads, unit == "bytes"))
        factors[True] *= pace.protected_factor
        factors[False] *= pace.random_factor
        degrade = max(degrade, pace.level)
    found = [
        threshold(claim.probability * factors[claim.protected], terms.precision) for claim in claims
    ]
    verdict = _verdict(case, claims, found, degrade)
    if case.final:
        _count(terms, state, case, matches)
        _pay(terms, bills, verdict, keep=case.randomness >= verdict.threshold)
    return verdict


def _claims(terms: Terms, state: State, case: Case, matches: Matches) -> Iterator[_Claim]:
    for number, rule in enumerate(terms.rules):
        if matches.rules >> number & 1:
            yield _Claim(rule.probability, rule.name, rule.reasons)
    baseline = terms.baseline
    for rules, key in zip(terms.strata, matches.strata, strict=True):
        share = strata.announced(state.strata[rules.name], rules, key, _stands_for(case))
        baseline = min(baseline, share.quota)
        if share.floor > 0:
            yield _Claim(share.floor, f"{FLOOR}/{rules.name}", (f"{FLOOR}/{rules.name}={key}",))
    yield _Claim(baseline, BASELINE, (BASELINE,), protected=False)


def _stands_for(case: Case) -> float:
    """Return for how many sessions a session stands that stages before chose by the same R."""
    if case.incoming.basis is not Basis.SAME:
        return 1.0
    return tracestate.adjusted_count(case.incoming.threshold)


def _stage(case: Case, probability: float) -> float:
    """Return the probability of being kept here, given that the session came."""
    return min(1.0, probability * _stands_for(case))


def _paces(terms: Terms, state: State, case: Case, now_ns: int) -> Iterator[tuple[str, Pace]]:
    """Yield the budgets of a session: the tenant's, then the overall, which sees what is left."""
    budgets = terms.budgets
    scopes: list[tuple[str, tuple[tuple[str, Limit], ...]]] = []
    if limits := budgets.of(case.tenant):
        scopes.append((f"tenant/{case.tenant}", limits))
    scopes.append(("overall", budgets.overall))
    for scope, limits in scopes:
        for unit, limit in limits:
            name = f"{scope}/{unit}"
            if name not in state.paces and len(state.paces) >= _MOST_PACES:
                name = f"tenant/{_OTHERS}/{unit}"
            pace = state.paces.setdefault(name, Pace())
            pacing.announce(pace, limit, now_ns, terms.ladder if unit == "bytes" else ())
            yield unit, pace


def _verdict(
    case: Case, claims: Sequence[_Claim], thresholds: Sequence[int], degrade: int
) -> _Verdict:
    smallest = union((*thresholds, case.previous))
    if smallest not in thresholds:
        return _Verdict(smallest, EARLIER, (EARLIER,), degrade)
    source = claims[thresholds.index(smallest)].source
    wanted = list(zip(claims, thresholds, strict=True))
    if case.randomness >= smallest:
        wanted = [(claim, rejection) for claim, rejection in wanted if case.randomness >= rejection]
    reasons = (
        reason for claim, rejection in wanted if rejection < NEVER for reason in claim.reasons
    )
    return _Verdict(smallest, source, tuple(dict.fromkeys(reasons)), degrade)


def _count(terms: Terms, state: State, case: Case, matches: Matches) -> None:
    for rules, key in zip(terms.strata, matches.strata, strict=True):
        strata.count(state.strata[rules.name], key, _stands_for(case))


def _pay(terms: Terms, bills: Sequence[_Bill], verdict: _Verdict, *, keep: bool) -> None:
    ratio = terms.ladder[verdict.degrade - 1].ratio if verdict.degrade else 1.0
    for bill in bills:
        kept = bill.size * (ratio if bill.shrinks else 1.0) if keep else 0.0
        pacing.spend(bill.pace, bill.expected, protected=bill.protected, kept=kept)


def _decision(policy: str, case: Case, verdict: _Verdict, shadows: tuple[Shadow, ...]) -> Decision:
    rejection, came = verdict.threshold, case.incoming
    keep = case.randomness >= rejection
    foreign = came.basis in {Basis.OTHER, Basis.UNKNOWN}
    stated = max(rejection, came.threshold)
    return Decision(
        session_id=case.session_id,
        keep=keep,
        randomness=case.randomness,
        threshold=rejection,
        probability=came.stage(rejection),
        inclusion=came.combined(rejection),
        policy=policy,
        rule=verdict.source,
        stratum="; ".join(case.matches[0].strata),
        trigger=case.trigger,
        reasons=verdict.reasons,
        th_out=stated if keep and not foreign and stated > ALWAYS else None,
        erase=foreign,
        degrade=verdict.degrade if keep else 0,
        shadows=shadows,
    )
