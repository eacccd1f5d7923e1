"""What the tests of pages share: a lake of simulated sessions, and a lake that is hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lake_build import imported, new_lake
from otlp_build import span

from tracekit.lake import Lake
from tracekit.simulation.run import Run
from tracekit.simulation.scenario import load
from tracekit.simulation.targets import SimulatedSource

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</style></td><script>document.title='owned'</script><img src=x onerror=alert(1)>"
"""A name as somebody would choose it who wants their script in our page."""


def simulated_lake(folder: Path, sessions: int = 60) -> Lake:
    """Return a lake with the first sessions of the default scenario."""
    lake = Lake.open(folder, create=True)
    source = SimulatedSource(Run(load("default"), sessions=sessions, jobs=1), lambda _: None)
    summary = lake.ingest([source])
    assert not summary.failed
    return lake


def hostile_lake(folder: Path) -> Lake:
    """Return a lake whose agent, model, tool, session and stop value are hostile names."""
    lake = new_lake(folder / "hostile")
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.agent.name": HOSTILE,
        "gen_ai.request.model": HOSTILE,
        "gen_ai.conversation.id": HOSTILE,
        "gen_ai.response.finish_reasons": [HOSTILE],
        "error.type": HOSTILE,
    }
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": HOSTILE,
        "gen_ai.conversation.id": HOSTILE,
    }
    imported(lake, folder, one=[span(HOSTILE, attributes), span("t", tool)])
    return lake
