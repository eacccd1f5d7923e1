"""A simulated month against its script: indicators, losses and contracts, number by number.

    .venv/bin/python tests/sla_month.py [FOLDER] [SESSIONS]

FOLDER keeps the lake and the truth, so that a second run only compares; sessions are played in
parts of 9,000, each with a seed of its own. By default 154,000 sessions, some 200,000 tasks, in a
temporary folder. The exit code is 1 when a number differs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from tracekit.lake import Lake
from tracekit.simulation.run import Run
from tracekit.simulation.scenario import load
from tracekit.simulation.targets import SimulatedSource
from tracekit.simulation.truth_file import truth_file
from tracekit.sla import chains, reading, slis, verdicts, waterfall
from tracekit.sla.causes import causes
from tracekit.sla.credits import credit
from tracekit.sla.waterfall import attribute

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from tracekit.simulation.scenario import Scenario
    from tracekit.sla.terms import Terms

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ("openai", "anthropic")
FEES = 10_000.0
SESSIONS = 154_000
PART = 9_000


class Line(NamedTuple):
    """One number: what tracekit says, and what the script says."""

    what: str
    measured: float | None
    true: float | None
    slack: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether they are the same; sums of money to a ten-thousandth of a cent."""
        if self.measured is None or self.true is None:
            return self.measured is self.true
        return abs(self.measured - self.true) <= self.slack + 1e-6 * max(1.0, abs(self.true))


def contracts() -> list[Terms]:
    """Return the contracts of the scenario."""
    return [reading.load(ROOT / "examples" / "terms" / f"{name}.yaml") for name in CONTRACTS]


def play(folder: Path, plan: Scenario, sessions: int, seed: int) -> None:
    """Add the sessions of a seed to the lake in a folder, and their truth beside it."""
    done = folder / f"truth-{seed}.parquet"
    if done.exists():
        return
    part = folder / f"part-{seed}.parquet"
    with truth_file(part) as tell:
        source = SimulatedSource(Run(plan, sessions=sessions, seed=seed), tell)
        summary = Lake.open(folder / "lake", create=True).ingest([source])
    assert not summary.failed, summary.failed
    part.rename(done)


def truth(folder: Path) -> pa.Table:
    """Return what is true of every task."""
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("truth-*.parquet")))


def compare(folder: Path, plan: Scenario) -> list[Line]:
    """Return every number beside the script's."""
    rows = truth(folder).to_pylist()
    with Lake.open(folder / "lake").connect() as con:
        con.register("truth", truth(folder))
        misread = _misread(con)
        for row in rows:
            if row["task_id"] in misread:  # in the ledger its outcome is open
                row.update(outcome="undetermined", cause="")
        return [
            Line("tasks whose stop says another outcome", len(misread), 0, 1e-4 * len(rows)),
            *_indicators(con, rows),
            *_losses(con, rows),
            *_contracts(con, rows, plan),
            _causes_that_differ(con),
        ]


