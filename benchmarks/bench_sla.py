"""The SLA report of a month over ten million attempts in a lake, against one query by hand.

.venv/bin/python benchmarks/bench_sla.py [ATTEMPTS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import ledger
import measure

from tracekit.lake import Lake
from tracekit.sla import chains, reading, slis, verdicts, waterfall

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.sla.terms import Terms

ATTEMPTS = 10_000_000
PER_TASK = 8.3
"""Attempts of a made-up task, on average."""
ROUNDS = 3
TERMS = Path(__file__).resolve().parent.parent / "examples" / "terms" / "openai.yaml"


def by_hand(root: Path) -> dict[str, Any]:
    """Run the hand-written query over the lake's Parquet files."""
    query = Path(__file__).with_name("sla_by_hand.sql").read_text(encoding="utf-8")
    with duckdb.connect() as con:
        cursor = con.execute(query.format(root=root))
        names = [column[0] for column in cursor.description or []]
        return dict(zip(names, cursor.fetchone() or (), strict=True))


def by_library(root: Path, terms: Terms) -> dict[str, Any]:
    """Run what answers the same: the contract, the indicators and the losses."""
    with Lake.open(root).connect() as con:
        (verdict,) = verdicts(con, [terms])
        found = {row["sli"]: row for row in slis(con)}
        lost = {row["cause"]: row["tasks"] for row in waterfall(con, terms=[terms])}
    return {
        "attempts": found["attempt"]["total"],
        "failed_attempts": found["attempt"]["bad"],
        "calls": found["call"]["total"] + found["call"]["recovered"],
        "failed_calls": found["call"]["bad"] + found["call"]["recovered"],
        "eligible": verdict["eligible"],
        "counted": verdict["counted"],
        "tasks": found["task"]["total"],
        "failed_tasks": found["task"]["bad"],
        "provider_counted": lost["provider_counted"],
        "rate_limit": lost["rate_limit"],
    }


def whole(root: Path) -> None:
    """Run all that `tracekit sla` prints, with the shipped terms and two contracts."""
    terms = [reading.load(TERMS), reading.load(TERMS.with_name("anthropic.yaml"))]
    with Lake.open(root).connect() as con:
        verdicts(con, terms)
        slis(con)
        waterfall(con)
        chains(con)


def run(attempts: int = ATTEMPTS, rounds: int = ROUNDS) -> list[measure.Result]:
    """Ask the same question both ways, in turns, and then all of the report."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "lake"
        ledger.write_month(root, round(attempts / PER_TASK))
        return measured(root, rounds)


def measured(root: Path, rounds: int) -> list[measure.Result]:
    """Measure over a lake that is there."""
    terms = reading.load(TERMS)
    hand, mine = by_hand(root), by_library(root, terms)
    for name, expected in hand.items():
        print(f"{name:>18} {expected:>12,} {mine[name]:>12,}")
    rivals: dict[str, Callable[[], object]] = {
        "one query by hand": lambda: by_hand(root),
        "contract, indicators and losses": lambda: by_library(root, terms),
        "all of `tracekit sla`": lambda: whole(root),
    }
    seconds = measure.interleave(rivals, rounds)
    base = seconds["one query by hand"]
    results = []
    for name, taken in seconds.items():
        median = statistics.median(taken)
        rate = f"{hand['attempts'] / median / 1e6:.1f} M attempts/s"
        ratio = f"{measure.ratio_of(base, taken):.2f}x the query" if taken is not base else ""
        results.append(measure.Result(name, median, rate, ratio))
    return results


if __name__ == "__main__":
    measure.show(run(*map(int, sys.argv[1:])))
