"""One agent, traced by many: whoever tells of it, the session is the same.

The recordings are our own: `tests/peers/play.py` runs the agent in the environment of the peers.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import golden
import pytest
import yaml
from peers import recordings

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = recordings.ROOT / ".venv-peers" / "bin" / "python"
PLAYS = recordings.plays()
TIMEOUT_S = 180

Facts = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return recordings.facts(recordings.RECORDED, tmp_path_factory.mktemp("recorded") / "lake")


def differences(found: Facts) -> set[tuple[str, str, str]]:
    """Return where what was found is not what happened: play, fact and value found."""
    truth = yaml.safe_load((recordings.HERE / "truth.yaml").read_text("utf-8"))
    return {
        (play, fact, found[play][fact])
        for play in PLAYS
        for fact, value in truth["apis"][truth["agents"][agent_of(play)]].items()
        if found[play][fact] != value
    }


def agent_of(play: str) -> str:
    return play.removesuffix("+tracekit").split()[1]


def table(found: Facts) -> str:
    header = ("agent", "instrumentation", *next(iter(found.values())))
    rows = [
        (agent_of(play), play.replace(f" {agent_of(play)}", ""), *facts.values())
        for play, facts in found.items()
    ]
    return golden.tsv(header, rows)


def test_recorded_sessions_are_the_golden_ones(recorded: Facts) -> None:
    """Calls, tokens, cost, stops and tools of every recording are those of the table."""
    assert sorted(recorded) == sorted(PLAYS)
    golden.check("peers.tsv", table(recorded))


def test_every_difference_is_explained(recorded: Facts) -> None:
    """What a trace does not tell as it happened is listed with its reason, and nothing else is."""
    text = (recordings.HERE / "differences.yaml").read_text("utf-8")
    listed = [
        (play, fact, str(value))
        for entry in yaml.safe_load(text)
        for play in entry["plays"]
        for fact, value in entry["facts"].items()
        if entry["reason"]
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == differences(recorded)


def test_tracekit_beside_another_counts_nothing_twice(recorded: Facts) -> None:
    """With both on the same calls, answered calls, tokens and cost are those that happened."""
    counted = {"sessions", "answered", "input", "cached", "output", "cost"}
    both = [play for play in PLAYS if play.endswith("+tracekit")]
    assert both
    assert not [d for d in differences(recorded) if d[0] in both and d[1] in counted]


@pytest.mark.slow
def test_the_peers_of_today_tell_the_same(tmp_path: Path, recorded: Facts) -> None:
    """The packages of the lock export what was recorded of them; the update switch records anew."""
    if not PYTHON.exists():
        pytest.skip("no .venv-peers: make it with `make .venv-peers`")
    again = recordings.RECORDED if os.environ.get(golden.UPDATE) else tmp_path / "recorded"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = [text for text in pool.map(lambda p: record(p, tmp_path, again), PLAYS) if text]
    assert not failures, "\n\n".join(failures)
    found = recordings.facts(again, tmp_path / "lake")
    assert table(found) == table(recorded) or os.environ.get(golden.UPDATE)


def record(play: str, folder: Path, into: Path) -> str | None:
    """Run a play and keep what it exported; return what went wrong."""
    out = folder / f"{play}.pb"
    run = subprocess.run(
        [PYTHON, recordings.HERE / "play.py", play, out],
        env=os.environ | {"PYTHONPATH": str(recordings.ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if run.returncode:
        return f"{play}:\n{run.stderr[-2000:]}"
    recordings.keep(play, out.read_bytes(), into)
    return None
