"""Scripted agents: what is true of them, and what tracekit's models make of their spans."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import golden
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit.errors import InputError, UsageError
from tracekit.instrumentation import names
from tracekit.instrumentation.runtime import counts, reset_counts
from tracekit.lake.lake import Lake
from tracekit.simulation.registry import modes
from tracekit.simulation.run import Run
from tracekit.simulation.scenario import SHIPPED, Scenario, load, parse
from tracekit.simulation.targets import SimulatedSource
from tracekit.simulation.truth import WASTE
from tracekit.stops import load_taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tracekit.simulation.truth import Row

NOT_IN_PROCESS = {
    "crash": "a process that died derived nothing",
    "abandoned": "a run that hangs for ever derived nothing",
    "handed_off": "the process that handed off does not see the spans of the other one",
}
"""Entries of which the process itself says something else than the lake, and why."""

TASKS = """
    SELECT session_id, task_id, stop_reason, outcome, cost_usd, wasted_cost_usd,
        wasted_failed_attempt_usd, wasted_duplicate_usd, wasted_cancelled_sibling_usd,
        wasted_after_done_usd
    FROM tasks
"""


class Judged(NamedTuple):
    """A task: what was true, what the lake derived, what the process itself derived."""

    row: Row
    lake: dict[str, Any]
    live: str


class Watched(SimulatedSource):
    """A source that notes the stop codes derived in process."""

    def chunks(self) -> Iterator[bytes]:
        """Note them on the way."""
        self.codes: dict[tuple[str, str], str] = {}
        for data in super().chunks():
            request = ExportTraceServiceRequest.FromString(data)
            for resource in request.resource_spans:
                for span in resource.scope_spans[0].spans:
                    found = {item.key: item.value.string_value for item in span.attributes}
                    if names.STOP_REASON in found and not span.parent_span_id:
                        session = found[names.SESSION_ID]
                        key = session, found.get(names.TASK_ID, session)
                        self.codes[key] = found[names.STOP_REASON]
            yield data


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    """Every failure mode some times, played with stops derived in process, in a lake."""
    rows: list[Row] = []
    reset_counts()
    source = Watched(Run(load("failures"), jobs=1, derive=True), rows.extend)
    lake = Lake.open(tmp_path_factory.mktemp("failures") / "lake", create=True)
    summary = lake.ingest([source])
    assert summary.failed == ()
    assert not summary.unmapped_stops
    assert not summary.unknown_operations
    assert counts() == {}
    found = {(task["session_id"], task["task_id"]): task for task in lake.query(TASKS).to_pylist()}
    assert found.keys() == {(row.session_id, row.task_id) for row in rows}
    return [
        Judged(row, found[key], source.codes.get(key, "-"))
        for row in rows
        for key in [(row.session_id, row.task_id)]
    ]


def test_every_mode_against_the_models(judged: list[Judged]) -> None:
    """What was true and what was derived, per entry: codes, outcomes, the error of costs."""
    groups: defaultdict[tuple[str, ...], list[Judged]] = defaultdict(list)
    for task in judged:
        row, lake = task.row, task.lake
        outcome = f"{row.outcome} ({row.known})"
        key = (row.agent, row.entry, row.code, lake["stop_reason"], task.live, outcome)
        groups[*key, lake["outcome"]].append(task)
    lines = [
        (
            *(*key, len(group)),
            error(group, "cost_usd", "cost_usd"),
            error(group, "wasted_cost_usd", "wasted_usd"),
        )
        for key, group in groups.items()
    ]
    header = ["agent", "entry", "true code", "derived", "in process", "true outcome (known by)"]
    header += ["derived outcome", "tasks", "cost error USD", "waste error USD"]
    golden.check("simulation_confusion.tsv", golden.tsv(header, lines))


def error(group: list[Judged], derived: str, true: str) -> str:
    """Return by how much the derived sum is off, USD per task."""
    off = sum((task.lake[derived] or 0.0) - getattr(task.row, true) for task in group)
    return f"{round(off / len(group), 6) + 0.0:.6f}"


def test_what_is_missed_is_explained(judged: list[Judged]) -> None:
    """A code is recovered unless the script says why a trace cannot show it."""
    missed = {t.row.entry for t in judged if t.lake["stop_reason"] != t.row.code}
    hidden = {t.row.entry for t in judged if t.row.hidden}
    assert missed <= hidden


def test_an_outcome_is_known_when_the_script_says_so(judged: list[Judged]) -> None:
    """Verdicts, typed ends, labels and stop codes tell it; where nobody told it stays open."""
    wrong = [
        task.row
        for task in judged
        if task.lake["outcome"]
        != (task.row.outcome if task.row.known != "never" else "undetermined")
    ]
    assert wrong == []


def test_costs_are_exact(judged: list[Judged]) -> None:
    """Every task costs what the script's own price table says, wasted money included."""
    for task in judged:
        row = task.row
        if row.hidden:
            continue
        assert task.lake["cost_usd"] == pytest.approx(row.cost_usd, abs=1e-9), row
        columns = [("wasted_cost_usd", "wasted_usd")]
        columns += [(f"wasted_{reason}_usd",) * 2 for reason in WASTE[:-1]]
        for derived, true in columns:
            assert task.lake[derived] == pytest.approx(getattr(row, true), abs=1e-9), row


