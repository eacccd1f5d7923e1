"""Who says whether a task succeeded: levels, times, tasks and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lake_build import RECORDED_NS, imported, new_lake, rows
from otlp_build import span

from tracekit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.lake import Lake

LLM = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
HOUR_NS = 3_600_000_000_000


def session_of(lake: Lake, folder: Path, **tasks: dict[str, Any]) -> None:
    """Import one session, `s1`, with a span for each task."""
    spans = [
        span("chat", LLM | {"tracekit.session.id": "s1", "tracekit.task.id": task} | attributes)
        for task, attributes in tasks.items()
    ]
    imported(lake, folder, session=spans or [span("chat", LLM | {"tracekit.session.id": "s1"})])


def verdict(lake: Lake, as_of_ns: int | None = None) -> tuple[str, str]:
    found = rows(lake, "SELECT outcome, outcome_source FROM sessions", as_of_ns)
    (only,) = found
    return (only[0], only[1])


def task_verdicts(lake: Lake) -> dict[str, tuple[str, str]]:
    found = rows(lake, "SELECT task_id, outcome, outcome_source FROM tasks")
    return {task: (outcome, source) for task, outcome, source in found}


def test_without_a_verdict_the_stop_speaks(tmp_path: Path) -> None:
    """The outcome is the inferred one, and says so."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path)
    (inferred,) = rows(lake, "SELECT outcome_inferred FROM sessions")
    assert verdict(lake) == (inferred, "inferred")


def test_declared_beats_inferred_and_verified_beats_declared(tmp_path: Path) -> None:
    """A level wins over a lower one, however late that was decided."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path)
    lake.add_outcome("s1", "success", "declared", "agent", recorded_ns=RECORDED_NS)
    assert verdict(lake) == ("success", "declared")
    lake.add_outcome("s1", "failure", "verified", "tests", recorded_ns=RECORDED_NS)
    lake.add_outcome("s1", "success", "declared", "agent", recorded_ns=RECORDED_NS + HOUR_NS)
    assert verdict(lake) == ("failure", "verified")


def test_a_check_that_could_not_tell_says_nothing(tmp_path: Path) -> None:
    """A verified verdict of undetermined leaves what was declared standing."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path)
    lake.add_outcome("s1", "success", "declared", "agent", recorded_ns=RECORDED_NS)
    lake.add_outcome("s1", "undetermined", "verified", "score", recorded_ns=RECORDED_NS)
    assert verdict(lake) == ("success", "declared")


def test_of_one_level_the_verdict_reached_last_counts(tmp_path: Path) -> None:
    """When it was decided matters, not when it was recorded."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path)
    lake.add_outcome("s1", "success", "verified", "human", decided_ns=RECORDED_NS + HOUR_NS)
    lake.add_outcome("s1", "failure", "verified", "tests", decided_ns=RECORDED_NS)
    assert verdict(lake) == ("success", "verified")


def test_a_later_verdict_is_unknown_before(tmp_path: Path) -> None:
    """As of a time, only what was recorded by then counts; the last moment is included."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path)
    lake.add_outcome("s1", "success", "verified", "tests", recorded_ns=RECORDED_NS)
    lake.add_outcome("s1", "failure", "verified", "human", recorded_ns=RECORDED_NS + HOUR_NS)
    assert verdict(lake, RECORDED_NS - 1)[1] == "inferred"
    assert verdict(lake, RECORDED_NS) == ("success", "verified")
    assert verdict(lake) == ("failure", "verified")
    assert rows(lake, "SELECT count(*) FROM outcomes", RECORDED_NS) == [1]


def test_a_verdict_may_come_before_its_session(tmp_path: Path) -> None:
    """Labels are kept until their session arrives."""
    lake = new_lake(tmp_path / "lake")
    lake.add_outcome("s1", "failure", "verified", "label file", score=0.0)
    session_of(lake, tmp_path)
    assert verdict(lake) == ("failure", "verified")


def test_a_recorded_verdict_survives_more_spans(tmp_path: Path) -> None:
    """Deriving a session again replaces the verdicts of its spans and no others."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path)
    lake.add_outcome("s1", "failure", "verified", "human")
    lake.compact()
    imported(lake, tmp_path, more=[span("chat", LLM | {"tracekit.session.id": "s1"}, trace=7)])
    assert rows(lake, "SELECT spans, outcome FROM sessions") == [(2, "failure")]


def test_a_verdict_on_the_session_is_one_on_its_only_task(tmp_path: Path) -> None:
    """And the other way round."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path, only={})
    lake.add_outcome("s1", "success", "verified", "tests")
    assert task_verdicts(lake) == {"only": ("success", "verified")}
    lake.add_outcome("s1", "failure", "verified", "human", task_id="only")
    assert verdict(lake) == ("failure", "verified")


def test_a_verdict_on_one_of_several_tasks_is_on_that_task(tmp_path: Path) -> None:
    """It says nothing about the others, nor does one on the session about any."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path, t1={}, t2={})
    lake.add_outcome("s1", "success", "verified", "tests", task_id="t1")
    lake.add_outcome("s1", "failure", "verified", "human")
    assert task_verdicts(lake)["t1"] == ("success", "verified")
    assert task_verdicts(lake)["t2"][1] == "inferred"
    assert verdict(lake) == ("failure", "verified")


@pytest.mark.parametrize(
    ("t1", "t2", "expected"),
    [
        (("success", "verified"), ("success", "declared"), ("success", "declared")),
        (("failure", "declared"), ("failure", "verified"), ("failure", "verified")),
        (("success", "verified"), ("failure", "declared"), ("failure", "declared")),
        (("success", "verified"), ("undetermined", "verified"), ("undetermined", "inferred")),
    ],
)
def test_a_session_is_the_sum_of_its_tasks(
    tmp_path: Path, t1: tuple[str, str], t2: tuple[str, str], expected: tuple[str, str]
) -> None:
    """One failed task fails it; success needs all, and is as sure as the least sure of them."""
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path, t1={}, t2={})
    for task, (outcome, evidence) in {"t1": t1, "t2": t2}.items():
        lake.add_outcome("s1", outcome, evidence, "test", task_id=task)
    assert verdict(lake) == expected


def test_a_task_that_is_not_essential_cannot_fail_its_session(tmp_path: Path) -> None:
    """Only tasks the session needs count."""
    optional = {"gen_ai.operation.name": "task", "tracekit.essential": False}
    lake = new_lake(tmp_path / "lake")
    session_of(lake, tmp_path, t1={}, t2=optional)
    lake.add_outcome("s1", "success", "verified", "test", task_id="t1")
    lake.add_outcome("s1", "failure", "verified", "test", task_id="t2")
    assert rows(lake, "SELECT task_id, essential FROM tasks ORDER BY 1") == [
        ("t1", True),
        ("t2", False),
    ]
    assert verdict(lake) == ("success", "verified")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"session_id": ""}, "names no session"),
        ({"outcome": "ok"}, "outcome is 'ok', expected success, failure or undetermined"),
        ({"evidence": "inferred"}, "evidence is 'inferred', expected verified or declared"),
        ({"source": None}, "say who decided it"),
        ({"score": "high"}, "wrong type"),
        ({"reward": 1}, "unknown field 'reward'"),
    ],
)
def test_a_verdict_that_means_nothing_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """The message names the session and the words that would do."""
    lake = new_lake(tmp_path / "lake")
    good = {"session_id": "s1", "outcome": "success", "evidence": "verified", "source": "me"}
    with pytest.raises(InputError, match=message):
        lake.add_outcomes([good, good | change])
    assert rows(lake, "SELECT count(*) FROM outcomes") == [0]
