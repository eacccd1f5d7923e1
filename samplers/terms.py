"""What goes into a decision and what comes out of it: plain data, without input or output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import TypeAdapter

from samplers.pacing import Level, Limit, Pace  # noqa: TC001  pydantic reads the annotations
from samplers.strata import StrataSet, StrataState  # noqa: TC001
from samplers.threshold import FIRST, Incoming
from tracekit.otlp.tracestate import NEVER


@dataclass(frozen=True, slots=True)
class Rule:
    """What the decision needs to know of a rule.

    Attributes:
        name: Its name.
        probability: Probability it gives to what it matches.
        reasons: Words that go with a session it kept.
    """

    name: str
    probability: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits by unit, `spans` or `bytes`.

    Attributes:
        overall: Of all sessions together.
        each: Of each tenant that has none of its own.
        named: Of some tenants.
    """

    overall: tuple[tuple[str, Limit], ...] = ()
    each: tuple[tuple[str, Limit], ...] = ()
    named: dict[str, tuple[tuple[str, Limit], ...]] = field(default_factory=dict)

    def of(self, tenant: str) -> tuple[tuple[str, Limit], ...]:
        """Return the limits of one tenant."""
        return self.named.get(tenant, self.each)


@dataclass(frozen=True, slots=True)
class Terms:
    """A policy as the decision needs it.

    Attributes:
        name: Its name.
        rules: Rules, in order; bit n of a session's matches belongs to rule n.
        drops: Names of the drop rules, in order.
        baseline: Probability of every session that nothing drops.
        precision: Hex digits of thresholds.
        strata: Strata sets, in order.
        budgets: Limits.
        ladder: Levels of degradation, weakest first.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    drops: tuple[str, ...] = ()
    baseline: float = 0.0
    precision: int = 4
    strata: tuple[StrataSet, ...] = ()
    budgets: Budgets = field(default_factory=Budgets)
    ladder: tuple[Level, ...] = ()


@dataclass(slots=True)
class State:
    """What a policy has seen: to be stored with the decisions, and taken up after a restart.

    Attributes:
        strata: State of the strata sets by name.
        paces: State of the budgets by scope and unit: `overall/spans`, `tenant/acme/bytes`.
    """

    strata: dict[str, StrataState] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return it as JSON."""
        return _STATE.dump_json(self)

    @classmethod
    def from_json(cls, text: bytes) -> State:
        """Return it from JSON.

        Raises:
            ValueError: If it is no state.
        """
        return _STATE.validate_json(text)


_STATE: Final = TypeAdapter(State)


@dataclass(frozen=True, slots=True)
class Matches:
    """What one policy's predicates say of a session.

    Attributes:
        rules: Rules that match, a bit each, the first rule lowest.
        drops: Drop rules that match, likewise.
        strata: Stratum in each strata set.
    """

    rules: int = 0
    drops: int = 0
    strata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A session to decide.

    Attributes:
        session_id: Its key.
        randomness: R.
        matches: What each policy says, the live one first.
        spans: Spans received.
        bytes: Bytes of them.
        tenant: Tenant; empty where unknown.
        trigger: Why it is decided now.
        incoming: Sampling of the stages before.
        previous: Smallest T of earlier, interim decisions; it was kept if R reached that.
        final: Whether it is counted: each session once, at its last decision.
    """

    session_id: str
    randomness: int
    matches: tuple[Matches, ...]
    spans: int = 1
    bytes: int = 0
    tenant: str = ""
    trigger: str = ""
    incoming: Incoming = FIRST
    previous: int = NEVER
    final: bool = True


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a policy that only watches would have done.

    Attributes:
        policy: Its name.
        keep: Whether it would have kept the session.
        threshold: T it would have decided by.
        rule: What gave T.
    """

    policy: str
    keep: bool
    threshold: int
    rule: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a session.

    Attributes:
        session_id: Its key.
        keep: Whether it is kept: R >= T.
        randomness: R.
        threshold: T, as `th` writes it; NEVER where nothing could keep it.
        probability: Probability of being kept here, given that it came; exact.
        inclusion: The same over all stages; None where what came before is unknown.
        policy: Name of the policy.
        rule: What gave T: a rule, a floor, the baseline, or the drop rule.
        stratum: Stratum in each strata set, joined by a semicolon.
        trigger: Why it was decided.
        reasons: Why it was kept, or what was tried in vain.
        th_out: `th` of its traces that share its R; None for none.
        erase: Whether an incoming `th` is to be erased: it no longer tells the probability.
        degrade: Level of the degrade ladder for what is kept; 0 for none.
        shadows: What the shadow policies would have done.
    """

    session_id: str
    keep: bool
    randomness: int
    threshold: int
    probability: float
    inclusion: float | None
    policy: str
    rule: str
    stratum: str
    trigger: str
    reasons: tuple[str, ...]
    th_out: int | None
    erase: bool
    degrade: int = 0
    shadows: tuple[Shadow, ...] = ()

    @property
    def weight(self) -> float | None:
        """For how many a kept session stands, all stages counted; None where nobody can know."""
        return 1 / self.inclusion if self.inclusion else None

    @property
    def stage_weight(self) -> float | None:
        """For how many of those that came here a kept session stands."""
        return 1 / self.probability if self.probability else None
