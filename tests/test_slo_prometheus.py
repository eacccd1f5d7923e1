"""Prometheus rules: their structure. No Prometheus reads them here."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from slo_build import objective

from tracekit.errors import UsageError
from tracekit.slo import prometheus
from tracekit.slo.objectives import Objectives

COUNTERS = {"bad": 'tasks_total{agent="a",outcome="failure"}', "total": 'tasks_total{agent="a"}'}


def groups(**fields: Any) -> dict[str, list[dict[str, Any]]]:
    one = objective(name="tasks", target=0.999, time_window="30d", **fields)
    document = yaml.safe_load(prometheus.dump(Objectives(objectives=(one,))))
    assert set(document) == {"groups"}
    return {group["name"]: group["rules"] for group in document["groups"]}


def test_a_recording_rule_for_every_window() -> None:
    """Each window of an alert, and the period, has its error ratio; alerts name no other."""
    found = groups(indicator={"where": "agent_name = 'a'"}, counters=COUNTERS)
    records = found["tracekit-slo-tasks-recordings"]
    names = {rule["record"] for rule in records}
    windows = {"5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"}
    assert {name for name in names if name.startswith("slo:sli_error")} == {
        f"slo:sli_error:ratio_rate{window}" for window in windows
    }
    assert all(set(rule) == {"record", "expr", "labels"} for rule in records)
    alerts = found["tracekit-slo-tasks-alerts"]
    used = {word for rule in alerts for word in re.findall(r"slo:\w+:\w+", rule["expr"])}
    assert used <= names
    five = next(rule for rule in records if rule["record"].endswith("rate5m"))
    bad, total = COUNTERS["bad"], COUNTERS["total"]
    assert five["expr"] == f"sum(rate({bad}[5m])) / sum(rate({total}[5m]))"
    assert five["labels"] == {"slo": "tasks", "service": "shop", "window": "5m"}


def test_alerts_have_both_windows_and_a_guard() -> None:
    """A page is 14.4 or 6 times 0.001 in the long and the short window, with enough tasks."""
    page, ticket = groups()["tracekit-slo-tasks-alerts"]
    assert [page["labels"]["severity"], ticket["labels"]["severity"]] == ["page", "ticket"]
    of = '{slo="tasks", service="shop"}'
    fast = (
        f"((slo:sli_error:ratio_rate5m{of} > 0.0144 and ignoring(window) "
        f"slo:sli_error:ratio_rate1h{of} > 0.0144) "
        'and on() (sum(increase(tracekit_tasks_total{outcome=~"success|failure"}[1h])) >= 10))'
    )
    assert page["expr"].startswith(fast + " or ((")
    for rule in (page, ticket):
        assert set(rule) == {"alert", "expr", "labels", "annotations"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"indicator": {"where": "agent_name = 'a'"}}, "its indicator is SQL"),
        ({"budgeting_method": "RatioTimeslices", "time_slice_window": "5m"}, "of Occurrences"),
    ],
)
def test_what_prometheus_cannot_count_is_refused(fields: dict[str, Any], message: str) -> None:
    """SQL needs counters that say the same; slices have no such rules."""
    with pytest.raises(UsageError, match=message):
        groups(**fields)
