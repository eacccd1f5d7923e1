"""Weights are honest: whatever the policy, weighted totals equal the truth within sampling error.

Populations and policies are drawn by hypothesis; each is sampled 2,000 times with fresh R, and the
means of the weighted totals are held against the truth, at five standard errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby

import numpy as np
import otep
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samplers import threshold
from samplers.decide import decide
from samplers.pacing import Level, Limit
from samplers.strata import StrataSet
from samplers.terms import Budgets, Case, Matches, Rule, State, Terms
from samplers.threshold import Basis, Incoming
from tracekit.otlp import tracestate
from tracekit.otlp.tracestate import ALWAYS, NEVER, Sampling

RUNS = 2_000
FEW_RUNS = 400
BOUND = 5.0
"""Standard errors that are still chance."""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

SHARES = st.floats(0.05, 1)
DURATION_NS = 3 * 60 * 1_000_000_000
QUIET = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=12
)


@dataclass(frozen=True)
class Population:
    """Sessions in order of time, and the truth about them."""

    at_ns: Whole
    cases: tuple[Case, ...]
    success: Floats
    cost: Floats

    def columns(self) -> Floats:
        """Return what is estimated, a column each: sessions, successes, cost, excess successes.

        The last one has the mean 0 exactly when the ratio of the weighted sums is the true rate.
        """
        ones = np.ones_like(self.success)
        return np.stack([ones, self.success, self.cost, self.success - self.success.mean()], axis=1)


@st.composite
def policies(draw: st.DrawFn, *, budgets: bool = False) -> Terms:
    """Draw a policy whose every session can be kept: overlapping rules, floors, quotas."""
    rules = tuple(Rule(f"r{n}", draw(SHARES), ("r",)) for n in range(draw(st.integers(1, 4))))
    sets = tuple(
        StrataSet(f"s{n}", draw(st.integers(0, 6)), draw(st.none() | st.integers(6, 20)), window)
        for n, window in enumerate(draw(st.lists(st.just(60_000_000_000), max_size=2)))
    )
    limits = Budgets()
    if budgets:
        spans = Limit(draw(st.floats(2, 20)), daily=False)
        size = Limit(draw(st.floats(2e7, 2e8)), daily=True)
        limits = Budgets((("bytes", size),), (("spans", spans),))
    ladder = (Level(1.2, 0.5),) if budgets else ()
    return Terms("p", rules, (), draw(SHARES), draw(st.integers(2, 6)), sets, limits, ladder)


def population(terms: Terms, seed: int, sessions: int) -> Population:
    """Return sessions whose success and cost go with the rules and strata that speak of them."""
    dice = np.random.default_rng(seed)
    masks = dice.integers(0, 1 << len(terms.rules), sessions)
    strata = dice.integers(0, 3, (sessions, len(terms.strata)))
    failing = (masks & 1) + strata.sum(axis=1) % 2
    at_ns = np.sort(dice.integers(0, DURATION_NS // 10_000_000_000, sessions)) * 10_000_000_000
    cases = tuple(
        Case(
            str(n),
            0,
            (Matches(int(masks[n]), 0, tuple(map(str, strata[n]))),),
            spans=int(dice.integers(1, 10)),
            bytes=int(dice.integers(500, 5000)),
            tenant=str(n % 2),
        )
        for n in range(sessions)
    )
    success = (dice.random(sessions) > 0.2 + 0.25 * failing).astype(float)
    return Population(at_ns, cases, success, dice.lognormal(0, 1, sessions) * (1 + failing))


def thresholds(terms: Terms, people: Population, randomness: Whole) -> Whole:
    """Return T of every session, decided batch by batch as they came."""
    state = State()
    found: list[int] = []
    for at_ns, numbers in groupby(range(len(people.cases)), key=lambda n: int(people.at_ns[n])):
        batch = [replace(people.cases[n], randomness=int(randomness[n])) for n in numbers]
        for decision in decide((terms,), (state,), batch, at_ns):
            assert decision.keep is (decision.randomness >= decision.threshold)
            found.append(decision.threshold)
    return np.array(found, dtype=np.int64)


def drawn(dice: np.random.Generator, *shape: int) -> Whole:
    return dice.integers(0, NEVER, shape, dtype=np.int64)


def inclusion(rejection: Whole) -> Floats:
    kept: Floats = (NEVER - rejection) / NEVER
    return kept


def within_bounds(people: Population, rejection: Whole, randomness: Whole) -> None:
    """Hold the weighted totals of many runs against the truth, and each session's share too."""
    runs = len(randomness)
    share = inclusion(rejection)
    kept = randomness >= rejection
    columns = people.columns()
    estimates = (kept / share) @ columns
    variances = (columns**2 * ((1 - share) / share)[:, None]).sum(axis=0)
    errors = np.sqrt(variances / runs) + 1e-9 * np.abs(columns).sum(axis=0)
    assert (np.abs(estimates.mean(axis=0) - columns.sum(axis=0)) <= BOUND * errors).all()
    spread = np.sqrt(runs * share * (1 - share))
    assert (np.abs(kept.sum(axis=0) - runs * share) <= BOUND * spread + 3).all()


