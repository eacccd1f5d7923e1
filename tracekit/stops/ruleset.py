"""The stop rules as data: read from `rules.yaml`, their predicates complete."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict

from tracekit.errors import TracekitError
from tracekit.stops import taxonomy
from tracekit.stops.taxonomy import Level, data

FALLBACK: Final = "unknown."
"""Codes of this category never contribute: they only say that nothing else matched."""


class Rule(BaseModel):
    """One rule.

    Attributes:
        id: Unique name: the code it gives, with a suffix where a code has several rules.
        level: What the rule rests on.
        when: SQL predicate over the evidence columns.
        recovered: SQL predicate under which the code contributes without being the reason.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    level: Level
    when: str
    recovered: str | None = None

    @property
    def code(self) -> str:
        """The code the rule gives."""
        return ".".join(self.id.split(".")[:2])


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules in order of precedence, their predicates complete."""

    version: str
    rules: tuple[Rule, ...]


@cache
def read() -> RuleSet:
    """Return the rules shipped with this package; their predicates are not looked into.

    Raises:
        TracekitError: A rule gives no known code or repeats an id; the message names the rule.
    """
    document = data("rules.yaml")
    thresholds = {name: entry["value"] for name, entry in data("thresholds.yaml").items()}
    rules = tuple(
        _completed(Rule(**fields), document["reported"], thresholds) for fields in document["rules"]
    )
    check_names(rules)
    return RuleSet(version=document["version"], rules=rules)


def check_names(rules: tuple[Rule, ...]) -> None:
    """Refuse rules of one id, and rules that give no code.

    Raises:
        TracekitError: As in `read`.
    """
    names = [rule.id for rule in rules]
    if double := {name for name in names if names.count(name) > 1}:
        raise TracekitError(f"stop rule {min(double)}: the id is used twice; rename one")
    for rule in rules:
        if rule.code not in taxonomy.load().codes:
            raise TracekitError(f"stop rule {rule.id}: {rule.code} is no code of the taxonomy")


def _completed(rule: Rule, reported: str, thresholds: dict[str, object]) -> Rule:
    words = {**thresholds, "code": rule.code, "reported": reported.format(code=rule.code)}
    return rule.model_copy(update={"when": rule.when.format(**words).strip()})
