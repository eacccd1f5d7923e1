"""Alerts on simulated agents, held against the incidents that happened to them."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from slo_build import objective

from tracekit.lake import Lake
from tracekit.simulation.run import Run
from tracekit.simulation.scenario import Scenario, load, parse
from tracekit.simulation.targets import SimulatedSource
from tracekit.slo.budget import Rule, rules
from tracekit.slo.objectives import Objective, Objectives
from tracekit.slo.replay import replay
from tracekit.stats.intervals import wilson

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.simulation.scenario import Incident
    from tracekit.simulation.truth import Row

STEP_S = 300
SECOND_NS = 10**9
PROVIDER = {
    "where": "agent_name = 'back-office-agent'",
    "good": "outcome <> 'undetermined' OR stop_fault <> 'P'",
    "bad": "outcome = 'failure' AND stop_fault = 'P'",
}
"""Tasks that a provider failed, among all: of their outcome the stop tells enough."""


def played(folder: Path, plan: Scenario, sessions: int | None = None) -> tuple[Lake, list[Row]]:
    """Return a lake of a scenario, and the truth."""
    rows: list[Row] = []
    lake = Lake.open(folder / "lake", create=True)
    summary = lake.ingest([SimulatedSource(Run(plan, sessions=sessions), rows.extend)])
    assert summary.failed == ()
    return lake, rows


def alerts(lake: Lake, one: Objective, first: datetime, last: datetime) -> list[dict[str, Any]]:
    """Return the alerts over a time, with their times as ns since 1970."""
    table = lake.read(lambda con: replay(con, Objectives(objectives=(one,)), first, last, STEP_S))
    return [
        dict(row)
        | {
            end: int(datetime.fromisoformat(str(row[end])).timestamp()) * SECOND_NS
            for end in ("start", "end")
        }
        for row in table.rows
    ]


SHOP = """
description: half a day of one agent, with an hour and a half in which its provider is down
start: 2026-05-04
days: 0.5
sessions: 500
providers:
  openai:
    host: api.openai.com
    stops: {clean: stop, tools: tool_calls, limit: length, filtered: content_filter}
    refuses: {role: assistant, refusal: "No.", content: null}
    failures: {overloaded: ServiceUnavailableError}
    errors: {}
agents:
  desk:
    service: desk
    models: {gpt-4.1-mini: 1}
    turns: [1, 1]
    client: {attempts: 1}
    tools: {find: {effect: read, seconds: 0.2, result: 100}}
    modes: {verified: 97, rejected: 3}
incidents:
  - name: down
    provider: openai
    start: "2026-05-04T06:00:00"
    hours: 1.5
    errors: {overloaded: 0.7}
"""


def test_an_outage_pages_within_the_hour(tmp_path: Path) -> None:
    """Nine of ten tasks fail: half of an hour's do after 34 minutes, and nobody is woken else."""
    plan = parse(SHOP, "shop")
    lake, _ = played(tmp_path, plan)
    (down,) = plan.incidents
    one = objective(target="95%", time_window="30d")
    first = datetime.fromisoformat("2026-05-04T00:00+00:00")
    found = alerts(lake, one, first, first + timedelta(hours=12))
    (page,) = [row for row in found if row["severity"] == "page"]
    assert down.start_ns + 20 * 60 * SECOND_NS < page["start"] <= down.start_ns + 3600 * SECOND_NS
    assert down.end_ns <= page["end"] <= down.end_ns + 3600 * SECOND_NS
    assert all(row["start"] >= down.start_ns for row in found)


class Truth:
    """Good and bad tasks by their end, counted the plain way."""

    def __init__(self, rows: list[Row]) -> None:
        mine = sorted((row.end_ns, row) for row in rows if row.agent == "back-office-agent")
        self.ends = [end for end, _ in mine]
        bad = (row.outcome == "failure" and row.fault == "P" for _, row in mine)
        self.bad = [0, *accumulate(map(int, bad))]

    def of(self, until_ns: int, length_s: int) -> tuple[int, int]:
        """Return tasks and bad ones in a window."""
        low = bisect_left(self.ends, until_ns - length_s * SECOND_NS)
        high = bisect_left(self.ends, until_ns)
        return high - low, self.bad[high] - self.bad[low]

    def proven(self, rule: Rule, budget: float, incident: Incident) -> int | None:
        """Return when an incident exceeds a rule beyond doubt, ns since 1970; None: never."""
        for at in range(incident.start_ns, incident.end_ns, STEP_S * SECOND_NS):
            total, bad = self.of(at, rule.long_s)
            low = wilson(bad, total, 0.95, "lower").low if total else 0.0
            if total >= 10 and low > rule.burn * budget:
                return at
        return None


@pytest.mark.slow
def test_a_month_of_incidents(tmp_path: Path) -> None:
    """What by the truth burns enough is told, and no page comes without an incident."""
    plan = load("incident")
    document = yaml.safe_load(plan.model_dump_json())
    document["agents"]["back-office-agent"]["client"]["attempts"] = 1  # so that incidents are felt
    plan = Scenario.model_validate(document)
    lake, rows = played(tmp_path, plan, 16_000)
    truth = Truth(rows)
    assert len(truth.ends) > 10_000
    one = objective(target="95%", time_window="30d", indicator=PROVIDER)
    first = datetime.fromisoformat("2026-03-01T00:00+00:00")
    found = alerts(lake, one, first, first + timedelta(days=31))
    told = 0
    for incident in plan.incidents:
        during = [r for r in found if incident.start_ns <= r["start"] < incident.end_ns]
        for rule in rules(one):
            when = truth.proven(rule, one.budget, incident)
            if when is None:
                continue
            told += 1
            # A sparse agent's short window may be empty just then.
            reach = when + 900 * SECOND_NS
            assert any(
                r["severity"] == rule.severity and r["start"] <= reach and r["end"] >= when
                for r in found
            ), (incident.name, rule.name)
        print(incident.name, [(r["severity"], r["rules"], r["burn"]) for r in during])  # noqa: T201
    assert told >= 2
    for page in (row for row in found if row["severity"] == "page"):
        assert any(
            i.start_ns <= page["start"] <= i.end_ns + 6 * 3600 * SECOND_NS for i in plan.incidents
        )