@QUIET
@given(policies(), st.integers(0, 2**32))
def test_thresholds_do_not_know_r(terms: Terms, seed: int) -> None:
    """Rules, floors and quotas give every session the same T, whatever R it or others have."""
    people = population(terms, seed, 120)
    dice = np.random.default_rng(seed)
    first, second = (thresholds(terms, people, drawn(dice, 120)) for _ in range(2))
    assert (first == second).all()


@QUIET
@given(policies(), st.integers(0, 2**32))
def test_totals_are_unbiased(terms: Terms, seed: int) -> None:
    """Counts, success rate and cost of overlapping rules, floors and quotas, over 2,000 runs."""
    people = population(terms, seed, 200)
    dice = np.random.default_rng(seed + 1)
    rejection = thresholds(terms, people, drawn(dice, 200))
    within_bounds(people, rejection, drawn(dice, RUNS, 200))


def budgeted(terms: Terms, seed: int, runs: int) -> None:
    """Hold totals under budgets, whose thresholds follow what was kept before, against the truth.

    Given what came before, a session's share is exact; so the differences of the totals from the
    truth are sums of martingale differences, with the variance that is summed up here.
    """
    people = population(terms, seed, 60)
    dice = np.random.default_rng(seed + 2)
    columns = people.columns()
    differences, variances = [], []
    for _ in range(runs):
        randomness = drawn(dice, 60)
        rejection = thresholds(terms, people, randomness)
        share = inclusion(rejection)
        differences.append(((randomness >= rejection) / share - 1) @ columns)
        variances.append((columns**2 * ((1 - share) / share)[:, None]).sum(axis=0))
    errors = np.sqrt(np.sum(variances, axis=0)) + 1e-6
    assert (np.abs(np.sum(differences, axis=0)) <= BOUND * errors).all()


@settings(QUIET, max_examples=3)
@given(policies(budgets=True), st.integers(0, 2**32))
def test_totals_under_budgets_are_unbiased(terms: Terms, seed: int) -> None:
    """The same with budgets per tenant and overall that thin what comes, over fewer runs."""
    budgeted(terms, seed, FEW_RUNS)


@pytest.mark.slow
@settings(QUIET, max_examples=8)
@given(policies(budgets=True), st.integers(0, 2**32))
def test_totals_under_budgets_are_unbiased_at_length(terms: Terms, seed: int) -> None:
    """The same over 2,000 runs each."""
    budgeted(terms, seed, RUNS)


