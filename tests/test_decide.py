"""Decisions: the union of what matches, on one R, and what leaves in tracestate."""

from __future__ import annotations

import otep
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplers import threshold
from samplers.decide import decide, pulled_back
from samplers.pacing import Level, Limit
from samplers.strata import StrataSet
from samplers.terms import Budgets, Case, Decision, Matches, Rule, State, Terms
from samplers.threshold import Basis, Incoming
from tracekit.otlp import tracestate
from tracekit.otlp.tracestate import ALWAYS, NEVER, Sampling

HALF, QUARTER = 1 << 55, 0xC << 52
"""T of a half and of a quarter."""

RANDOMNESS = st.integers(0, NEVER - 1)
HOUR_NS = 3_600_000_000_000

TERMS = Terms(
    "shop",
    rules=(Rule("all", 1.0, ("it failed",)), Rule("half", 0.5, ("half",)), Rule("q", 0.25, ("q",))),
    drops=("health",),
    baseline=1 / 8,
)


def one(terms: Terms, case: Case, state: State | None = None) -> Decision:
    (decision,) = decide((terms,), (state or State(),), (case,), now_ns=0)
    return decision


def case(randomness: int, rules: int = 0, drops: int = 0, **others: object) -> Case:
    return Case("s", randomness, (Matches(rules, drops),), **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "th", "rule"),
    [
        (0b000, 0xE << 52, "baseline"),
        (0b100, QUARTER, "q"),
        (0b110, HALF, "half"),
        (0b111, 0, "all"),
    ],
)
def test_the_smallest_threshold_decides(rules: int, th: int, rule: str) -> None:
    """Of everything that matches the largest probability counts, the baseline included."""
    for randomness, keep in ((th, True), (th - 1, False)):
        if randomness >= 0:
            decision = one(TERMS, case(randomness, rules))
            assert (decision.keep, decision.threshold, decision.rule) == (keep, th, rule)
            assert decision.probability == decision.inclusion == (NEVER - th) / NEVER


@given(RANDOMNESS, st.integers(0, 7))
def test_kept_iff_r_reaches_t(randomness: int, rules: int) -> None:
    """T is the same for every R, and only the comparison with it tells who is kept."""
    decision = one(TERMS, case(randomness, rules))
    assert decision.threshold == one(TERMS, case(0, rules)).threshold
    assert decision.keep is (randomness >= decision.threshold)
    assert decision.weight == pytest.approx(1 / decision.probability)


def test_reasons_are_those_that_kept_it() -> None:
    """A kept session says which rules R reached; a dropped one which ones it did not."""
    assert one(TERMS, case(HALF, 0b110)).reasons == ("half",)
    assert one(TERMS, case(NEVER - 1, 0b110)).reasons == ("half", "q", "baseline")
    assert one(TERMS, case(0, 0b100)).reasons == ("q", "baseline")


def test_drop_rules_win() -> None:
    """What a drop rule matches is never kept, whatever else matches, and has no weight."""
    decision = one(TERMS, case(NEVER - 1, rules=0b111, drops=1))
    assert (decision.keep, decision.threshold, decision.rule) == (False, NEVER, "health")
    assert (decision.probability, decision.weight) == (0, None)


def test_nothing_matches() -> None:
    """Without a baseline a session that no rule matches cannot be kept, and says so."""
    decision = one(Terms("none"), case(NEVER - 1))
    assert (decision.keep, decision.probability, decision.weight) == (False, 0, None)


def test_interim_decisions_join_the_union() -> None:
    """T of an earlier decision stays: a session that was kept stays kept, with the joint weight."""
    decision = one(TERMS, case(HALF, previous=HALF))
    assert (decision.keep, decision.threshold, decision.rule) == (True, HALF, "earlier decision")
    assert one(TERMS, case(HALF, rules=1, previous=HALF)).threshold == ALWAYS
    assert one(TERMS, case(HALF, drops=1, previous=HALF)).keep


def test_only_final_decisions_are_counted() -> None:
    """An interim decision leaves the state as it was, so that a session counts once."""
    terms = Terms("t", strata=(StrataSet("s", 1, None, HOUR_NS),))
    state = State()
    for final in (False, False, True):
        item = Case("s", 0, (Matches(strata=("a",)),), final=final)
        assert one(terms, item, state).threshold == ALWAYS
    assert state.strata["s"].strata["a"].seen == 1


