"""What kept sessions let estimate, beside what the ledger counts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from tracekit.pages.sections.sampling import NOBODY, against_census, shares
from tracekit.reports.sampling import kept, quality

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracekit.reports.table import Row

COLUMNS = (
    "outcome VARCHAR, stop_category VARCHAR, wasted_cost_usd DOUBLE, tool_errors BIGINT, "
    "spans BIGINT, kept BOOLEAN, weight DOUBLE, probability DOUBLE, policy VARCHAR"
)


def decided(outcome: str, probability: float, *, keeps: bool, weight: float | None = -1) -> Row:
    """Return a session a collector decided; kept ones stand for 1 / probability by default."""
    stands_for = (1 / probability if keeps else None) if weight == -1 else weight
    return {
        "outcome": outcome,
        "stop_category": "completed" if outcome == "success" else "tool",
        "wasted_cost_usd": 0.0,
        "tool_errors": 0,
        "spans": 10,
        "kept": keeps,
        "weight": stands_for,
        "probability": probability,
        "policy": "default",
    }


def ledger(rows: Iterable[Row]) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.register("made", pa.Table.from_pylist([dict(row) for row in rows]))
    con.execute(f"CREATE TABLE sessions ({COLUMNS})")
    con.execute("INSERT INTO sessions BY NAME FROM made")
    return con


def named(con: duckdb.DuckDBPyConnection, quantity: str) -> dict[str, Any]:
    (row,) = [row for row in quality(con).rows if row["quantity"] == quantity]
    return dict(row)


def test_an_estimate_stands_beside_the_count() -> None:
    """Three failures kept for sure, two of four successes by half: 3 / 7 by weights, as counted."""
    rows = [decided("failure", 1, keeps=True) for _ in range(3)]
    rows += [decided("success", 0.5, keeps=number < 2) for number in range(4)]
    found = named(ledger(rows), "failed")
    assert (found["sessions"], found["kept"]) == (7, 5)
    assert found["census"] == found["estimate"] == pytest.approx(3 / 7)
    assert found["unweighted"] == pytest.approx(3 / 5)
    assert 0 < found["low"] < 3 / 7 < found["high"] < 1


def test_intervals_hold_the_census_as_often_as_they_say() -> None:
    """Over many ways the coins fall, at least nine in ten intervals hold what was counted."""
    chance = random.Random(20261130)
    held = 0
    for _ in range(60):
        rows = []
        for number in range(400):
            outcome = "failure" if number % 4 == 0 else "success"
            p = 0.8 if outcome == "failure" else 0.2
            rows.append(decided(outcome, p, keeps=chance.random() < p))
        found = named(ledger(rows), "failed")
        held += found["low"] <= found["census"] <= found["high"]
    assert held >= 54  # of 60 draws at 95 %: fewer than 54 come once in some hundreds of runs


def test_what_no_weight_speaks_for_is_left_out_and_said() -> None:
    """Sessions that could not be kept, and those kept by hand, are counted, not estimated from."""
    rows = [
        decided("success", 0.5, keeps=True),
        decided("success", 0.5, keeps=False),
        decided("failure", 0.5, keeps=True, weight=None),
        decided("failure", 0, keeps=False),
    ]
    con = ledger(rows)
    found = named(con, "failed")
    assert (found["sessions"], found["kept"], found["estimate"]) == (3, 1, 0)
    notes = " ".join(shares(kept(con)).notes)
    assert "1 sessions could not be kept" in notes
    assert "1 were kept by hand" in notes


def test_a_biased_sample_is_named() -> None:
    """Where kept sessions were chosen against their weights, the chart says which share is off."""
    rows = [decided("failure", 0.5, keeps=True) for _ in range(200)]
    rows += [decided("success", 0.5, keeps=False) for _ in range(180)]
    rows += [decided("success", 0.5, keeps=True) for _ in range(20)]
    assert "not: " in against_census(quality(ledger(rows))).says


def test_without_a_collector_there_is_nothing_to_judge() -> None:
    """A lake of imported sessions says that nothing was sampled, and draws nothing."""
    con = ledger([dict(decided("success", 1, keeps=True), policy=None)])
    for chart in (against_census(quality(con)), shares(kept(con))):
        assert (chart.says, chart.lines) == (NOBODY, ())
