"""A day with three incidents against its script: every indicator, loss and contract."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import sla_month
from sla_month import Line, compare, play, truth

from tracekit.simulation.scenario import load

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.simulation.scenario import Scenario


def day() -> Scenario:
    """Return the month of the scenario as one day, so that few sessions meet all incidents."""
    plan = load("incident")
    hours = (3, 10, 17)
    incidents = [
        incident.model_copy(update={"start": plan.start.replace(hour=hour), "hours": 5})
        for incident, hour in zip(plan.incidents, hours, strict=True)
    ]
    errors = {"server_error": 0.3, "timeout": 0.15}
    incidents[2] = incidents[2].model_copy(update={"errors": errors})
    return plan.model_copy(update={"days": 1, "hours": None, "incidents": tuple(incidents)})


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("month")
    play(folder, day(), 250, seed=3)
    return folder


@pytest.fixture(scope="module")
def lines(played: Path) -> list[Line]:
    return compare(played, day())


def test_every_number_is_the_scripts(lines: list[Line]) -> None:
    """Attempts, calls and tasks, losses by cause with tokens and money, calls by class, credits."""
    assert [line for line in lines if not line.agrees] == []


def test_the_day_has_losses_of_most_kinds(played: Path) -> None:
    """Else agreement would say little."""
    lost = Counter(row["cause"] for row in truth(played).to_pylist() if row["cause"])
    assert lost.keys() >= {"provider_counted", "provider_excluded", "rate_limit", "timeout"}
    assert lost.keys() >= {"tool", "orchestration", "semantic"}


@pytest.mark.slow
def test_a_month_of_sessions(tmp_path: Path) -> None:
    """The scenario as it comes along, some thousand sessions of it."""
    play(tmp_path, load("incident"), 3000, seed=1)
    assert [line for line in sla_month.compare(tmp_path, load("incident")) if not line.agrees] == []
