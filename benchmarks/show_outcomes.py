"""Task success on recorded sessions against their labels, and what the stop alone says of it.

    .venv/bin/python benchmarks/show_outcomes.py [FOLDER]

FOLDER holds the recordings, `../shared/data` by default. Prints Markdown, which
docs/outcomes.md holds. The exit code is 1 where a number of sessions or successes is not the
labels', or where sessions that several sets hold are counted twice.
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
from tracekit.stops import taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = Path(__file__).with_name("questions")
RETAIL = "tau-bench-retail-agentverify"
SAYS = ("success", "undetermined", "failure")

Rows = list[dict[str, Any]]


class Set:
    """A labelled set: its files, and the successes its own labels tell.

    Attributes:
        annotated: Whether it was put together from failures, for their annotations: its rates are
            no rates of an agent, and its sessions may be in another set as well.
    """

    def __init__(
        self,
        name: str,
        paths: Iterable[Path],
        labelled: Iterable[recorded.Recorded],
        *,
        annotated: bool = False,
    ) -> None:
        self.name = name
        self.annotated = annotated
        self.paths = [str(path) for path in paths]
        found = list(labelled)
        self.sessions = sum(one.sessions for one in found)
        self.successes = sum(one.successes for one in found)


def sets(data: Path) -> Iterator[Set]:
    """Yield the labelled sets that tracekit imports."""
    for name in ("tau-bench-airline-gpt4o", RETAIL):
        archive = data / name / "originals.tar.gz"
        yield Set(name, [archive], [recorded.tau_bench(archive)])
    runs = sorted((data / "tau2-retail").iterdir())
    yield Set("tau2-retail", runs, map(recorded.tau2_bench, runs))
    folder = data / "swebench-mini-agent"
    files = folder / "trajs-A.tar.gz", folder / "labels-A.tar.gz"
    yield Set(folder.name, files, [recorded.mini_swe_agent(*files)])
    for name, read in (("agentrx", recorded.agentrx), ("who-and-when", recorded.who_and_when)):
        archive = data / name / "originals.tar.gz"
        yield Set(name, [archive], [read(archive)], annotated=True)


def ask(lake: Lake, question: str) -> Rows:
    """Return the rows of one of the questions."""
    text = (QUESTIONS / f"{question}.sql").read_text(encoding="utf-8")
    found: Rows = lake.query(text).to_pylist()
    return found


def with_interval(successes: int, tasks: int) -> str:
    """Return a rate with its exact 95 % interval."""
    rate = clopper_pearson(successes, tasks)
    return f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def counted(successes: int, tasks: int) -> str:
    """Return successes of the labelled tasks as a count."""
    return f"{successes} of {tasks}"


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
    """Return success per agent and model: a rate with its interval, of picked sessions a count."""
    return [
        {
            "set": one.name,
            "agent": row["agent"],
            "model": row["model"],
            "tasks": row["tasks"],
            "success": (counted if one.annotated else with_interval)(
                row["successes"], row["successes"] + row["failures"]
            ),
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


def failed_stops(rows: Rows) -> Rows:
    """Return the stops of annotated failures."""
    return [
        {
            "system": row["system"],
            "stop": row["stop"],
            "says": row["said_by_the_stop"],
            "failures": row["failures"],
            "the agent said success": row["said_by_the_agent"],
        }
        for row in rows
    ]


def causes(rows: Rows) -> Rows:
    """Return per root cause the stops, each with whose fault the taxonomy takes it for."""
    codes = taxonomy.load().codes
    merged: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        stop = f"{row['stop']} ({codes[row['stop']].fault})"
        merged.setdefault((row["system"], row["cause"]), Counter())[stop] += row["failures"]
    return [
        {
            "system": system,
            "root cause, by the annotators": cause,
            "failures": found.total(),
            "stop (fault)": ", ".join(f"{stop} {count}" for stop, count in found.most_common()),
        }
        for (system, cause), found in merged.items()
    ]


def annotated(lake: Lake) -> None:
    """Print what the annotated sets say, all in one lake."""
    print("## Annotated failures\n")
    table(failed_stops(ask(lake, "failed_stops")))
    table(causes(ask(lake, "annotated_causes")))
    table(ask(lake, "guardrails"))
    table(ask(lake, "two_annotators"))


def imported(folder: Path, paths: Iterable[str]) -> Lake:
    """Return a new lake with the files in it."""
    lake = Lake.open(folder, create=True)
    lake.ingest(open_sources(list(paths)))
    return lake


def disagreements(name: str, lake: Lake, sessions: int, successes: int) -> int:
    """Print and count what of a lake is not as the labels have it."""
    agents = ask(lake, "success_by_agent")
    found = {
        "sessions": (sum(row["tasks"] for row in agents), sessions),
        "successes": (sum(row["successes"] for row in agents), successes),
    }
    wrong = {what: pair for what, pair in found.items() if pair[0] != pair[1]}
    for what, (got, expected) in wrong.items():
        print(f"DISAGREES: {name}: {got} {what}, labels {expected}")
    return len(wrong)


def main() -> int:
    """Show everything; return the exit code."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    if not data.is_dir():
        print(f"no recordings at {data}: name their folder as the argument", file=sys.stderr)
        return 2
    every = list(sets(data))
    success, confused, all_rows, wrong = Rows(), Rows(), Rows(), 0
    with tempfile.TemporaryDirectory() as scratch:
        for one in every:
            lake = imported(Path(scratch) / one.name, one.paths)
            wrong += disagreements(one.name, lake, one.sessions, one.successes)
            inferred = ask(lake, "inferred_outcomes")
            success += by_agent(one, ask(lake, "success_by_agent"))
            confused += confusion(one.name, inferred)
            all_rows += [] if one.annotated else inferred
        # The annotated sets took their sessions of tau-bench from the retail set, and share others.
        together = [one for one in every if one.annotated or one.name == RETAIL]
        lake = imported(
            Path(scratch) / "together", [path for one in together for path in one.paths]
        )
        distinct = [one for one in together if one.name != "agentrx"]
        wrong += disagreements(
            "together",
            lake,
            sum(one.sessions for one in distinct),
            sum(one.successes for one in distinct),
        )
        print("## Task success by agent and model\n")
        table(success)
        print("## What the stop alone says, against the labels\n")
        table([*confused, *confusion("all but the annotated", all_rows)])
        table(stops(all_rows))
        annotated(lake)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
