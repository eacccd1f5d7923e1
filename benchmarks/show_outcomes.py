"""Task success on recorded sessions against their labels, and what the stop alone says of it.

    .venv/bin/python benchmarks/show_outcomes.py [FOLDER]

FOLDER holds the recordings, `../shared/data` by default. Prints Markdown, which
docs/outcomes.md holds. The exit code is 1 where a number of successes is not the labels'.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recorded

from tracekit.importers.detect import open_sources
from tracekit.lake import Lake
from tracekit.stats.intervals import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = Path(__file__).with_name("questions")
SAYS = ("success", "undetermined", "failure")

Rows = list[dict[str, Any]]


class Set:
    """A labelled set: its files, and the successes its own labels tell."""

    def __init__(
        self, name: str, paths: Iterable[Path], labelled: Iterable[recorded.Recorded]
    ) -> None:
        self.name = name
        self.paths = [str(path) for path in paths]
        found = list(labelled)
        self.sessions = sum(one.sessions for one in found)
        self.successes = sum(one.successes for one in found)


def sets(data: Path) -> Iterator[Set]:
    """Yield the labelled sets that tracekit imports."""
    for name in ("tau-bench-airline-gpt4o", "tau-bench-retail-agentverify"):
        archive = data / name / "originals.tar.gz"
        yield Set(name, [archive], [recorded.tau_bench(archive)])
    runs = sorted((data / "tau2-retail").iterdir())
    yield Set("tau2-retail", runs, map(recorded.tau2_bench, runs))
    folder = data / "swebench-mini-agent"
    files = folder / "trajs-A.tar.gz", folder / "labels-A.tar.gz"
    yield Set(folder.name, files, [recorded.mini_swe_agent(*files)])


def ask(lake: Lake, question: str) -> Rows:
    """Return the rows of one of the questions."""
    text = (QUESTIONS / f"{question}.sql").read_text(encoding="utf-8")
    found: Rows = lake.query(text).to_pylist()
    return found


def with_interval(successes: int, tasks: int) -> str:
    """Return a rate with its exact 95 % interval."""
    rate = clopper_pearson(successes, tasks)
    return f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def table(rows: Rows) -> None:
    """Print rows as a Markdown table, numbers to the right."""
    if not rows:
        return
    print(f"| {' | '.join(rows[0])} |")
    print(f"|{'|'.join(' ---: ' if isinstance(v, int) else ' --- ' for v in rows[0].values())}|")
    for row in rows:
        print(f"| {' | '.join(f'{v:,}' if isinstance(v, int) else str(v) for v in row.values())} |")
    print()


def by_agent(one: Set, rows: Rows) -> Rows:
    """Return success per agent and model, with intervals."""
    return [
        {
            "set": one.name,
            "agent": row["agent"],
            "model": row["model"],
            "tasks": row["tasks"],
            "success": with_interval(row["successes"], row["successes"] + row["failures"]),
        }
        for row in rows
    ]


def confusion(name: str, rows: Rows) -> Rows:
    """Return what the stop says against the label."""
    cells: Counter[tuple[str, str]] = Counter()
    for row in rows:
        cells[row["said_by_the_stop"], "success"] += row["successes"]
        cells[row["said_by_the_stop"], "failure"] += row["failures"]
    return [
        {
            "set": name,
            "the stop says": said,
            "label: success": cells[said, "success"],
            "label: failure": cells[said, "failure"],
        }
        for said in SAYS
    ]


def stops(rows: Rows) -> Rows:
    """Return the most frequent stop codes with the share that succeeded."""
    merged: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        sums = merged.setdefault((row["stop"], row["said_by_the_stop"]), Counter())
        sums.update(successes=row["successes"], failures=row["failures"])
    ordered = sorted(merged.items(), key=lambda item: -item[1].total())
    return [
        {
            "stop": stop,
            "says": says,
            "tasks": sums.total(),
            "succeeded, by label": with_interval(sums["successes"], sums.total()),
        }
        for (stop, says), sums in ordered
    ]


def main() -> int:
    """Show everything; return the exit code."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    if not data.is_dir():
        print(f"no recordings at {data}: name their folder as the argument", file=sys.stderr)
        return 2
    success, confused, every, wrong = Rows(), Rows(), Rows(), 0
    with tempfile.TemporaryDirectory() as scratch:
        for one in sets(data):
            lake = Lake.open(Path(scratch) / one.name, create=True)
            lake.ingest(open_sources(one.paths))
            agents, inferred = ask(lake, "success_by_agent"), ask(lake, "inferred_outcomes")
            successes = sum(row["successes"] for row in agents)
            if successes != one.successes:
                wrong += 1
                print(f"DISAGREES: {one.name}: {successes}, labels {one.successes}")
            success += by_agent(one, agents)
            confused += confusion(one.name, inferred)
            every += inferred
    print("## Task success by agent and model\n")
    table(success)
    print("## What the stop alone says, against the labels\n")
    table([*confused, *confusion("all", every)])
    table(stops(every))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
