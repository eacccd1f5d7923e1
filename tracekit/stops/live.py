"""The stop of one task, in plain Python: what `classify.sql` says, inside a running process.

The rules, their order and the values are the same files; `classify.sql` says how a code the
application passed is weighed against the first rule that matched.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

from tracekit.errors import TracekitError
from tracekit.stops import ruleset, taxonomy
from tracekit.stops.predicates import PredicateError, compiled, parse
from tracekit.stops.values import CLASSES, values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "CLASSES",
    "Judgement",
    "error_code",
    "framework_code",
    "is_code",
    "judge",
    "status_meaning",
    "stop_class",
    "warm",
]

_NAMES: Final = 4096
"""Names whose meaning is remembered: they come from outside, and are few."""


_ABOUT_SUCCESS: Final = frozenset({"completed.verified", "loop.unaware_done"})
"""Codes that say more about a declared success: that it was checked, or that work went on."""
_RULED: Final = {"contradicted": "completed.false_claim", "conflict": "unknown.conflict"}
"""Rulings that give neither the code found nor the one passed."""


class Judgement(NamedTuple):
    """Why a task stopped.

    Attributes:
        reason: Stop code.
        category: Part of the code before the dot.
        outcome: What the code says about success: success, failure, undetermined.
        fault: Whose fault it is: P, A, U, X or -.
        rule: Id of the rule that matched first, or how a declared code was weighed.
        rule_version: Version of the rules.
        evidence: What it rests on: declared, E0, E1, E2 or E3.
        contributing: Codes of other matches, in the order of the rules.
    """

    reason: str
    category: str
    outcome: str
    fault: str
    rule: str
    rule_version: str
    evidence: str
    contributing: tuple[str, ...]


class _Rules(NamedTuple):
    version: str
    columns: tuple[str, ...]
    matches: Callable[..., tuple[bool, ...]]
    recovered: Callable[..., tuple[bool, ...]]
    rules: tuple[ruleset.Rule, ...]
    codes: tuple[str, ...]
    recovered_codes: tuple[str, ...]
    order: dict[str, int]
    meaning: dict[str, tuple[str, str, str]]


@cache
def _rules() -> _Rules:
    loaded = ruleset.read()
    columns = {n: kind for n, (kind, _) in taxonomy.data("evidence.yaml")["columns"].items()}
    check(loaded.rules, columns)
    recoverable = [rule for rule in loaded.rules if rule.recovered]
    codes = tuple(rule.code for rule in loaded.rules)
    return _Rules(
        loaded.version,
        tuple(columns),
        compiled([rule.when for rule in loaded.rules], columns),
        compiled([rule.recovered or "" for rule in recoverable], columns),
        loaded.rules,
        codes,
        tuple(rule.code for rule in recoverable),
        {code: n for n, code in enumerate(dict.fromkeys(codes))},
        {
            code.code: (code.category, code.outcome, code.fault)
            for code in taxonomy.load().codes.values()
        },
    )


def check(rules: tuple[ruleset.Rule, ...], columns: Mapping[str, str]) -> None:
    """Refuse rules that cannot be evaluated here.

    Raises:
        TracekitError: A predicate is not in the part of SQL that `predicates.py` knows.
    """
    for rule in rules:
        for predicate in filter(None, (rule.when, rule.recovered)):
            try:
                parse(predicate, columns)
            except PredicateError as error:
                raise TracekitError(f"stop rule {rule.id}: {error}: {predicate}") from error


def warm() -> None:
    """Load the rules and the values, which the first call would do otherwise."""
    _rules()
    values()


def judge(evidence: Mapping[str, object]) -> Judgement:
    """Return why a task stopped.

    Args:
        evidence: Columns of `evidence.yaml`; those that are absent are null.
    """
    rules = _rules()
    row = tuple(map(evidence.get, rules.columns))
    matches = rules.matches(*row)
    first = rules.rules[matches.index(True)]
    found = {*compress(rules.codes, matches)}
    found.update(compress(rules.recovered_codes, rules.recovered(*row)))
    found.discard(first.code)
    others = [code for code in found if not code.startswith(ruleset.FALLBACK)]
    others.sort(key=rules.order.__getitem__)
    declared = evidence.get("declared_code")
    if not isinstance(declared, str) or declared not in rules.meaning:
        declared = None
    ruling = _ruling(rules, first.code, declared, evidence.get("verdict"))
    return _ruled(rules, first, ruling, declared, others)


def _ruling(rules: _Rules, code: str, declared: str | None, verdict: object) -> str:
    if declared is None or code == declared:
        return "found"
    outcomes = rules.meaning[declared][1], rules.meaning[code][1]
    if outcomes == ("success", "failure"):
        confirmed = verdict == "pass" or code == "completed.false_claim"
        return "found" if confirmed else "contradicted"
    if outcomes == ("failure", "success"):
        return "conflict"
    confirmed = code in _ABOUT_SUCCESS and outcomes[0] == "success"
    return "found" if confirmed else "declared"


def _ruled(
    rules: _Rules, first: ruleset.Rule, ruling: str, declared: str | None, others: list[str]
) -> Judgement:
    if declared is None or ruling == "found":
        # Passed and found to be so: it rests on what was passed.
        level = "declared" if first.code == declared else first.level
        contributing = tuple(others)
        return Judgement(
            first.code, *rules.meaning[first.code], first.id, rules.version, level, contributing
        )
    if first.code != "unknown.no_evidence":
        others = [first.code, *others]
    if ruling == "conflict" and declared not in others:
        others = [*others, declared]
    reason = _RULED.get(ruling, declared)
    level = first.level if ruling == "contradicted" else "declared"
    contributing = tuple(code for code in others if code != reason)
    rule = f"declared.{ruling}"
    return Judgement(reason, *rules.meaning[reason], rule, rules.version, level, contributing)


@lru_cache(_NAMES)
def stop_class(provider: str | None, raw: str | None) -> str | None:
    """Return the class of a stop value: clean, tool_call, a stop code, or None where unmapped.

    Of several, joined with a comma, the first counts, unless a later one says more than a clean end
    or a tool call: a choice that was cut must not hide behind one that was not.

    Args:
        provider: OTel `gen_ai.provider.name`.
        raw: Stop value as written.
    """
    if raw is None:
        return None
    known = values().stops
    own, common = known.get((provider or "*").lower(), {}), known["*"]
    words = raw.lower().split(",")
    found = [own.get(word) or common.get(word) for word in words]
    meanings = [meaning for meaning in found if meaning]
    telling = (meaning for meaning in meanings if meaning not in CLASSES)
    return next(telling, meanings[0] if meanings else None)


@lru_cache(_NAMES)
def error_code(error_type: str | None, http_status: int | None, place: str) -> str | None:
    """Return what an error means: by its type, else by the HTTP status; None where unmapped.

    Args:
        error_type: `error.type` as written.
        http_status: Status of the response.
        place: Where it was raised: inference, tool or run.
    """
    known = values()
    found = known.error(error_type, place) if error_type is not None else None
    if found is not None or http_status is None or place == "run":
        return found
    return (known.http_tool if place == "tool" else known.http).get(http_status)


@lru_cache(_NAMES)
def status_meaning(kind: str, raw: str | None) -> str | None:
    """Return what a typed status means; None where unmapped.

    Args:
        kind: declared, tool, approval or verdict.
        raw: Status as written.
    """
    return None if raw is None else values().statuses[kind].get(raw.strip().lower())


@lru_cache(_NAMES)
def framework_code(raw: str | None) -> str | None:
    """Return what a framework's terminal state means; None where unmapped."""
    return None if raw is None else values().framework(raw)


def is_code(code: str) -> bool:
    """Return whether the taxonomy has a stop code."""
    return code in _rules().meaning