def test_the_process_agrees_with_the_lake(judged: list[Judged]) -> None:
    """What is on the root span when it ends is what the lake derives from all spans."""
    differ = {t.row.entry for t in judged if t.live != t.lake["stop_reason"]}
    assert differ == NOT_IN_PROCESS.keys()


def test_every_mode_is_played(judged: list[Judged]) -> None:
    """The coverage scenario holds all of them, and each code is one of the taxonomy."""
    assert {task.row.mode for task in judged} == modes().keys()
    assert {mode.truth.code for mode in modes().values()} <= load_taxonomy().codes.keys()
    assert all(mode.summary.endswith(".") for mode in modes().values())


SMALL = """
name: small
start: 2026-05-04
days: 0.02
sessions: 600
agents:
  one-agent:
    service: shop
    models: {gpt-4.1-mini: 1, claude-haiku-4-5: 1}
    turns: [1, 2]
    tools: {look: {effect: read, seconds: 0.2, result: 100}}
    modes: {verified: 3, repeat_call: 1}
"""


def small(**changes: Any) -> Scenario:
    return parse(yaml.safe_dump(yaml.safe_load(SMALL) | changes), "small.yaml")


def content(run: Run) -> tuple[bytes, list[Row]]:
    rows: list[Row] = []
    data = b"".join(request.data for request in run.requests(rows.extend))
    return data, rows


def test_processes_change_nothing() -> None:
    """One process and two play the same bytes and tell the same truth."""
    assert content(Run(small(), jobs=1)) == content(Run(small(), jobs=2))


def test_more_sessions_are_the_same_and_others() -> None:
    """The sessions of a small run are among those of a large one; another seed has others."""
    few, many = content(Run(small(), sessions=40))[1], content(Run(small(), sessions=120))[1]
    other = content(Run(small(), sessions=40, seed=2))[1]
    assert set(few) < set(many)
    assert {row.session_id for row in few}.isdisjoint(row.session_id for row in other)


def test_sessions_overlap_as_in_life() -> None:
    """Requests come in the order of time, with spans of several sessions in one."""
    requests = list(Run(small(), jobs=1).requests(lambda _: None))
    ends = [request.end_ns for request in requests]
    assert ends == sorted(ends)
    first = ExportTraceServiceRequest.FromString(requests[0].data)
    spans = first.resource_spans[0].scope_spans[0].spans
    traces = [span.trace_id for span in spans]
    assert any(a != b and a in traces[n:] for n, (a, b) in enumerate(pairwise(traces), 1))


