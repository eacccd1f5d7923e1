"""What a restart makes of spans that came after a dropped session was in the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from engine_build import SECOND, SETTINGS, Box, Clock, Collector
from lake_build import rows
from otlp_build import EPOCH_NS, request, span

from samplers.collector.outcome import Accepted
from samplers.policy import parse

if TYPE_CHECKING:
    from pathlib import Path

NOTHING = parse("nothing", "name: nothing\nbaseline: 0")
AGING = replace(SETTINGS, segment_seconds=60, keep_back_seconds=3600)
HOUR = 3600 * SECOND


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_copy_of_its_end_does_not_replace_a_dropped_session(
    tmp_path: Path, *, is_moved: bool
) -> None:
    """Sent again as its answer was lost, it is all the journal has when the process dies later."""
    clock = Clock()
    clock.now = EPOCH_NS
    parent = (1).to_bytes(8, "big")
    steps = request([span("step", span_id=number, parent=parent) for number in (2, 3)])
    root = request([span("agent", span_id=1)])

    def begun() -> Collector:
        return Collector(tmp_path, [NOTHING], clock, Box(), settings=AGING)

    collector = begun()
    for data in (steps, root):
        assert collector.engine.receive(data) == Accepted()
    clock.now += 60 * SECOND
    collector.engine.tick(clock.now, flush=True)
    collector.engine.tend()
    clock.now += HOUR // 2
    assert collector.engine.receive(root) == Accepted()
    clock.now += HOUR * 2 // 3
    collector.engine.tick(clock.now, flush=True)
    collector.engine.tend()
    collector.close()
    clock.now += HOUR * is_moved
    again = begun()
    again.engine.tend()
    assert again.engine.counts["moved_spans"] == is_moved
    assert again.journal.state()["pending_spans"] == 1
    again.finish()
    assert rows(again.lake, "SELECT kept, spans FROM sessions") == [(False, 3)]
