"""What a run played, and what there is to play, as tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from tracekit.reports.table import ColumnSpec, Kind, Table
from tracekit.simulation.registry import modes
from tracekit.simulation.scenario import SHIPPED, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.reports.table import Row as TableRow
    from tracekit.reports.table import Value
    from tracekit.simulation.truth import Row

_OUTCOMES: Final = ("success", "failure", "undetermined")


class Summary:
    """Adds up the truth while it is written.

    Attributes:
        tasks: Tasks so far.
    """

    def __init__(self) -> None:
        self.tasks = 0
        self._seen: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._usd: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, rows: Sequence[Row]) -> None:
        """Add tasks."""
        self.tasks += len(rows)
        for row in rows:
            key = row.entry, row.code
            self._seen[key][row.outcome] += 1
            usd = self._usd[key]
            usd[0] += row.cost_usd
            usd[1] += row.wasted_usd

    def table(self, name: str) -> Table:
        """Return what was played, most frequent first.

        Args:
            name: Name of the scenario.
        """
        rows = [self._row(key) for key in self._seen]
        rows.sort(key=lambda row: (-int(str(row["tasks"])), str(row["entry"]), str(row["code"])))
        return Table(
            title=f"Simulated: {name}",
            columns=(
                ColumnSpec("entry"),
                ColumnSpec("code", title="truly stopped by"),
                ColumnSpec("tasks", Kind.COUNT),
                *(ColumnSpec(outcome, Kind.COUNT, rank=1) for outcome in _OUTCOMES),
                ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD"),
                ColumnSpec("wasted_usd", Kind.USD, title="wasted\nUSD", rank=2),
            ),
            rows=tuple(rows),
            total=_total(rows),
        )

    def _row(self, key: tuple[str, str]) -> dict[str, Value]:
        seen, usd = self._seen[key], self._usd[key]
        return {
            "entry": key[0],
            "code": key[1],
            "tasks": seen.total(),
            **{outcome: seen[outcome] for outcome in _OUTCOMES},
            "cost_usd": usd[0],
            "wasted_usd": usd[1],
        }


def _total(rows: Sequence[TableRow]) -> TableRow:
    numbers = ("tasks", *_OUTCOMES, "cost_usd", "wasted_usd")
    sums = {name: sum(float(str(row[name])) for row in rows) for name in numbers}
    counts: dict[str, Value] = {name: int(sums[name]) for name in ("tasks", *_OUTCOMES)}
    return {"entry": "all", "code": None, **sums, **counts}


def listing() -> Table:
    """Return the scenarios that come along, and the failure modes with their truth."""
    there = [*(_scenario(name) for name in SHIPPED), *(_mode(name) for name in sorted(modes()))]
    return Table(
        title="Scenarios and failure modes",
        columns=(
            ColumnSpec("kind", rank=2),
            ColumnSpec("name"),
            ColumnSpec("code", title="truly stopped by", rank=1),
            ColumnSpec("outcome", rank=3),
            ColumnSpec("known", title="known by", rank=5),
            ColumnSpec("fault", rank=4),
            ColumnSpec("detectors", Kind.LIST, rank=6),
            ColumnSpec("parameters", Kind.LIST, rank=7),
            ColumnSpec("summary", Kind.PROSE),
            ColumnSpec("hidden", Kind.PROSE, hidden=True),
        ),
        rows=tuple(there),
    )


def _scenario(name: str) -> dict[str, Value]:
    found = load(name)
    empty = dict.fromkeys(("code", "outcome", "known", "fault", "detectors", "hidden"))
    parameters: list[str] = [f"sessions={found.sessions}", f"seed={found.seed}"]
    return {
        **empty,
        "kind": "scenario",
        "name": name,
        "parameters": parameters,
        "summary": found.description,
    }


def _mode(name: str) -> dict[str, Value]:
    found = modes()[name]
    truth = found.truth
    return {
        "kind": "mode",
        "name": name,
        "code": truth.code,
        "outcome": truth.outcome,
        "known": truth.known,
        "fault": truth.fault,
        "detectors": [*truth.detectors],
        "parameters": [f"{key}={value}" for key, value in found.parameters.items()],
        "summary": found.summary,
        "hidden": truth.hidden or None,
    }