def _misread(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Return tasks that nobody judged, and whose stop says something else than the script.

    Where a tool with a side effect succeeded and a later tool call failed, the stop is
    loop.unaware_done, which leaves the outcome open; the script says that the last tool failed it.
    """
    found = con.execute(
        "SELECT t.task_id, l.stop_reason FROM truth AS t JOIN tasks AS l "
        "ON l.session_id = t.session_id AND l.task_id = t.task_id "
        "WHERE t.known = 'stop' AND l.outcome <> t.outcome"
    ).fetchall()
    assert {stop for _, stop in found} <= {"loop.unaware_done"}, found
    return {task_id for task_id, _ in found}


def _tries(row: dict[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    """Yield provider, region, kind and number of the attempts of a task."""
    for item in filter(None, row["tries"].split(";")):
        what, _, number = item.rpartition("=")
        provider, region, kind = what.split("/")
        if kind != "cancelled":
            yield provider, region, kind, int(number)


def _indicators(con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> Iterator[Line]:
    kinds: Counter[str] = Counter()
    for row in rows:
        for *_, kind, number in _tries(row):
            kinds[kind] += number
    # In this scenario nothing but a call that failed for good ends a task with such a code.
    lost = sum(row["code"].startswith("provider.") for row in rows)
    known = [row for row in rows if row["known"] != "never"]
    failures = sum(row["outcome"] == "failure" for row in known)
    undetermined = sum(row["outcome"] == "undetermined" for row in known)
    true = {
        "attempt": (kinds.total(), kinds.total() - kinds["ok"], 0),
        "call": (sum(row["calls"] for row in rows), lost, 0),
        "task": (
            len(known) - undetermined,
            failures,
            len(rows) - len(known) + undetermined,
        ),
    }
    for found in slis(con):
        for name, number in zip(("total", "bad", "undetermined"), true[found["sli"]], strict=True):
            yield Line(f"{found['sli']}s, {name}", found[name], number)


def _losses(con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> Iterator[Line]:
    found = {row["cause"]: row for row in waterfall(con, terms=contracts())}
    for cause in causes().causes:
        lost = [row for row in rows if row["cause"] == cause and row["outcome"] == "failure"]
        yield Line(f"lost to {cause}, tasks", found[cause]["tasks"], len(lost))
        tokens = sum(row["input_tokens"] + row["output_tokens"] for row in lost)
        yield Line(f"lost to {cause}, tokens", found[cause]["tokens"], tokens)
        usd = sum(row["cost_usd"] for row in lost)
        yield Line(f"lost to {cause}, USD", found[cause]["cost_usd"] or 0.0, usd)


def _contracts(
    con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], plan: Scenario
) -> Iterator[Line]:
    """Compare calls by class, and the credit that is due."""
    true: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        for provider, region, kind, number in _tries(row):
            counts = plan.providers[provider].counts
            what = "excluded" if kind == "rate_limited" else "eligible"
            true[provider, region or "all", what] += number
            true[provider, region or "all", "counted"] += number * (kind in counts)
    terms = {one.id: one for one in contracts()}
    judged = verdicts(con, terms.values(), fees=dict.fromkeys(terms, FEES))
    sums: Counter[tuple[str, str, str]] = Counter()
    for verdict in judged:
        key = verdict["provider"], verdict["unit"]
        sums[*key, "eligible"] += int(verdict["eligible"])
        sums[*key, "excluded"] += int(verdict["excluded"])
        sums[*key, "counted"] += int(verdict["counted"])
    for of_class, number in sorted(true.items()):
        yield Line(f"{' '.join(of_class)}, calls", sums[of_class], number)
    # Whoever worked over midnight has calls in the month after: a month of its own in the contract.
    first = min(verdict["period"] for verdict in judged)
    for verdict in judged:
        if verdict["period"] == first:
            provider, unit = verdict["provider"], verdict["unit"]
            rate = 1 - true[provider, unit, "counted"] / true[provider, unit, "eligible"]
            due = credit(terms[verdict["terms"]], rate, FEES)[1]
            yield Line(f"{provider} {unit}, credit USD", verdict["credit_usd"], due)


def _causes_that_differ(con: duckdb.DuckDBPyConnection) -> Line:
    """Compare task by task: sums can agree where tasks do not."""
    attribute(con, terms=contracts())
    (count,) = con.execute(
        "SELECT count(*) FROM sla_loss AS l JOIN truth AS t "
        "ON t.session_id = l.session_id AND t.task_id = l.task_id WHERE t.cause <> l.cause"
    ).fetchall()[0]
    return Line("failed tasks with another cause", count, 0)


def show(folder: Path, lines: list[Line]) -> None:
    """Print the numbers, and the chain of calls beside them."""
    console = Console(width=110)
    table = Table("what", "measured", "true", "", box=box.SIMPLE_HEAD)
    for line in lines:
        numbers = [f"{n:,.10g}" if n is not None else "-" for n in (line.measured, line.true)]
        table.add_row(line.what, *numbers, "" if line.agrees else "DIFFERS")
    console.print(table)
    with Lake.open(folder / "lake").connect() as con:
        for row in chains(con):
            for name in ("independent", "clustered", "calls_measured", "measured", "rho", "needed"):
                console.print(f"{name:>16} {row[name]:.4%}")


def main() -> int:
    """Play and compare; return the exit code."""
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else SESSIONS
    plan = load("incident")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else scratch)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        for seed, first in enumerate(range(0, sessions, PART), 1):
            play(folder, plan, min(PART, sessions - first), seed)
        played = time.perf_counter()
        lines = compare(folder, plan)
        compared = time.perf_counter()
        show(folder, lines)
    console = Console(width=110)
    wrong = sum(not line.agrees for line in lines)
    console.print(
        f"{sessions:,} sessions played in {played - started:.0f} s, compared in "
        f"{compared - played:.0f} s: {len(lines) - wrong} numbers agree, {wrong} differ"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
