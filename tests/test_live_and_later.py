"""What the collector finds in a session, the lake finds in it again, by the same files."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import later
import pytest
from engine_build import SECOND, Box, Clock, Collector

from samplers.collector.outcome import Accepted
from samplers.policy import parse, preset
from tracekit.importers.detect import open_sources
from tracekit.otlp.scan import scan
from tracekit.schema import DECISION
from tracekit.simulation.registry import modes
from tracekit.simulation.run import Request, Run
from tracekit.simulation.scenario import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from samplers.policy_model import Policy
    from tracekit.lake import Lake

ALL = preset("keep-all")
ANOMALIES = preset("keep-anomalies")
PLAIN = parse(
    "plain",
    """name: plain
rules:
  - {name: hits, when: detector_hits > 0, keep: all}
  - {name: dear, when: cost_usd > 2 * cohort_cost_median, probability: 0.5}
  - {name: big, when: bytes > 12000 OR spans > 25, probability: 0.25}
  - {name: idle, when: trigger = 'idle', probability: 0.2}
baseline: 0.1
""",
)
DAY = 24 * 3600 * SECOND


def collected(folder: Path, requests: Sequence[Request], policy: Policy) -> Lake:
    """Return the lake of a collector that got requests, day by day, with its baselines."""
    collector = Collector(folder, [policy], Clock(), Box())
    for request in sorted(requests, key=lambda one: one.end_ns):
        if request.end_ns // DAY > collector.clock.now // DAY:
            if collector.clock.now:
                collector.clock.now = (collector.clock.now // DAY + 1) * DAY - SECOND
                collector.engine.tick(collector.clock.now, flush=True)
            collector.clock.now = request.end_ns
            collector.engine.freeze(collector.clock.now)
        collector.clock.now = max(collector.clock.now, request.end_ns)
        assert collector.engine.receive(request.data) == Accepted()
    collector.finish(after=3600 * SECOND)
    return collector.lake


def went_on(lake: Lake) -> set[str]:
    """Return the kept sessions that got spans after they were decided: the lake knows more."""
    question = "SELECT session_id FROM sessions WHERE spans <> decided_spans"
    return set(lake.query(question)["session_id"].to_pylist())


def differences(lake: Lake, policy: Policy) -> list[str]:
    """Return where a lake, asked now, says something else than was recorded, session by session."""
    verdicts, tables = later.judged(lake)
    others = went_on(lake)
    was = {row for row in later.recorded(lake) if row[0] not in others}
    now = {row for row in verdicts if row[0] not in others}
    found = [f"recorded {row}" for row in sorted(was - now, key=str)]
    found += [f"asked now {row}" for row in sorted(now - was, key=str)]
    matches = later.matches(tables, policy)
    for row in tables["sessions"].select(["session_id", *(c.name for c in DECISION)]).to_pylist():
        if row["session_id"] in others:
            continue
        its = matches[row["session_id"]]
        rejection, rule = later.announced(policy, its)
        is_floor = row["rule"].startswith("floor/")
        agree = (
            row["policy"] == policy.name,
            row["stratum"] == "; ".join(its.strata),
            row["kept"] == (row["randomness"] >= row["threshold"]),
            row["threshold"] <= rejection if is_floor else row["threshold"] == rejection,
            is_floor or row["rule"] == rule,
        )
        if not all(agree):
            found.append(f"{agree} {rejection:014x} {rule}: {row}")
    return found


def simulated(scenario: str, sessions: int) -> list[Request]:
    return list(Run(load(scenario), sessions=sessions, jobs=1).requests(lambda _: None))


def recordings(folder: Path, pattern: str, most: int) -> list[Request]:
    """Return the first requests of recorded sessions, which come when their last span ended."""
    paths = [str(path) for path in sorted(folder.glob(pattern))]
    found = []
    for source in open_sources(paths):
        for data in islice(source.chunks(), most):
            ends = scan(data).table["end_ns"].drop_null().to_pylist()
            found.append(Request(max(ends), len(ends), data))
    return found


def test_every_failure_mode_is_judged_alike_live_and_later(tmp_path: Path) -> None:
    """Detectors of all sessions, and rules of what was kept and dropped, in every mode there is."""
    requests = simulated("failures", 2 * len(modes()))
    everything = collected(tmp_path / "all", requests, ALL)
    assert differences(everything, ALL) == []
    sample = collected(tmp_path / "sample", requests, ANOMALIES)
    assert differences(sample, ANOMALIES) == []
    # Of dropped sessions the lake repeats what was recorded: that is what all spans would say.
    assert later.recorded(sample) == later.recorded(everything)
    assert len(went_on(everything)) < len(modes()) / 10
    kinds = {(detector, verdict) for _, detector, verdict, *_ in later.recorded(sample)}
    assert len({detector for detector, verdict in kinds if verdict == "hit"}) >= 5


@pytest.mark.slow
def test_cohorts_are_those_the_collector_had(tmp_path: Path) -> None:
    """Rules and detectors that ask for the cohort's baseline, over two weeks of frozen days."""
    lake = collected(tmp_path, simulated("default", 200), PLAIN)
    assert differences(lake, PLAIN) == []
    cohorts = later.judged(lake)[1]["detector_cohorts"]
    assert cohorts["cohort_cost_median"].null_count < cohorts.num_rows == 200
    rules = set(lake.query("SELECT DISTINCT rule FROM sessions")["rule"].to_pylist())
    assert {"hits", "dear", "big", "baseline"} <= rules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "pattern", "most"),
    [("tau2-retail", "Retail_Base*.tar.gz", 2), ("swebench-mini-agent", "trajs*.tar.gz", 3)],
)
def test_recorded_sessions_are_judged_alike_live_and_later(
    shared_data: Path, tmp_path: Path, folder: str, pattern: str, most: int
) -> None:
    """Sessions of real agents, through the importers' OTLP, the collector and the lake."""
    requests = recordings(shared_data / folder, pattern, most)
    assert requests
    for policy in (ALL, ANOMALIES):
        lake = collected(tmp_path / policy.name, requests, policy)
        assert differences(lake, policy) == []
