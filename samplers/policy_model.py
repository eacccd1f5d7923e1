"""What a policy may say, as models; what it means stands in their docstrings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from samplers.features import NAMES
from samplers.pacing import Level
from samplers.policy_limits import (
    Budgets,
    DegradeLevel,
    Key,
    Name,
    Probability,
    Seconds,
    Sessions,
    Step,
    Strict,
)
from samplers.predicates import unknown_column
from samplers.strata import StrataSet
from samplers.terms import Budgets as BudgetTerms
from samplers.terms import Rule as RuleTerms
from samplers.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Sequence


class Rule(Strict):
    """Sessions to keep.

    Attributes:
        name: Its name, unique in the policy.
        when: SQL expression over the features; null does not match.
        keep: `all`, in place of a probability.
        probability: Probability with which a session that matches is kept.
        reasons: Words that go with what it kept; its name by default.
    """

    name: Name
    when: Annotated[str, Field(min_length=1, max_length=10_000)]
    keep: Literal["all"] | None = None
    probability: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    reasons: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if (self.keep is None) == (self.probability is None):
            raise ValueError("a rule has either `keep: all` or a `probability`")
        return self

    @property
    def share(self) -> float:
        """The probability; 1 for `keep: all`."""
        return 1.0 if self.probability is None else self.probability


class DropRule(Strict):
    """Sessions never to keep, whatever other rules say; nothing kept speaks for them."""

    name: Name
    when: Annotated[str, Field(min_length=1, max_length=10_000)]


class Strata(Strict):
    """A division of sessions, and how many of each part to keep.

    Attributes:
        by: Features whose values make the strata.
        name: Its name; the features' by default.
        floor: Sessions to keep of each stratum per window, at least, in expectation.
        quota: Sessions the baseline keeps of each stratum per window, at most, in expectation.
        window: Length of a window.
    """

    by: Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]
    name: Annotated[str, Field(max_length=200)] = ""
    floor: Annotated[float, Field(ge=0, le=1e9)] = 0
    quota: Annotated[float, Field(gt=0, le=1e9)] | None = None
    window: Seconds = 3600

    @field_validator("by")
    @classmethod
    def _features(cls, by: tuple[str, ...]) -> tuple[str, ...]:
        for column in by:
            if column not in NAMES:
                raise ValueError(unknown_column(column))
            if column == "session_id":
                raise ValueError("session_id makes every session its own stratum")
        return by

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.floor and self.quota is None:
            raise ValueError("strata have a `floor`, a `quota`, or both")
        if self.quota is not None and self.quota < self.floor:
            raise ValueError("the quota is below the floor")
        return self

    @property
    def title(self) -> str:
        """The name, or the features."""
        return self.name or ",".join(self.by)


def _unique(names: Sequence[str], what: str) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"two {what} are called {name!r}; rename one")


class Judgement(Strict):
    """What decides about a session: the part of a policy that a shadow policy has too.

    Attributes:
        name: Its name, in decisions and metrics.
        description: What it is for.
        rules: Sessions to keep.
        drop: Sessions never to keep.
        baseline: Probability of every other session.
        strata: Floors and quotas.
        budgets: How much may be kept.
        precision: Hex digits of thresholds.
    """

    name: Name
    description: str = ""
    rules: Annotated[tuple[Rule, ...], Field(max_length=60)] = ()
    drop: Annotated[tuple[DropRule, ...], Field(max_length=60)] = ()
    baseline: Probability = 0.0
    strata: Annotated[tuple[Strata, ...], Field(max_length=8)] = ()
    budgets: Budgets = Budgets()
    precision: Annotated[int, Field(ge=1, le=14)] = 4

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _unique([*(rule.name for rule in self.rules), *(rule.name for rule in self.drop)], "rules")
        _unique([entry.title for entry in self.strata], "strata")
        return self

    def terms(self) -> Terms:
        """Return what the decision needs to know."""
        budgets = self.budgets
        return Terms(
            name=self.name,
            rules=tuple(RuleTerms(r.name, r.share, r.reasons or (r.name,)) for r in self.rules),
            drops=tuple(rule.name for rule in self.drop),
            baseline=self.baseline,
            precision=self.precision,
            strata=tuple(
                StrataSet(entry.title, entry.floor, entry.quota, int(entry.window * 1e9))
                for entry in self.strata
            ),
            budgets=BudgetTerms(
                budgets.limits(),
                budgets.per_tenant.limits(),
                {tenant: budget.limits() for tenant, budget in budgets.tenants.items()},
            ),
            ladder=self.ladder(),
        )

    def ladder(self) -> tuple[Level, ...]:
        """Return the arithmetic of the degrade ladder; a shadow policy has none."""
        return ()


class Policy(Judgement):
    """A policy file.

    Attributes:
        strip: What is taken out of every kept session, in order.
        degrade: Levels of making kept sessions smaller, weakest first; after `strip`.
        sessions: When a session is over, where it is not as whoever decides was told.
        shadow: Policies that are judged and counted beside this one, and keep nothing.
        input_unsampled: The operator vouches that nothing was sampled before: a session without
            `th` that is kept with certainty then leaves with `th:0`.
    """

    strip: Annotated[tuple[Step, ...], Field(max_length=100)] = ()
    degrade: Annotated[tuple[DegradeLevel, ...], Field(max_length=16)] = ()
    sessions: Sessions = Sessions()
    shadow: Annotated[tuple[Judgement, ...], Field(max_length=8)] = ()
    input_unsampled: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        above = [level.above for level in self.degrade]
        if above != sorted(above):
            raise ValueError("degrade: levels stand in the order of `above`")
        _unique([level.name for level in self.degrade], "levels")
        _unique([self.name, *(judgement.name for judgement in self.shadow)], "policies")
        return self

    def ladder(self) -> tuple[Level, ...]:
        """Return the arithmetic of the degrade ladder."""
        return tuple(Level(level.above, level.ratio) for level in self.degrade)

    def judgements(self) -> tuple[Judgement, ...]:
        """Return the live policy, then its shadows."""
        return (self, *self.shadow)
