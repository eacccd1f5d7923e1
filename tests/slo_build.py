"""Build objectives, and tasks that end well or badly: `tasks_at([(0, "success")])`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ledger_build import ledger, task

from tracekit.slo.objectives import Objective, Objectives
from tracekit.slo.status import status

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The zero of every time in a test."""


def objective(**fields: Any) -> Objective:
    """Return an objective of all tasks: 90 % over four hours, where nothing else is said."""
    defaults = {"name": "tasks", "service": "shop", "target": 0.9, "time_window": "4h"}
    return Objective.model_validate(defaults | fields)


def tasks_at(events: Iterable[tuple[float, str | None]], **values: Any) -> list[dict[str, Any]]:
    """Return tasks that end at so many seconds with a verdict; None is undetermined."""
    return [
        task(f"s{number}", start_s=at, outcome=outcome, **values)
        for number, (at, outcome) in enumerate(events)
    ]


def spread(hour: int, good: int, bad: int) -> list[tuple[float, str | None]]:
    """Return so many good and bad events in an hour, evenly."""
    outcomes = [*["success"] * good, *["failure"] * bad]
    return [(hour * 3600 + 3600 * n / len(outcomes), outcome) for n, outcome in enumerate(outcomes)]


def status_of(
    found: duckdb.DuckDBPyConnection | list[dict[str, Any]], *, hours: float = 4, **fields: Any
) -> dict[str, Any]:
    """Return the row of one objective, so many hours after the epoch."""
    con = ledger(found) if isinstance(found, list) else found
    one = Objectives(objectives=(objective(**fields),))
    (row,) = status(con, one, EPOCH + timedelta(hours=hours)).rows
    return dict(row)
