"""`report` over a ledger of a million sessions, against one query written for just this answer."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import ledger
import measure

from tracekit.lake import Lake
from tracekit.reports.success import report

SESSIONS = 1_000_000
ROUNDS = 7
GROUPS = ("model", "agent_name")


def by_hand(root: Path, query: str, by: tuple[str, ...]) -> list[dict[str, Any]]:
    """Run the hand-written query over the lake's Parquet files, named by a glob."""
    keys = "".join(f"{name}, " for name in by)
    with duckdb.connect() as con:
        cursor = con.execute(query.format(root=root, keys=keys, group=keys.rstrip(", ") or "()"))
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def by_report(root: Path, by: tuple[str, ...]) -> list[dict[str, Any]]:
    """Run the library call behind `tracekit report`, the opening of the lake included."""
    with Lake.open(root, create=False).connect() as con:
        return [dict(row) for row in report(con, by).rows]


def check(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Refuse to measure rivals whose answers differ."""
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        for name, expected in other.items():
            if isinstance(expected, float):
                assert abs(one[name] - expected) <= 1e-9 * abs(expected), (name, one, other)
            else:
                assert one[name] == expected, (name, one, other)


def run() -> list[measure.Result]:
    """Ask the same question both ways, in turns: over everything, and per model and agent."""
    query = Path(__file__).with_name("report_by_hand.sql").read_text(encoding="utf-8")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "lake"
        ledger.write(root, SESSIONS)
        for by in ((), GROUPS):
            check(by_report(root, by), by_hand(root, query, by))
            what = f"report{' by ' + ', '.join(by) if by else ''}, {SESSIONS:,} sessions"
            hand = f"one query by hand{' by ' + ', '.join(by) if by else ''}"
            seconds = measure.interleave(
                {
                    hand: lambda by=by: by_hand(root, query, by),  # type: ignore[misc]
                    what: lambda by=by: by_report(root, by),  # type: ignore[misc]
                },
                ROUNDS,
            )
            results += _lines(seconds, hand, what)
    return results


def _lines(seconds: dict[str, list[float]], hand: str, what: str) -> list[measure.Result]:
    def rate(name: str) -> str:
        return f"{SESSIONS / statistics.median(seconds[name]) / 1e6:.1f} M sessions/s"

    ratio = f"{measure.ratio_of(seconds[hand], seconds[what]):.2f}x {hand}"
    return [
        measure.Result(hand, statistics.median(seconds[hand]), rate(hand)),
        measure.Result(what, statistics.median(seconds[what]), rate(what), ratio, "under 2 s"),
    ]


if __name__ == "__main__":
    measure.show(run())
