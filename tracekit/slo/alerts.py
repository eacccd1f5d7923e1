"""Whether alerts fire, at one moment or over history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tracekit.slo.budget import burn_rate
from tracekit.stats.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tracekit.slo.budget import Rule
    from tracekit.slo.objectives import Objective

State = Literal["firing", "low_traffic", "ok", "no_data"]

_LEVEL: Final = 0.95
"""Confidence, one-sided, that the burn of the long window exceeds the rate."""

_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule at a moment.

    Attributes:
        rule: The rule.
        state: firing; low_traffic: above its rate, but too few tasks to tell; ok; no_data.
        burn: Burn over the long window; None without data.
        burn_low: Its one-sided lower bound.
        tasks: Tasks in the long window.
    """

    rule: Rule
    state: State
    burn: float | None
    burn_low: float | None
    tasks: int


def judged(objective: Objective, rules: Sequence[Rule], row: Mapping[str, Any]) -> Judged:
    """Return the state of a rule from a row of `measure.burns`.

    The long window must exceed the rate with confidence; the short one, which only says that it
    still goes on, as it is.
    """
    rule = rules[row["rule"]]
    total, bad, tasks = float(row["total"]), float(row["bad"]), int(row["tasks"])
    if total <= 0:
        return Judged(rule, "no_data", None, None, 0)
    burn = burn_rate(bad, total, objective.budget)
    # Running sums of shares may end a rounding error outside.
    low = wilson(min(max(bad, 0.0), total), total, _LEVEL, "lower").low / objective.budget
    goes_on = row["short_total"] > 0 and (
        burn_rate(row["short_bad"], row["short_total"], objective.budget) > rule.burn
    )
    state: State
    if burn <= rule.burn or not goes_on:
        state = "ok"
    elif tasks < objective.min_events or low <= rule.burn:
        state = "low_traffic"
    else:
        state = "firing"
    return Judged(rule, state, burn, low, tasks)


@dataclass(slots=True)
class Episode:
    """A time in which alerts of one severity fired.

    Attributes:
        severity: Of them.
        start_ns: When the first fired.
        end_ns: When the last one had stopped, or the end of what was looked at.
        rules: Names of the rules that fired, in the order they did.
        burn: Highest burn seen.
    """

    severity: str
    start_ns: int
    end_ns: int
    rules: list[str]
    burn: float


def episodes(
    seen: Iterable[tuple[int, Judged]], step_s: int, until_ns: int
) -> tuple[list[Episode], int]:
    """Return the times in which alerts fired, and how many moments low traffic held one back.

    A rule that fires again within its short window has not stopped: the short window resets fast,
    and one quiet moment ends no incident.

    Args:
        seen: Moments and rules that exceeded their rate, in order of time.
        step_s: Seconds between moments.
        until_ns: Last moment.
    """
    found: list[Episode] = []
    open_: dict[str, Episode] = {}
    held_back = 0
    for at_ns, one in seen:
        if one.state == "low_traffic":
            held_back += 1
        if one.state != "firing" or one.burn is None:
            continue
        rule = one.rule
        episode = open_.get(rule.severity)
        reach_ns = max(rule.short_s, step_s) * _SECOND_NS
        if episode is None or at_ns - episode.end_ns > reach_ns:
            episode = Episode(rule.severity, at_ns, at_ns, [], one.burn)
            open_[rule.severity] = episode
            found.append(episode)
        episode.end_ns = min(at_ns + step_s * _SECOND_NS, until_ns)
        episode.burn = max(episode.burn, one.burn)
        if rule.name not in episode.rules:
            episode.rules.append(rule.name)
    return found, held_back