def test_floors_raise_and_quotas_cut_the_baseline_only() -> None:
    """A floor joins the union; a quota lowers the baseline and leaves rules alone."""
    floors = Terms("t", baseline=0.25, strata=(StrataSet("s", 1, None, HOUR_NS),))
    state = State()
    item = Case("s", 0, (Matches(strata=("a",)),))
    found = [one(floors, item, state).probability for _ in range(6)]
    assert found == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 4, 1 / 4], rel=1e-3)
    quotas = Terms("t", rules=TERMS.rules, baseline=1, strata=(StrataSet("s", 0, 2, HOUR_NS),))
    state = State()
    found = [one(quotas, item, state).probability for _ in range(8)]
    assert found == pytest.approx([1, 1, 2 / 3, 1 / 2, 2 / 5, 1 / 3, 2 / 7, 1 / 4], rel=1e-3)
    ruled = Case("s", 0, (Matches(rules=2, strata=("a",)),))
    assert one(quotas, ruled, state).probability == 0.5


def test_budgets_thin_tenants_apart() -> None:
    """A tenant over its budget is thinned; another one, and the overall budget, are not."""
    limits = (("spans", Limit(10, daily=False)),)
    overall = (("spans", Limit(1000, daily=False)),)
    terms = Terms("t", baseline=1, budgets=Budgets(overall, limits, {"big": overall}))
    state = State()
    for step in range(2):
        cases = [
            Case(str(n), 0, (Matches(),), spans=10, tenant=tenant)
            for n in range(100)
            for tenant in ("small", "big")
        ]
        decisions = list(decide((terms,), (state,), cases, step * 10_000_000_000))
    assert [decision.probability for decision in decisions[:2]] == pytest.approx([0.1, 1], rel=1e-3)
    assert set(state.paces) == {"tenant/small/spans", "tenant/big/spans", "overall/spans"}


def test_degrade_levels_come_with_the_decision() -> None:
    """Over a budget of bytes the ladder's level is announced to what is kept."""
    budgets = Budgets(overall=(("bytes", Limit(86_400_000, daily=True)),))
    terms = Terms("t", baseline=1, budgets=budgets, ladder=(Level(1, 0.5), Level(100, 0.1)))
    state = State()
    cases = [Case(str(n), NEVER - 1, (Matches(),), bytes=1000) for n in range(15)]
    for step in range(2):
        (*_, last) = decide((terms,), (state,), cases, step * 10_000_000_000)
    assert (last.degrade, last.probability) == (1, 1)
    pace = state.paces["overall/bytes"]
    assert pace.spent == 15 * 1000 + 15 * 500


def test_the_state_survives() -> None:
    """A state that was stored and read decides as the one that was not."""
    terms = Terms(
        "t",
        baseline=0.5,
        strata=(StrataSet("s", 2, 5, HOUR_NS),),
        budgets=Budgets(overall=(("spans", Limit(3, daily=False)),)),
    )
    cases = [Case(str(n), n << 48, (Matches(strata=(str(n % 3),)),), spans=n) for n in range(99)]
    state = State()
    list(decide((terms,), (state,), cases, HOUR_NS))
    copy = State.from_json(state.to_json())
    assert copy == state
    again = [list(decide((terms,), (s,), cases, 2 * HOUR_NS)) for s in (state, copy)]
    assert again[0] == again[1]


def test_shadows_only_watch() -> None:
    """A shadow policy has a state and an answer of its own, and changes nothing."""
    terms = (TERMS, Terms("everything", baseline=1), Terms("nothing"))
    item = Case("s", 5, (Matches(4), Matches(), Matches()))
    (decision,) = decide(terms, (State(), State(), State()), (item,), now_ns=0)
    assert [(shadow.policy, shadow.keep) for shadow in decision.shadows] == [
        ("everything", True),
        ("nothing", False),
    ]
    assert not decision.keep


def test_pulled_back_by_hand() -> None:
    """A dropped session that somebody keeps has no weight and erases `th`; a kept one stays."""
    dropped, kept = one(TERMS, case(0)), one(TERMS, case(NEVER - 1))
    late = pulled_back(dropped, "thumbs-down")
    assert (late.keep, late.weight, late.th_out, late.erase) == (True, None, None, True)
    assert late.reasons == ("thumbs-down",)
    assert pulled_back(kept, "thumbs-down") == kept


@pytest.mark.parametrize(
    ("incoming", "rule", "th_out", "probability", "inclusion", "erase"),
    [
        (Incoming(), 4, QUARTER, 0.25, 0.25, False),
        (Incoming(), 1, None, 1, 1, False),
        (Incoming(Basis.SAME, HALF), 4, QUARTER, 0.5, 0.25, False),
        (Incoming(Basis.SAME, HALF), 1, HALF, 1, 0.5, False),
        (Incoming(Basis.OTHER, HALF), 4, None, 0.25, 0.125, True),
        (Incoming(Basis.UNKNOWN), 4, None, 0.25, None, True),
    ],
)
def test_stages_before(  # noqa: PLR0913, PLR0917 - one case per line
    incoming: Incoming,
    rule: int,
    th_out: int | None,
    probability: float,
    inclusion: float | None,
    erase: bool,
) -> None:
    """Thresholds on one R combine to the larger, independent ones multiply, odd ones are erased."""
    decision = one(TERMS, case(NEVER - 1, rule, incoming=incoming))
    assert (decision.th_out, decision.erase) == (th_out, erase)
    assert (decision.probability, decision.inclusion) == (probability, inclusion)


