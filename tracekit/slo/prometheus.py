"""Prometheus recording and alerting rules of an objective, in the form that Sloth made common.

They need counters of every task, kept or not: `counters` of the objective, or by default
`tracekit_tasks_total` with a label `outcome`, which whoever runs the agents exports. The
collector's own /metrics counts sessions and spans, without outcomes, and cannot serve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from tracekit.errors import UsageError
from tracekit.slo.budget import rules
from tracekit.slo.durations import shorthand
from tracekit.slo.objectives import Counters

if TYPE_CHECKING:
    from tracekit.slo.budget import Rule
    from tracekit.slo.objectives import Objective, Objectives

COUNTERS: Final = Counters(
    bad='tracekit_tasks_total{outcome="failure"}',
    total='tracekit_tasks_total{outcome=~"success|failure"}',
)
"""Counters of an objective over all tasks that names none."""


def dump(objectives: Objectives) -> str:
    """Return the rules of objectives as a Prometheus rule file.

    Raises:
        UsageError: An objective has no such rules: it counts slices, months, or some tasks without
            saying which counters count them.
    """
    groups = [
        group
        for objective in objectives.objectives
        for group in (_recording(objective), _alerting(objective))
        if group["rules"]
    ]
    return str(yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000))


def _counters(objective: Objective) -> Counters:
    if objective.budgeting_method != "Occurrences" or objective.time_window == "month":
        raise UsageError(
            f"{objective.name}: Prometheus rules are made of Occurrences over rolling windows"
        )
    if objective.counters is not None:
        return objective.counters
    if objective.indicator.model_dump(exclude_defaults=True):
        raise UsageError(
            f"{objective.name}: its indicator is SQL, which Prometheus does not read; name its "
            "`counters: {bad: ..., total: ...}`"
        )
    return COUNTERS


def _labels(objective: Objective) -> dict[str, str]:
    return {"slo": objective.name, "service": objective.service}


def _of(objective: Objective) -> str:
    return f'{{slo="{objective.name}", service="{objective.service}"}}'


def _record(window: str) -> str:
    return f"slo:sli_error:ratio_rate{window}"


def _recording(objective: Objective) -> dict[str, Any]:
    counters, made = _counters(objective), rules(objective)
    lengths = sorted({s for rule in made for s in (rule.short_s, rule.long_s)} | {300})
    shortest, of = shorthand(lengths[0]), _of(objective)
    period = shorthand(objective.period_s)
    rows = [
        _recorded(
            objective,
            _record(window),
            f"sum(rate({counters.bad}[{window}])) / sum(rate({counters.total}[{window}]))",
            window=window,
        )
        for window in map(shorthand, lengths)
    ]
    # A mean of ratios, not of tasks: as Sloth does it, since a rate over weeks costs too much.
    mean = f"sum_over_time({_record(shortest)}{of}[{period}])"
    number = f"count_over_time({_record(shortest)}{of}[{period}])"
    rows.append(_recorded(objective, _record(period), f"{mean} / {number}", window=period))
    constants = {
        "slo:objective:ratio": objective.target,
        "slo:error_budget:ratio": round(objective.budget, 12),
        "slo:time_period:days": objective.period_s / 86_400,
    }
    rows += [_recorded(objective, name, f"vector({value:g})") for name, value in constants.items()]
    ratio = f"/ on(slo, service) group_left slo:error_budget:ratio{of}"
    burn = f"{_record(shortest)}{of} {ratio}"
    spent = f"{_record(period)}{of} {ratio}"
    rows.append(_recorded(objective, "slo:current_burn_rate:ratio", burn))
    rows.append(_recorded(objective, "slo:period_error_budget_remaining:ratio", f"1 - ({spent})"))
    return {"name": f"tracekit-slo-{objective.name}-recordings", "rules": rows}


def _recorded(objective: Objective, name: str, expr: str, **labels: str) -> dict[str, Any]:
    return {"record": name, "expr": expr, "labels": {**_labels(objective), **labels}}


def _alerting(objective: Objective) -> dict[str, Any]:
    made = rules(objective)
    severities = dict.fromkeys(rule.severity for rule in made)
    rows = [
        {
            "alert": "TaskErrorBudgetBurn",
            "expr": " or ".join(_condition(objective, r) for r in made if r.severity == severity),
            "labels": {**_labels(objective), "severity": severity},
            "annotations": {
                "summary": f"{objective.name} of {objective.service} burns its budget too fast",
                "description": objective.description
                or f"Target {objective.target:g} over {shorthand(objective.period_s)}.",
            },
        }
        for severity in severities
    ]
    return {"name": f"tracekit-slo-{objective.name}-alerts", "rules": rows}


def _condition(objective: Objective, rule: Rule) -> str:
    counters, of = _counters(objective), _of(objective)
    rate = f"{rule.burn * objective.budget:.12g}"
    short, long = shorthand(rule.short_s), shorthand(rule.long_s)
    enough = f"sum(increase({counters.total}[{long}])) >= {objective.min_events}"
    return (
        f"(({_record(short)}{of} > {rate} and ignoring(window) {_record(long)}{of} > {rate}) "
        f"and on() ({enough}))"
    )
