"""What the lake knows of a decision, and what the kept sessions say of all of them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from engine_build import SECOND, Box, Clock, Collector, simulated
from lake_build import import_files, rows
from otlp_build import EPOCH_NS, request, span

from samplers.collector.census import MOST, OTHERS, Census
from samplers.collector.metrics import Registry
from samplers.decision import DecisionRecord
from samplers.policy import parse
from tracekit.cli import main
from tracekit.otlp.tracestate import NEVER, encode_randomness
from tracekit.reports.browse import Wanted, browse
from tracekit.reports.sessions import Order
from tracekit.schema import DECISION

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.lake import Lake

POLICY = """name: shop
rules:
  - {name: failures, when: stop_outcome = 'failure', keep: all, reasons: [failure]}
drop:
  - {name: coders, when: "agent_name = 'coding-agent'"}
baseline: 0.25
strata: [{by: [stop_category], quota: 100000}]
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Collector:
    """Return a collector that decided 80 sessions and wrote its lake."""
    folder = tmp_path_factory.mktemp("filled")
    collector = Collector(folder, [parse("shop", POLICY)], Clock(), Box())
    collector.feed(simulated(80, 5), every=10_000)
    collector.finish()
    return collector


def called(lake: Lake, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return exit code and rows of a command."""
    result = CliRunner().invoke(
        main, [*arguments, "--lake", str(lake.path), "--format", "json"], catch_exceptions=False
    )
    return result.exit_code, json.loads(result.stdout)


def test_every_session_has_its_decision(filled: Collector) -> None:
    """Policy, rule, stratum, T, R and probability of kept and dropped; a weight of kept ones."""
    lake = filled.lake
    names = ", ".join(column.name for column in DECISION)
    decided = lake.query(f"SELECT {names}, trigger, bytes, spans, stop_category FROM sessions")
    assert decided.num_rows == 80
    for row in decided.to_pylist():
        assert row["kept"] == (row["randomness"] >= row["threshold"])
        assert (row["policy"], row["stratum"]) == ("shop", row["stop_category"])
        assert row["rule"] in {"failures", "coders", "baseline"}
        assert row["probability"] == pytest.approx(1 - row["threshold"] / NEVER)
        assert row["weight"] == (1 / row["probability"] if row["kept"] else None)
        assert row["trigger"]
        assert row["bytes"] > 0
        assert row["decided_spans"] > 0
    assert {row["threshold"] for row in decided.to_pylist() if row["rule"] == "coders"} == {NEVER}


def test_dropped_sessions_keep_the_verdicts_of_detectors(filled: Collector) -> None:
    """`tracekit detect` counts them although their spans are gone, each session once."""
    (missing,) = rows(filled.lake, "SELECT count(*) FROM sessions WHERE NOT kept")
    assert missing > 0
    code, found = called(filled.lake, "detect")
    assert code == 0
    assert {row["hits"] + row["clear"] + row["not_evaluable"] for row in found} == {80}
    assert "its spans were not kept" not in {row["missing"] for row in found}
    recorded = dict(
        rows(
            filled.lake,
            "SELECT detector, count(*) FILTER (WHERE verdict = 'hit') FROM detections "
            "JOIN sessions USING (session_id) WHERE spans = decided_spans GROUP BY 1",
        )
    )
    assert all(row["hits"] >= recorded[row["detector"]] for row in found)


def test_the_list_of_sessions_finds_dropped_ones_by_detector(filled: Collector) -> None:
    """Their spans are gone; what was found while they were there counts."""
    dropped = rows(
        filled.lake,
        "SELECT session_id, detector FROM detections JOIN sessions AS s USING (session_id) "
        "WHERE verdict = 'hit' AND NOT s.kept ORDER BY ALL",
    )
    assert dropped
    for session_id, detector in dropped[:3]:
        wanted = Wanted(detector=detector, order=Order(limit=100))
        found = filled.lake.read(lambda con, wanted=wanted: browse(con, wanted))  # type: ignore[misc]
        assert session_id in {row["session_id"] for row in found.table.rows}


def test_the_audit_adds_up(filled: Collector) -> None:
    """By rule: how many came and were kept, and for how many these speak; of a drop rule none."""
    code, found = called(filled.lake, "policy", "audit")
    assert code == 0
    by_rule = {row["rule"]: row for row in found}
    assert sum(row["sessions"] for row in found) == 80
    assert by_rule["coders"]["finding"] == "never kept"
    failures = by_rule["failures"]
    assert failures["kept"] == failures["weighted"] == failures["sessions"]
    baseline = by_rule["baseline"]
    assert baseline["weighted"] == pytest.approx(4 * baseline["kept"], rel=1e-3)
    assert abs(baseline["z"]) < 5
    total = filled.engine.census.total
    assert (total.sessions, total.never) == (80, by_rule["coders"]["sessions"])
    assert total.weight == pytest.approx(sum(row["weighted"] for row in found))
    assert math.isclose(total.variance, sum(row["sigma"] ** 2 for row in found))


def test_the_census_of_the_collector_is_that_of_the_ledger(filled: Collector) -> None:
    """Strata in /metrics have the numbers that the ledger gives for them."""
    _, found = called(filled.lake, "policy", "audit", "--by", "stratum")
    strata = filled.engine.census.strata
    assert {row["stratum"]: (row["sessions"], row["kept"]) for row in found} == {
        name: (tally.sessions, tally.kept) for name, tally in strata.items()
    }
    registry = Registry()
    filled.engine.census.describe(registry)
    lines = registry.text().splitlines()
    for row in found:
        label = f'{{stratum="{row["stratum"]}"}}'
        assert f"tracekit_census_sessions_total{label} {row['sessions']}" in lines
    assert "tracekit_census_alarms 0" in lines


def record(stratum: str, *, keep: bool) -> DecisionRecord:
    fields: dict[str, Any] = dict.fromkeys(("policy", "rule", "trigger"), "x")
    none: dict[str, Any] = dict.fromkeys(("reasons", "segments", "traces"), ())
    return DecisionRecord(
        session=1,
        keep=keep,
        threshold=0,
        stratum=stratum,
        probability=0.5,
        decided_ns=0,
        spans=1,
        **fields,
        **none,
    )


def test_metrics_stay_few_and_raise_the_alarm() -> None:
    """Beyond a hundred strata all share one; one of which nothing is kept is an alarm."""
    census = Census()
    for number in range(MOST + 50):
        census.count(record(f"s{number}", keep=number % 2 == 0))
    assert len(census.strata) == MOST + 1
    assert census.strata[OTHERS].sessions == 50
    assert census.alarms == 0
    for _ in range(11):
        census.count(record("s1", keep=False))
    assert census.alarms == 1


def test_lost_sessions_are_found(filled: Collector, tmp_path: Path) -> None:
    """Where dropped sessions are missing from the ledger's kept ones, the audit fails."""
    policy = parse("p", "name: p\nbaseline: 0.25\n")
    clock = Clock()
    clock.now = EPOCH_NS
    collector = Collector(tmp_path, [policy], clock, Box())
    # R is the end of the trace id: all of it below T, as if what was kept had been lost.
    for number in range(1, 41):
        collector.engine.receive(request([span("step", trace=number)]))
    collector.finish()
    code, found = called(collector.lake, "policy", "audit")
    assert code == 1
    assert [(row["kept"], row["finding"]) for row in found] == [(0, "blind")]
    code, _ = called(filled.lake, "policy", "audit", "--where", "agent_name IS NOT NULL")
    assert code == 0


def test_explain_shows_the_recorded_decision(filled: Collector) -> None:
    """Of a kept and a dropped one: what was decided then, beside what the policy does now."""
    for is_kept in (True, False):
        (row,) = filled.lake.query(
            f"SELECT * FROM sessions WHERE kept = {is_kept} AND rule = 'baseline' LIMIT 1"
        ).to_pylist()
        code, found = called(
            filled.lake, "policy", "explain", row["session_id"], "--policy", "keep-all"
        )
        assert code == 0
        then = {line["name"]: line for line in found if line["part"] == "recorded"}
        assert then["keep"]["matches"] is is_kept
        assert then["R"]["th"] == encode_randomness(row["randomness"])
        assert then["T"]["reached"] is is_kept
        assert then["policy"]["detail"] == "shop"
        assert then["stratum"]["detail"] == row["stratum"]
        now = {line["name"]: line for line in found if line["part"] == "decision"}
        assert now["keep"]["matches"] is True
        assert now["R"]["th"] == encode_randomness(row["randomness"])
        ledger = {line["name"]: line["detail"] for line in found if line["part"] == "ledger"}
        assert ledger["threshold"] == str(row["threshold"])


def begun(folder: Path) -> tuple[Collector, str]:
    """Return a collector with one dropped session in its lake, and its key."""
    clock = Clock()
    clock.now = EPOCH_NS
    collector = Collector(folder, [parse("p", "name: p\nbaseline: 0.25\n")], clock, Box())
    collector.engine.receive(request([span("step", trace=7)]))
    clock.now += 10 * SECOND
    collector.engine.tick(clock.now, flush=True)
    return collector, f"{7:032x}"


def test_a_changed_decision_is_seen_as_one(tmp_path: Path) -> None:
    """Kept by hand: T and R stay as they were, it speaks for nobody, and the time is told."""
    collector, key = begun(tmp_path)
    question = "SELECT kept, weight, rule, reasons, randomness < threshold, overruled_ns"
    question += " FROM sessions"
    assert rows(collector.lake, question) == [(False, None, "baseline", "baseline", True, None)]
    at = collector.clock.now
    collector.engine.pull_back(key, at)
    collector.finish()
    assert rows(collector.lake, question) == [
        (True, None, "baseline", "kept by hand", True, at),
    ]
    _, (audited,) = called(collector.lake, "policy", "audit")
    assert (audited["kept"], audited["by_hand"], audited["weighted"]) == (0, 1, 0)
    _, found = called(collector.lake, "policy", "explain", key)
    assert "by hand" in {line["name"] for line in found if line["part"] == "recorded"}


def test_an_import_of_dropped_spans_keeps_the_decision(tmp_path: Path) -> None:
    """Spans of a dropped session from elsewhere: it has them now, and still stands for itself."""
    collector, key = begun(tmp_path)
    collector.close()
    import_files(collector.lake, tmp_path, {"again": [span("step", trace=7)]})
    question = "SELECT session_id, kept, weight, rule, policy, randomness FROM sessions"
    assert rows(collector.lake, question) == [(key, True, None, "baseline", "p", 7)]
    assert rows(collector.lake, "SELECT count(*) FROM spans") == [1]


def test_exported_sessions_kept_by_hand_have_no_weight_elsewhere(tmp_path: Path) -> None:
    """What leaves without a weight has none in the lake of whoever receives it."""
    collector, key = begun(tmp_path / "here")
    collector.engine.pull_back(key, collector.clock.now)
    collector.finish()
    box = collector.engine._outlet._sink  # noqa: SLF001 - what left
    assert isinstance(box, Box)
    clock = Clock()
    clock.now = EPOCH_NS
    path = tmp_path / "there.pb"
    path.write_bytes(b"".join(box.requests))
    result = CliRunner().invoke(main, ["import", str(path), "--lake", str(tmp_path / "lake")])
    assert result.exit_code == 0
    _, (row,) = called_sql(tmp_path / "lake", "SELECT kept, weight FROM sessions")
    assert row == {"kept": True, "weight": None}


def called_sql(lake: Path, question: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(main, ["sql", question, "--lake", str(lake), "--format", "json"])
    return result.exit_code, json.loads(result.stdout)