def test_an_incident_fails_the_attempts_in_its_time() -> None:
    """Calls to that provider fail with the shares of the incident, others and later ones do not."""
    incident: dict[str, Any] = {"name": "down", "provider": "anthropic", "hours": 0.24}
    incident |= {"start": "2026-05-04T00:00:00", "errors": {"overloaded": 0.9}}
    quiet: dict[str, Any] = {"openai": {"errors": {}}, "anthropic": {"errors": {}}}
    plan = small(incidents=[incident], providers=overridden(quiet))
    _, rows = content(Run(plan, sessions=400, jobs=1))
    hit = [row for row in rows if row.incident]
    end_ns = plan.incidents[0].end_ns
    assert {(row.incident, row.code, row.outcome, row.fault) for row in hit} == {
        ("down", "provider.overloaded", "failure", "P")
    }
    assert {row.provider for row in hit} == {"anthropic"}
    assert all(row.start_ns < end_ns for row in hit)
    there = [row for row in rows if row.provider == "anthropic" and row.end_ns < end_ns]
    # Three attempts of two calls or more: hardly a task gets through.
    assert len(hit) > 0.8 * len(there) > 20


def overridden(changes: dict[str, Any]) -> dict[str, Any]:
    """Return providers as they are for every scenario, with changes."""
    there = load("default").providers
    return {name: there[name].model_dump() | change for name, change in changes.items()}


def test_a_fallback_saves_the_task() -> None:
    """Where all attempts fail another model is asked, and is what the call cost."""
    agents = yaml.safe_load(SMALL)["agents"]
    agents["one-agent"] |= {
        "models": {"gpt-4.1-mini": 1},
        "client": {"attempts": 2, "fallback": "claude-haiku-4-5"},
        "modes": {"verified": 1},
    }
    changes = {"openai": {"errors": {"overloaded": 1.0}}, "anthropic": {"errors": {}}}
    _, rows = content(Run(small(agents=agents, providers=overridden(changes)), sessions=20))
    assert {row.code for row in rows} == {"completed.verified"}
    assert all(row.attempts == 3 * row.calls for row in rows)
    haiku = load("default").models["claude-haiku-4-5"].price
    most = [(r.input_tokens * haiku.input + r.output_tokens * haiku.output) / 1e6 for r in rows]
    assert all(0 < row.cost_usd <= usd for row, usd in zip(rows, most, strict=True))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_scenarios_that_come_along_play(name: str) -> None:
    """Each names modes and parameters that exist, and has a description."""
    plan = load(name)
    _, rows = content(Run(plan, sessions=30, jobs=1))
    assert plan.description
    assert len({row.session_id for row in rows}) == 30
    assert all(row.start_ns <= row.end_ns for row in rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modes": {"verifid": 1}}, "agents.one-agent.modes.verifid: no mode 'verifid'"),
        ({"modes": {"repeat_call": {"time": 3}}}, "no parameter 'time'; it has: times"),
        ({"modes": {"repeat_call": {"times": "x"}}}, "expected a value like 6, not 'x'"),
        ({"models": {"gpt-9": 1}}, "agents.one-agent.models: no 'gpt-9'; there are"),
        ({"modes": {"duplicate_effect": 1}}, "duplicate_effect needs a tool with a side effect"),
        ({"modes": {"compaction": 1}}, "compaction needs providers with a word for `compacted`"),
        ({"turns": [3, 1]}, "expected [least, most]"),
        ({"client": {"tries": 3}}, "agents.one-agent.client.tries: Extra inputs"),
    ],
)
def test_a_wrong_scenario_is_told_in_a_line(change: dict[str, Any], message: str) -> None:
    """A mistake is named with its place."""
    agents = yaml.safe_load(SMALL)["agents"]
    agents["one-agent"] |= change
    with pytest.raises(InputError) as told:
        Run(small(agents=agents))
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["", "- 1", "start: [", "start: soon\nagents: {}"])
def test_what_is_no_scenario_is_refused(text: str) -> None:
    """YAML that is none, or says something else, names the file."""
    with pytest.raises(InputError, match=r"^x\.yaml: "):
        parse(text, "x.yaml")


def test_a_scenario_that_is_not_there_is_a_wrong_call(tmp_path: Path) -> None:
    """The message names the file and the scenarios there are."""
    with pytest.raises(UsageError, match="default, failures, incident"):
        load(str(tmp_path / "none.yaml"))
