"""What is derived to decide is what the lake would derive again: it need not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from engine_build import SECOND, Box, Clock, Collector, simulated
from lake_build import contents, rows
from otlp_build import EPOCH_NS, request, span

from samplers.collector.decider import Decider
from samplers.policy import parse
from samplers.session_types import Limits
from tracekit.lake import derived

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from samplers.collector.findings import Findings
    from tracekit.lake import Lake

HOUR = 3600 * SECOND
FORGETFUL = Limits(remembered=10 * SECOND)
NOTHING = "name: nothing\nbaseline: 0"
QUARTER = (
    "name: quarter\nrules: [{name: failures, when: llm_errors > 2, keep: all}]\nbaseline: 0.25"
)


class Ways:
    """Plays the same traffic twice: with rows as they were derived, and with all spans instead.

    Attributes:
        again: Sessions that were derived again the first time.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = monkeypatch
        self.again: set[str] = set()

    def compare(self, play: Callable[[Path], Lake]) -> Lake:
        """Return the first lake, which says what the other one says."""
        entangle, find = derived._entangled, Decider.find  # noqa: SLF001 - what is looked at

        def entangled(*arguments: Any) -> set[str]:
            found = entangle(*arguments)
            self.again |= found
            return found

        def without(*arguments: Any, with_rows: bool) -> Findings:
            del with_rows
            return find(*arguments, with_rows=False)

        with self._patch.context() as patch:
            patch.setattr(derived, "_entangled", entangled)
            lake = play(self._folder / "as it is")
        with self._patch.context() as patch:
            patch.setattr(Decider, "find", without)
            other = play(self._folder / "with spans")
        assert contents(lake) == contents(other)
        return lake


@pytest.fixture
def ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(tmp_path, monkeypatch)


def test_simulated_sessions(ways: Ways) -> None:
    """Of forty sessions in three writes the lake says the same, and none is derived again."""

    def play(folder: Path) -> Lake:
        collector = Collector(folder, [parse("quarter", QUARTER)], Clock(), Box())
        sent = simulated(40, 7)
        third = len(sent) // 3 + 1
        for start in range(0, len(sent), third):
            collector.feed(sent[start : start + third], every=third)
            collector.engine.tick(collector.clock.now, flush=True)
        collector.finish()
        return collector.lake

    lake = ways.compare(play)
    (dropped,) = rows(lake, "SELECT count(*) FROM sessions WHERE NOT kept")
    assert 10 < dropped < 40
    assert not ways.again


@pytest.mark.parametrize("is_written", [True, False])
def test_a_session_that_returns(ways: Ways, *, is_written: bool) -> None:
    """Dropped, forgotten and dropped again: with what the lake has, or what waits for it."""
    key = {"gen_ai.conversation.id": "chat"}

    def play(folder: Path) -> Lake:
        clock = Clock()
        collector = Collector(folder, [parse("nothing", NOTHING)], clock, Box(), FORGETFUL)
        for turn in (1, 2):
            clock.now = EPOCH_NS + turn * HOUR
            collector.engine.tick(clock.now)
            at = turn * 3600.0
            one = span("turn", key, trace=turn, span_id=turn, start=at, end=at + 1)
            collector.engine.receive(request([one]))
            clock.now += HOUR // 2
            collector.engine.tick(clock.now, flush=is_written)
        collector.finish()
        return collector.lake

    lake = ways.compare(play)
    # Of a dropped session the lake has no spans to add to: the turn that came last stands.
    assert rows(lake, "SELECT kept, spans FROM sessions") == [(False, 1 if is_written else 2)]
    assert ways.again == {"chat"}


def test_a_trace_that_two_sessions_share(ways: Ways) -> None:
    """A turn of another conversation in the trace of one that is forgotten."""

    def play(folder: Path) -> Lake:
        clock = Clock()
        collector = Collector(folder, [parse("nothing", NOTHING)], clock, Box(), FORGETFUL)
        for hour, key in enumerate(("first", "second")):
            clock.now = EPOCH_NS + hour * HOUR
            collector.engine.tick(clock.now)
            at = hour * 3600.0
            named = {"gen_ai.conversation.id": key}
            one = span("turn", named, span_id=hour + 1, start=at, end=at + 1)
            collector.engine.receive(request([one]))
            clock.now += HOUR // 2
            collector.engine.tick(clock.now)
        collector.finish()
        return collector.lake

    lake = ways.compare(play)
    assert len(rows(lake, "SELECT session_id FROM sessions")) == 2
    assert ways.again == {"first", "second"}
