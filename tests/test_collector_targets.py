"""Several targets and a crash while sessions leave: each gets all of them, some of them twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from collector_build import PATIENCE
from engine_build import SECOND, Clock, Collector
from otlp_build import EPOCH_NS, request, span

from samplers.collector.exporters.fanout import Exporters
from samplers.collector.metrics import Registry
from samplers.collector.outcome import Accepted
from samplers.collector.settings.exporters import FileExporter
from samplers.policy import preset
from tracekit.importers.detect import open_sources
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = ("first", "second")
SESSIONS = 6


class CrashError(Exception):
    """The end of a process."""


def exporters(folder: Path) -> Exporters:
    settings = [
        FileExporter(type="file", name=name, path=folder / f"{name}.pb") for name in TARGETS
    ]
    return Exporters(settings, folder / "queues", Registry())


def delivered(path: Path) -> Counter[str]:
    """Return how often each trace arrived in a file."""
    return Counter(
        trace
        for source in open_sources([str(path)])
        for chunk in source.chunks()
        for trace in scan(chunk).table["trace_id"].to_pylist()
    )


@pytest.mark.parametrize(
    ("part", "method", "times"),
    [("queue", "put", 2), ("log", "exported", 2), ("journal", "release", 1)],
    ids=["between-the-queues", "before-it-is-on-record", "after-it-is-on-record"],
)
def test_every_target_has_everything_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, method: str, times: int
) -> None:
    """What was on its way when the process died comes again, to all; the rest comes once."""
    clock = Clock()
    clock.now = EPOCH_NS
    policies = [preset("keep-all")]
    sink = exporters(tmp_path)
    collector = Collector(tmp_path, policies, clock, sink, models=False)
    for number in range(1, SESSIONS + 1):
        assert collector.engine.receive(request([span(trace=number)])) == Accepted()
    clock.now += 10 * SECOND

    def crash(*_: object) -> None:
        raise CrashError

    owner = {"queue": sink.senders[1].queue, "log": collector.log, "journal": collector.journal}
    with monkeypatch.context() as patch:
        patch.setattr(owner[part], method, crash)
        with pytest.raises(CrashError):
            collector.engine.tick(clock.now)
    collector.close()
    sink.stop()
    sink = exporters(tmp_path)
    again = Collector(tmp_path, policies, clock, sink, models=False)
    again.engine.tick(clock.now)
    sink.start()
    sink.stop(drain=PATIENCE)
    assert again.journal.state()["pending_spans"] == 0
    again.close()
    for name in TARGETS:
        arrived = delivered(tmp_path / f"{name}.pb")
        assert arrived.keys() == {f"{number:032x}" for number in range(1, SESSIONS + 1)}
        is_reached = name == "first" or part != "queue"
        assert set(arrived.values()) == {times if is_reached else 1}
