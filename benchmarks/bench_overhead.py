"""What tracing costs per call, against a span of the SDK and against peers: `make bench-overhead`.

Peers run in processes of their own, in `.venv-peers`, each with its own SDK span timed in turns
with it: what compares is the ratio to that span.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure
import overhead_clients
import overhead_tracekit
import percall
from overhead_tracekit import SPAN, SPAN_ASYNC
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

AIM = 1.6
AIMED = ("@llm with stop and tokens", "@llm with stop and tokens, stop and cost derived")
CONSOLE = Console(width=None if sys.stdout.isatty() else 140)
HERE = Path(__file__).resolve().parent
PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
PEERS = ("traceloop", "logfire", "langfuse", "openinference")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the report."""

    name: str
    us: float
    ratio: tuple[float, float, float]
    peak_bytes: int
    kept_blocks: float


def lines(costs: Iterable[percall.Cost]) -> list[Line]:
    """Set each cost against the SDK span of the same kind in the same process."""
    found = {cost.name: cost for cost in costs}
    return [
        Line(
            cost.name,
            cost.median / 1e3,
            percall.ratio(cost, found[SPAN_ASYNC if "async" in cost.name else SPAN]),
            cost.peak_bytes,
            cost.kept_blocks,
        )
        for cost in found.values()
    ]


def own() -> list[Line]:
    """Measure tracekit in this process."""
    return lines(percall.compare(overhead_tracekit.Bench().cases(overhead_tracekit.deriver())))


def peers() -> tuple[list[Line], list[str]]:
    """Measure the peers, each in a process of its own.

    Returns:
        Their rows, and why rows are missing.
    """
    if not PEERS_PYTHON.exists():
        return [], [f"{name}: no .venv-peers; make it with `make .venv-peers`" for name in PEERS]
    found: list[Line] = []
    missing: list[str] = []
    for name in PEERS:
        run = subprocess.run(  # noqa: S603 - a script of this folder
            [PEERS_PYTHON, HERE / "overhead_peers.py", name],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        if run.returncode:
            missing.append(f"{name}: {run.stderr.strip().splitlines()[-1]}")
            continue
        costs: list[dict[str, Any]] = json.loads(run.stdout.splitlines()[-1])
        found += lines(percall.Cost(**cost) for cost in costs)
    return found, missing


def show(found: list[Line], missing: list[str]) -> None:
    """Print what was measured, and what is missing."""
    table = Table(
        "call", "median us", "x SDK span", "quartiles", "peak B", "blocks kept", box=box.SIMPLE_HEAD
    )
    for line in found:
        middle, low, high = line.ratio
        blocks = "" if math.isnan(line.kept_blocks) else f"{line.kept_blocks:.0f}"
        peak = f"{line.peak_bytes:,}" if line.peak_bytes else ""
        table.add_row(
            line.name, f"{line.us:.2f}", f"{middle:.2f}", f"{low:.2f}-{high:.2f}", peak, blocks
        )
    CONSOLE.print(table)
    for reason in missing:
        CONSOLE.print(f"missing: {reason}", highlight=False)


def show_clients() -> None:
    """Print what wrapped clients cost."""
    table = Table(
        "client", "plain us", "wrapped us", "added us", "ratio", "quartiles", box=box.SIMPLE_HEAD
    )
    for plain, wrapped in overhead_clients.run(overhead_tracekit.deriver()):
        middle, low, high = percall.ratio(wrapped, plain)
        us = plain.median / 1e3, wrapped.median / 1e3, (wrapped.median - plain.median) / 1e3
        ratios = f"{middle:.3f}", f"{low:.3f}-{high:.3f}"
        table.add_row(plain.name, *(f"{value:.0f}" for value in us), *ratios)
    CONSOLE.print(table)


def judge(found: list[Line]) -> None:
    """Print the aim, and whether it holds."""
    ratios = {line.name: line.ratio[0] for line in found}
    for name in AIMED:
        holds = "holds" if ratios[name] <= AIM else "does not hold"
        CONSOLE.print(f"aim: {name}: at most {AIM}x: {ratios[name]:.2f}x, {holds}", highlight=False)


if __name__ == "__main__":
    CONSOLE.print(measure.machine(), highlight=False)
    CONSOLE.print("Ratios are to an SDK span timed in turns in the same process.", highlight=False)
    rows = own()
    theirs, absent = peers()
    show([*rows, *theirs], absent)
    show_clients()
    judge(rows)
