"""Objectives over a ledger of a million sessions, beside `report` on the same ledger."""

from __future__ import annotations

import statistics
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import ledger
import measure

from tracekit.lake import Lake
from tracekit.reports.success import report
from tracekit.slo.objectives import Objective, Objectives
from tracekit.slo.replay import replay
from tracekit.slo.status import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.reports.table import Table

SESSIONS = 1_000_000
ROUNDS = 3
START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=30)
STEP_S = 300
ONE = Objective(name="all", service="made", target=0.9, time_window=28 * 86_400)
SLICES = {
    "name": "slices",
    "budgeting_method": "Timeslices",
    "time_slice_window": "5m",
    "time_slice_target": 0.8,
}


def run() -> list[measure.Result]:
    """Ask for an objective by tasks and by slices, and for a month of alerts, in turns."""
    by_tasks = Objectives(objectives=(ONE,))
    fields = ONE.model_dump(exclude_defaults=True) | SLICES
    by_slices = Objectives(objectives=(Objective.model_validate(fields),))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "lake"
        ledger.write(root, SESSIONS)
        lake = Lake.open(root)
        rivals: dict[str, Callable[[], Table]] = {
            "report": lambda: lake.read(report),
            "slo": lambda: lake.read(lambda con: status(con, by_tasks, END)),
            "slo, slices of 5 min": lambda: lake.read(lambda con: status(con, by_slices, END)),
            "slo replay, 30 d every 5 min": lambda: lake.read(
                lambda con: replay(con, by_tasks, START, END, STEP_S)
            ),
        }
        seconds = measure.interleave(rivals, ROUNDS)
    peer = seconds["report"]
    return [
        measure.Result(
            f"{name}, {SESSIONS:,} sessions",
            statistics.median(found),
            f"{SESSIONS / statistics.median(found) / 1e6:.1f} M sessions/s",
            "" if name == "report" else f"{measure.ratio_of(peer, found):.2f}x report",
            "under 5 s",
        )
        for name, found in seconds.items()
    ]


if __name__ == "__main__":
    measure.show(run())
