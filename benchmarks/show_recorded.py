"""Recorded sessions through the whole way, against what the recordings say about themselves.

    .venv/bin/python benchmarks/show_recorded.py [FOLDER]

FOLDER holds the recordings, `../shared/data` by default. Each archive goes into a lake of its own
in a temporary folder; the exit code is 1 when a number that must agree does not.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recorded
from rich import box
from rich.console import Console
from rich.table import Table

from tracekit.importers.detect import open_sources
from tracekit.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recorded import Recorded

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = Path(__file__).with_name("questions")
WITHIN = 0.01

Rows = list[dict[str, Any]]


class Evidence:
    """Lakes of recordings, the tables printed about them, and what did not agree."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self.data = data
        self.disagreements: list[str] = []
        self._scratch = scratch
        self._console = Console(width=230, soft_wrap=True)

    def lake(self, *paths: Path) -> Lake:
        """Import files into a new lake."""
        lake = Lake.open(self._scratch / f"lake-{len(list(self._scratch.iterdir()))}", create=True)
        summary = lake.ingest(open_sources([str(path) for path in paths]))
        for failed in summary.failed:
            self.disagreements.append(f"{Path(failed.name).name} was not imported: {failed.why}")
        for item in summary.skipped:
            what = item.what.removeprefix(f"{self.data}/")
            self._console.print(f"skipped {what} ({item.count}): {item.why}", style="dim")
        return lake

    def must_agree(self, what: str, ours: object, theirs: object) -> None:
        """Remember a number that is not what the recording says."""
        if ours != theirs:
            self.disagreements.append(f"{what}: {ours}, recorded {theirs}")

    def show(self, title: str, rows: Iterable[dict[str, Any]]) -> None:
        """Print rows as a table, numbers to the right."""
        listed = list(rows)
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
        for name in listed[0] if listed else ():
            number = any(isinstance(row[name], int | float) for row in listed)
            table.add_column(name.replace("_", " "), justify="right" if number else "left")
        for row in listed:
            table.add_row(*map(_text, row.values()))
        self._console.print(table)


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:,.4f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def ask(lake: Lake, question: str) -> Rows:
    """Ask one of the questions beside this file."""
    sql = (QUESTIONS / f"{question}.sql").read_text(encoding="utf-8")
    rows: Rows = lake.query(sql).to_pylist()
    return rows