TRACE = 0x1234_0000_0000_0000_00_80_0000_0000_0000
OWN = TRACE & (NEVER - 1)


def test_what_traces_say_of_earlier_stages() -> None:
    """One threshold by the session's R is raised; others multiply once, or are unknown."""

    def basis(session: int, *traces: tuple[int, Sampling]) -> Incoming:
        return threshold.incoming(session, traces)

    stated = Sampling(QUARTER, NEVER - 1)
    assert basis(5) == Incoming()
    assert basis(5, (1, Sampling())) == Incoming()
    assert basis(NEVER - 1, (1, stated), (2, stated)) == Incoming(Basis.SAME, QUARTER)
    assert basis(OWN, (TRACE, Sampling(0x8 << 44))) == Incoming(Basis.SAME, 0x8 << 44)
    assert basis(5, (1, stated)) == Incoming(Basis.OTHER, QUARTER)
    assert basis(5, (1, stated), (2, stated)) == Incoming(Basis.UNKNOWN)
    assert basis(NEVER - 1, (1, stated), (2, Sampling())) == Incoming(Basis.UNKNOWN)
    assert basis(5, (1, Sampling(HALF, 5))) == Incoming(Basis.UNKNOWN)


def test_randomness_of_a_session() -> None:
    """R is the `rv` all traces share, the trace id where that is the key, else a hash of it."""
    assert threshold.randomness("chat-42", [(1, Sampling(None, 7)), (2, Sampling(None, 7))]) == 7
    hashed = tracestate.session_randomness("chat-42")
    assert threshold.randomness("chat-42", [(1, Sampling(None, 7)), (2, Sampling())]) == hashed
    assert threshold.randomness("chat-42", []) == hashed
    assert threshold.randomness(format(TRACE, "032x"), [(TRACE, Sampling())]) == OWN


THRESHOLDS = st.none() | st.integers(0, NEVER - 1)


@given(st.integers(1, (1 << 128) - 1), THRESHOLDS, st.none() | RANDOMNESS, THRESHOLDS, RANDOMNESS)
def test_th_is_raised_or_erased(
    trace_id: int, incoming: int | None, stated: int | None, rejection: int | None, session: int
) -> None:
    """`th` never falls, never lies about its trace, and `rv` is never touched."""
    t = NEVER if rejection is None else rejection
    before = Sampling(incoming, stated)
    after = threshold.outgoing(trace_id, before, session, t)
    assert after.randomness == before.randomness
    if after.threshold is None:
        shared = (trace_id % NEVER if stated is None else stated) == session
        assert incoming is None or not (shared and before.kept_with(trace_id) and session >= t)
    else:
        assert after.threshold in {incoming, max(incoming or 0, t)}
        assert after.threshold >= (incoming or 0)
        if t > ALWAYS:
            assert after.kept_with(trace_id)


@given(RANDOMNESS, st.floats(2**-40, 1), st.integers(1, 14))
def test_th_means_what_decided(randomness: int, share: float, precision: int) -> None:
    """A reader written from the specification finds the probability the decision was made with."""
    terms = Terms("t", baseline=share, precision=precision)
    decision = one(terms, case(randomness))
    if not decision.keep or decision.threshold == ALWAYS:
        return
    sampling = threshold.outgoing(1, Sampling(None, randomness), randomness, decision.threshold)
    header = tracestate.write("other=1", sampling)
    assert float(otep.adjusted_count(header) or 0) == pytest.approx(decision.weight)
    assert otep.random_share(header, 1) >= otep.rejected_share(otep.ot_members(header)["th"])
    assert otep.written(otep.rejected_share(otep.ot_members(header)["th"])) in header


def test_full_probability_says_nothing_unless_vouched_for() -> None:
    """Kept with certainty leaves `th` alone; `th:0` only where nothing was sampled before."""
    assert threshold.outgoing(1, Sampling(), 1, ALWAYS).threshold is None
    assert threshold.outgoing(1, Sampling(), 1, ALWAYS, unsampled_before=True).threshold == ALWAYS
    said = Sampling(HALF, NEVER - 1)
    assert threshold.outgoing(1, said, NEVER - 1, ALWAYS, unsampled_before=True) == said