def test_a_threshold_that_knew_r_would_be_found_out() -> None:
    """The bounds are tight enough to reject a sampler that keeps its quota by dropping low R."""
    terms = Terms("t", baseline=0.5)
    people = population(terms, 1, 200)
    dice = np.random.default_rng(2)
    randomness = drawn(dice, RUNS, 200)
    lied = np.full(200, NEVER // 2, dtype=np.int64)
    within_bounds(people, lied, randomness)
    with pytest.raises(AssertionError):
        within_bounds(people, lied, randomness + NEVER // 50)


@QUIET
@given(policies(), st.floats(0.1, 1), st.integers(0, 2**32))
def test_a_sampled_input_composes(terms: Terms, before: float, seed: int) -> None:
    """Sessions that an earlier stage thinned by the same R still stand for all there were."""
    people = population(terms, seed, 120)
    first = threshold.threshold(before)
    came = Incoming(Basis.SAME, first) if first else Incoming()
    cases = tuple(replace(case, incoming=came) for case in people.cases)
    dice = np.random.default_rng(seed + 3)
    randomness = drawn(dice, RUNS, 120)
    own = thresholds(terms, replace(people, cases=cases), randomness[0])
    within_bounds(people, np.maximum(own, first), randomness)


@settings(QUIET, max_examples=40)
@given(policies(), st.fractions(Fraction(1, 50), 1), st.integers(0, 2**32), st.booleans())
def test_a_later_stage_composes(
    terms: Terms, share: Fraction, seed: int, sampled_before: bool
) -> None:
    """A sampler after ours, written from the specification, keeps what the larger T keeps."""
    later = otep.Equalizing(1 - Fraction(math.floor(share * otep.UNIT), otep.UNIT))
    people = population(terms, seed, 60)
    randomness = drawn(np.random.default_rng(seed), 60)
    before = otep.Equalizing(Fraction(1, 4)) if sampled_before else None
    for case, number in zip(people.cases, randomness.tolist(), strict=True):
        header = "ot=rv:" + tracestate.encode_randomness(number)
        received = before.header(header, 1) if before else header
        if received is None:
            continue
        traces = [(1, tracestate.read(received))]
        came = threshold.incoming(threshold.randomness("s", traces), traces)
        item = replace(case, randomness=number, incoming=came)
        (decision,) = decide((terms,), (State(),), (item,), 0)
        ours = threshold.outgoing(1, traces[0][1], number, decision.threshold)
        sent = tracestate.write(received, ours) if decision.keep else None
        final = later.header(sent, 1) if sent is not None else None
        limits = [Fraction(decision.threshold, NEVER), later.rejects]
        largest = max([*limits, *([before.rejects] if before else [])])
        assert (final is not None) is (Fraction(number, NEVER) >= largest)
        if final is not None:
            assert otep.adjusted_count(final) == 1 / (1 - largest)


@given(st.integers(ALWAYS, NEVER - 1), st.integers(0, NEVER - 1))
def test_th_round_trips_through_the_reference(rejection: int, randomness: int) -> None:
    """What we write the reference reads, digit for digit, and the other way round."""
    header = tracestate.write("a=b", Sampling(rejection, randomness))
    share = otep.rejected_share(otep.ot_members(header)["th"])
    assert share == Fraction(rejection, NEVER)
    assert otep.written(share) == otep.ot_members(header)["th"]
    assert otep.random_share(header, 1) == Fraction(randomness, NEVER)
    assert tracestate.read(f"ot=th:{otep.written(share)}").threshold == rejection


@settings(QUIET, max_examples=3)
@given(st.integers(0, 2**32))
def test_self_audit(seed: int) -> None:
    """Kept sessions weighted by what this stage did equal the census of what came to it."""
    terms = Terms("t", (Rule("r", 0.5, ("r",)),), (), 0.1)
    people = population(terms, seed, 4000)
    before = Incoming(Basis.SAME, NEVER // 4)
    dice = np.random.default_rng(seed)
    numbers = dice.integers(before.threshold, NEVER, 4000, dtype=np.int64)
    cases = [
        replace(case, randomness=int(r), incoming=before)
        for case, r in zip(people.cases, numbers, strict=True)
    ]
    decisions = list(decide((terms,), (State(),), cases, 0))
    total = sum(found.stage_weight or 0 for found in decisions if found.keep)
    variance = sum(1 / found.probability - 1 for found in decisions)
    assert abs(total - 4000) <= BOUND * math.sqrt(variance)