def agreement(evidence: Evidence, name: str, lake: Lake, theirs: Recorded) -> dict[str, Any]:
    """Return one line: the lake's numbers beside those of the recording, which must be equal."""
    (ours,) = ask(lake, "agreement")
    evidence.must_agree(f"{name}: sessions", ours["sessions"], theirs.sessions)
    evidence.must_agree(f"{name}: successes", ours["successes"], theirs.successes)
    evidence.must_agree(f"{name}: agent tokens", int(ours["tokens"]), theirs.agent_tokens)
    evidence.must_agree(
        f"{name}: failure codes", ours["abnormal_with_failure_code"], ours["abnormal"]
    )
    cost = ours["cost_usd"]
    if theirs.agent_cost:
        evidence.must_agree(
            f"{name}: agent cost", round(cost or 0.0, 6), round(theirs.agent_cost, 6)
        )
    return {
        "run": name.removesuffix(".tar.gz")[:60],
        "sessions": ours["sessions"],
        "recorded": theirs.sessions,
        "successes": ours["successes"],
        "rewarded": theirs.successes,
        "abnormal_ends": ours["abnormal"],
        "with_failure_code": ours["abnormal_with_failure_code"],
        "tokens": int(ours["tokens"]),
        "agent_tokens": theirs.agent_tokens,
        "user_tokens": theirs.user_tokens,
        "cost": cost,
        "agent_cost": theirs.agent_cost or None,
    }


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the line of sums."""
    sums = {
        name: sum(row[name] or 0 for row in rows)
        for name, value in rows[0].items()
        if isinstance(value, int | float)
    }
    return {**dict.fromkeys(rows[0]), "run": "all", **sums}


def tau2_bench(evidence: Evidence) -> None:
    """Show each run of tau2-bench, its ends, and its costs per call."""
    lines, ends, costs = [], Counter[tuple[str, ...]](), list[dict[str, Any]]()
    for archive in sorted((evidence.data / "tau2-retail").iterdir()):
        lake = evidence.lake(archive)
        lines.append(agreement(evidence, archive.name, lake, recorded.tau2_bench(archive)))
        for row in ask(lake, "ends"):
            key = (row["recorded_end"], row["provider_stop"], row["stop_reason"])
            ends[*key, row["stop_outcome"]] += row["sessions"]
        costs += ask(lake, "call_costs")
    evidence.show("tau2-bench retail, per run", [*lines, totals(lines)])
    names = ("recorded_end", "provider_stop", "stop_reason", "stop_outcome")
    evidence.show(
        "How the sessions ended",
        (dict(zip(names, key, strict=True)) | {"sessions": n} for key, n in ends.most_common()),
    )
    show_call_costs(evidence, "Cost per call, ours against recorded", costs)


def show_call_costs(evidence: Evidence, title: str, rows: Rows) -> None:
    """Show how our price of each call compares, summed over lakes, with the share of the calls."""
    calls = sum(row["calls"] for row in rows)
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        held = merged.setdefault((row["model"], row["comparison"]), {})
        for name, value in row.items():
            held[name] = _merge(name, held.get(name), value)
    ordered = sorted(merged.values(), key=lambda row: (row["model"], -row["calls"]))
    evidence.show(title, (row | {"share": f"{row['calls'] / calls:.2%}"} for row in ordered))


def _merge(name: str, one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if name.startswith("least"):
        return min(one, other)
    if name.startswith("greatest"):
        return max(one, other)
    return other if isinstance(other, str) else one + other


def mini_swe_agent(evidence: Evidence) -> None:
    """Show the sessions of mini-swe-agent, and our cost per session against the recorded one."""
    folder = evidence.data / "swebench-mini-agent"
    paths = (folder / "trajs-A.tar.gz", folder / "labels-A.tar.gz")
    theirs = recorded.mini_swe_agent(*paths)
    lake = evidence.lake(*paths)
    evidence.show("mini-swe-agent", [agreement(evidence, folder.name, lake, theirs)])
    evidence.show("How the sessions ended", ask(lake, "ends"))
    show_call_costs(evidence, "Cost per call, ours against recorded", ask(lake, "call_costs"))
    sessions = [row for row in ask(lake, "session_costs") if not row["unpriced"]]
    near = sum(abs(row["computed_usd"] / row["cost_usd"] - 1) <= WITHIN for row in sessions)
    instance = {round(cost, 6) for cost in theirs.costs.values()}
    same = sum(round(row["cost_usd"], 6) in instance for row in sessions)
    evidence.show(
        "Cost per session",
        [
            {
                "priced sessions": len(sessions),
                "computed within 1 % of recorded calls": near,
                "recorded calls sum to the recorded session cost": same,
                "recorded calls": theirs.agent_cost,
                "recorded sessions": sum(theirs.costs.values()),
            }
        ],
    )


def tau_bench(evidence: Evidence) -> None:
    """Show the two archives of tau-bench."""
    lines = []
    for name in ("tau-bench-airline-gpt4o", "tau-bench-retail-agentverify"):
        archive = evidence.data / name / "originals.tar.gz"
        lake = evidence.lake(archive)
        lines.append(agreement(evidence, name, lake, recorded.tau_bench(archive)))
    evidence.show("tau-bench", lines)


def langfuse(evidence: Evidence) -> None:
    """Show each file of exported framework traces, and the kinds of operation in all of them."""
    lines, paths = [], []
    archive = evidence.data / "langfuse-framework-traces" / "originals.tar.gz"
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as members:
        members.extractall(folder, filter="data")
        paths = sorted(Path(folder).rglob("*.json"))
        for path in paths:
            lake = evidence.lake(path)
            name = f"{'worker' if 'worker' in path.parts else 'seeder'}/{path.stem}"
            lines += [{"file": name} | row for row in ask(lake, "frameworks")]
        together = ask(evidence.lake(*paths), "operations")
    evidence.show("Exported framework traces, per file", lines)
    evidence.show("Kinds of operation, all files", together)
    unknown = sum(row["spans"] for row in together if row["operation"] == "unknown")
    evidence.must_agree("exported framework traces: operations of unknown kind", unknown, 0)


def main() -> int:
    """Show everything; return the exit code."""
    arguments = sys.argv[1:]
    data = Path(arguments[0]) if arguments else ROOT.parent / "shared" / "data"
    if not data.is_dir():
        print(f"no recordings at {data}: name their folder as the argument", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        evidence = Evidence(data, Path(scratch))
        for part in (tau2_bench, mini_swe_agent, tau_bench, langfuse):
            part(evidence)
    for line in evidence.disagreements:
        print(f"DISAGREES: {line}")
    print(f"{len(evidence.disagreements)} numbers disagree with the recordings")
    return 1 if evidence.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
