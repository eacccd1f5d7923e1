"""The collector's loop: simulated sessions through journal, decision, export and ledger."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from engine_build import SECOND, Box, Clock, Collector, simulated
from lake_build import rows
from otlp_build import EPOCH_NS, request, span

from samplers.collector import findings
from samplers.collector.engine import fingerprint
from samplers.collector.outcome import Accepted, Malformed
from samplers.policy import parse, preset
from samplers.session_types import Limits
from tracekit.errors import JournalFullError, UsageError
from tracekit.otlp.scan import scan
from tracekit.schema import DECISION

if TYPE_CHECKING:
    from pathlib import Path

ANOMALIES = preset("keep-anomalies")
SAMPLE = parse("sample", "name: sample\nbaseline: 0.25\n")


def spans_of(requests: list[bytes]) -> dict[str, set[str]]:
    """Return the span ids by trace."""
    found: dict[str, set[str]] = {}
    for row in scan(b"".join(requests)).table.select(["trace_id", "span_id"]).to_pylist():
        found.setdefault(row["trace_id"], set()).add(row["span_id"])
    return found


def test_every_session_is_decided_once_and_kept_ones_leave_whole(tmp_path: Path) -> None:
    """What leaves of a trace is all of it, each span once; the ledger has every session."""
    requests, box = simulated(150, 1), Box()
    collector = Collector(tmp_path, [ANOMALIES], Clock(), box)
    collector.feed(requests)
    collector.finish()
    sent, left = spans_of([request.data for request in requests]), box.spans()
    assert {trace: Counter(ids) for trace, ids in left.items()} == {
        trace: Counter(sent[trace]) for trace in left
    }
    everybody = rows(collector.lake, "SELECT session_id, kept FROM sessions")
    assert len(everybody) == 150
    assert collector.engine.counts["sessions"] == 150
    kept = {session for session, is_kept in everybody if is_kept}
    assert 0 < len(kept) < 150
    assert kept == {
        s for s, _ in everybody if (found := collector.log.get(fingerprint(s))) and found.keep
    }
    assert set(left) == set(rows(collector.lake, "SELECT DISTINCT trace_id FROM spans"))
    assert collector.journal.state()["pending_spans"] == 0


def test_batches_looked_at_side_by_side_are_decided_like_one_after_the_other(
    tmp_path: Path,
) -> None:
    """Strata and budgets carry over from each batch to the next: what is kept is the same."""
    requests, found = simulated(150, 1), []
    for batches in (1, 3):
        box = Box()
        folder = tmp_path / str(batches)
        collector = Collector(folder, [ANOMALIES], Clock(), box, batches=batches, batch_spans=600)
        collector.feed(requests, every=10**6)
        collector.finish()
        ledger = rows(
            collector.lake,
            "SELECT session_id, stop_reason, cost_usd, kept, rule, threshold FROM sessions "
            "ORDER BY ALL",
        )
        found.append((box.spans(), ledger))
    assert found[0] == found[1]
    assert 0 < len(found[0][0]) < 150


def test_letting_go_of_the_last_batches_changes_no_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their tables are made anew for the next; frozen baselines stay."""
    monkeypatch.setattr(findings, "_MANY", 0)
    requests, found = simulated(150, 8), []
    for forgets in (False, True):
        clock, box = Clock(), Box()
        collector = Collector(tmp_path / str(forgets), [ANOMALIES], clock, box)
        for start in range(0, len(requests), len(requests) // 3):
            collector.feed(requests[start : start + len(requests) // 3], every=10**6)
            collector.engine.tick(clock.now, flush=True)
            collector.engine.freeze(clock.now)
            if forgets:
                collector.engine.forget()
        day = collector.decider.frozen_day
        collector.finish()
        found.append((box.spans(), day))
    assert found[0] == found[1]
    assert found[0][0]
    assert found[0][1] > 0


def test_the_ledger_of_a_sample_is_that_of_everything(tmp_path: Path) -> None:
    """But for spans, weight and kept, nothing in it depends on what was kept."""
    requests = simulated(100, 2)
    left_out = ", ".join(column.name for column in DECISION)
    left_out += ", decided_at, overruled_at"
    tables = (
        *(f"(SELECT * EXCLUDE ({left_out}) FROM sessions)", "tasks", "attempts", "detections"),
    )
    found = []
    for name, policy in (("sample", SAMPLE), ("all", preset("keep-all"))):
        collector = Collector(tmp_path / name, [policy], Clock(), Box())
        collector.feed(requests)
        collector.finish()
        found.append(
            [sorted(map(repr, rows(collector.lake, f"SELECT * FROM {table}"))) for table in tables]
        )
    assert found[0] == found[1]


def test_weights_add_up_to_the_census(tmp_path: Path) -> None:
    """Kept sessions, each with its weight, speak for all within five standard errors."""
    collector = Collector(tmp_path, [SAMPLE], Clock(), Box())
    collector.feed(simulated(400, 3))
    collector.finish()
    ((everybody, kept, weighted),) = rows(
        collector.lake,
        "SELECT count(*), count(*) FILTER (WHERE kept), sum(weight) FILTER (WHERE kept) "
        "FROM sessions",
    )
    assert everybody == 400
    assert abs(weighted - 400) < 5 * math.sqrt(400 * 0.25 * 0.75) / 0.25
    assert math.isclose(weighted, collector.engine.census.total.weight)
    assert math.isclose(weighted, kept * 4, rel_tol=1e-3)


def test_a_restart_in_the_middle_changes_no_decision(tmp_path: Path) -> None:
    """An engine killed twice and begun anew on its folder keeps and exports the same sessions."""
    requests, whole = simulated(150, 4), Box()
    collector = Collector(tmp_path / "whole", [ANOMALIES], Clock(), whole)
    collector.feed(requests)
    collector.finish()
    clock, box = Clock(), Box()
    third = len(requests) // 3
    for part in (requests[:third], requests[third : 2 * third], requests[2 * third :]):
        again = Collector(tmp_path / "parts", [ANOMALIES], clock, box)
        again.feed(part)
        again.close()
    again = Collector(tmp_path / "parts", [ANOMALIES], clock, box)
    again.finish()
    question = "SELECT session_id, kept, weight, spans, cost_usd FROM sessions ORDER BY 1"
    assert rows(again.lake, question) == rows(collector.lake, question)
    assert {t: Counter(ids) for t, ids in box.spans().items()} == {
        t: Counter(ids) for t, ids in whole.spans().items()
    }


def sent(number: int, *, is_root: bool, late: float = 0.0) -> bytes:
    """Return a request of one span of a session named after a number."""
    parent = None if is_root else (99).to_bytes(8, "big")
    return request([span("step", trace=number, parent=parent, start=late, end=late + 1)])


def begun(folder: Path, box: Box, sessions: int = 60) -> Collector:
    """Return a collector that decided sessions of one span each, about a quarter kept."""
    clock = Clock()
    clock.now = EPOCH_NS
    collector = Collector(folder, [SAMPLE], clock, box)
    for number in range(1, sessions + 1):
        assert collector.engine.receive(sent(number << 50, is_root=True)) == Accepted()
    clock.now += 10 * SECOND
    collector.engine.tick(clock.now)
    assert 0 < len(box.spans()) < sessions
    return collector


def test_spans_that_come_late_follow(tmp_path: Path) -> None:
    """Those of kept sessions leave with the same th, those of dropped ones do not."""
    box = Box()
    collector = begun(tmp_path, box)
    kept = set(box.spans())
    for number in range(1, 61):
        collector.engine.receive(sent(number << 50, is_root=False, late=5))
    collector.engine.tick(collector.clock.now)
    assert {trace: len(ids) for trace, ids in box.spans().items()} == dict.fromkeys(kept, 2)
    states = [
        state for data in box.requests for state in scan(data).table["trace_state"].to_pylist()
    ]
    assert set(states) == {"ot=th:c"}
    collector.finish()
    assert rows(collector.lake, "SELECT count(*), count(*) FILTER (WHERE kept) FROM sessions") == [
        (60, len(kept))
    ]
    assert rows(collector.lake, "SELECT count(*) FROM spans") == [2 * len(kept)]


def test_nothing_is_lost_while_the_exporters_are_full(tmp_path: Path) -> None:
    """What they refuse waits, nothing further is decided, and all of it leaves when they can."""
    box = Box()
    box.is_full = True
    clock = Clock()
    clock.now = EPOCH_NS
    collector = Collector(tmp_path, [preset("keep-all")], clock, box)
    for number in (1, 2):
        collector.engine.receive(sent(number, is_root=True))
        clock.now += 10 * SECOND
        collector.engine.tick(clock.now)
    assert collector.engine.counts["sessions"] == 1
    assert collector.journal.state()["pending_spans"] == 2
    box.is_full = False
    collector.finish()
    assert len(box.spans()) == 2
    assert collector.journal.state()["pending_spans"] == 0


@pytest.mark.parametrize("batches", [1, 2])
def test_a_full_disk_only_postpones_decisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    """Where a decision cannot be put on record nothing leaves, and it is taken with the next."""
    box, clock = Box(), Clock()
    clock.now = EPOCH_NS
    collector = Collector(
        tmp_path, [preset("keep-all")], clock, box, batches=batches, batch_spans=1
    )
    for trace in range(1, 6):
        collector.engine.receive(sent(trace, is_root=True))
    clock.now += 10 * SECOND

    def full(_: object) -> None:
        raise JournalFullError("no room", 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(collector.log, "decide", full)
        with pytest.raises(JournalFullError):
            collector.engine.tick(clock.now)
    assert box.requests == []
    collector.finish()
    assert [len(ids) for ids in box.spans().values()] == [1] * 5
    assert collector.journal.state()["pending_spans"] == 0


def test_baselines_are_frozen_from_the_ledger_and_stay(tmp_path: Path) -> None:
    """They come from all sessions of the days before, once a day, and survive a restart."""
    clock = Clock()
    collector = Collector(tmp_path, [SAMPLE], clock, Box())
    collector.feed(simulated(150, 8))
    clock.now += 24 * 3600 * SECOND
    collector.engine.tick(clock.now, flush=True)
    assert collector.decider.frozen_day == -1
    collector.engine.freeze(clock.now)
    day = collector.decider.frozen_day
    assert 0 < day < clock.now // (24 * 3600 * SECOND)
    collector.close()
    again = Collector(tmp_path, [SAMPLE], clock, Box())
    again.engine.freeze(clock.now)
    assert again.decider.frozen_day == day
    assert rows(again.lake, "SELECT max(day), count(DISTINCT frozen_ns) FROM baselines") == [
        (day, 1)
    ]
    again.close()


def test_a_dropped_session_can_be_pulled_back(tmp_path: Path) -> None:
    """It leaves whole, is in the lake with its spans, and has no weight; late spans follow."""
    box = Box()
    collector = begun(tmp_path, box)
    collector.engine.tick(collector.clock.now, flush=True)
    key = next(
        session
        for session, is_kept in rows(collector.lake, "SELECT session_id, kept FROM sessions")
        if not is_kept
    )
    before = collector.engine.counts["kept"]
    collector.engine.pull_back(key, collector.clock.now)
    with pytest.raises(UsageError, match="is kept already"):
        collector.engine.pull_back(key, collector.clock.now)
    with pytest.raises(UsageError, match="no decision about session 'nobody'"):
        collector.engine.pull_back("nobody", collector.clock.now)
    collector.engine.receive(sent(int(key, 16), is_root=False, late=5))
    collector.finish()
    assert len(box.spans()[key]) == 2
    question = f"SELECT kept, weight, spans FROM sessions WHERE session_id = '{key}'"
    assert rows(collector.lake, question) == [(True, None, 2)]
    assert collector.engine.counts["kept"] == before


def test_a_long_session_is_asked_about_in_between(tmp_path: Path) -> None:
    """What an interim decision does not keep goes on; once a rule matches, all of it leaves."""
    policy = parse("p", "name: p\nrules: [{name: big, when: spans >= 5, keep: all}]\n")
    box, clock = Box(), Clock()
    clock.now = EPOCH_NS
    hour = 3600 * SECOND
    limits = Limits(interim=hour, idle=10 * hour, max_age=24 * hour)
    collector = Collector(tmp_path, [policy], clock, box, limits)
    for number in range(6):
        clock.now += SECOND
        collector.engine.receive(sent(7, is_root=False, late=number))
        clock.now += hour
        collector.engine.tick(clock.now)
        assert len(box.spans().get(f"{7:032x}", [])) == (0 if number < 4 else number + 1)
    assert collector.engine.counts["interim"] == 4
    assert collector.engine.counts["sessions"] == 1
    collector.finish()
    assert rows(collector.lake, "SELECT kept, spans FROM sessions") == [(True, 6)]
    assert collector.journal.state()["pending_spans"] == 0


def test_a_runaway_session_leaves_with_its_head_and_its_tail(tmp_path: Path) -> None:
    """It is decided when it is too long; what is cut is released, the tail follows at the end."""
    box, clock = Box(), Clock()
    clock.now = EPOCH_NS
    limits = Limits(max_spans=10, tail_spans=3)
    collector = Collector(tmp_path, [preset("keep-all")], clock, box, limits)
    for number in range(30):
        collector.engine.receive(sent(7, is_root=number == 29, late=number))
        clock.now += SECOND
        collector.engine.tick(clock.now)
    collector.finish()
    assert 10 <= len(box.spans()[f"{7:032x}"]) <= 16
    assert collector.engine.counts["sessions"] == 1
    assert collector.journal.state()["pending_spans"] == 0


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    """Bytes that are none are malformed, an empty request is taken."""
    collector = Collector(tmp_path, [SAMPLE], Clock(), Box())
    assert isinstance(collector.engine.receive(b"\xff\xff"), Malformed)
    assert collector.engine.receive(b"") == Accepted()
    collector.close()
