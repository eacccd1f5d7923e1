"""Timing rivals side by side: what a number means is its ratio to another of the same run."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PACKAGES = ("duckdb", "numba", "numpy", "protobuf", "pyarrow")


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report.

    Attributes:
        what: What was done.
        seconds: Median over the rounds.
        rate: The result in its own unit, such as "1.2 M spans/s".
        ratio: Against which rival, and how many times as fast; empty for the rival itself.
        aim: What the project wants it to be; empty where there is no aim.
    """

    what: str
    seconds: float
    rate: str
    ratio: str = ""
    aim: str = ""


def interleave(rivals: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each rival once per round, after one round that is not counted.

    Rivals take turns, so a slow minute of the machine hits all of them; every second round goes
    backwards, so that none always runs in the other's cache.

    Returns:
        Seconds per rival, one per round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for name in rivals:
        rivals[name]()
    for turn in range(rounds):
        for name in list(rivals) if turn % 2 == 0 else reversed(list(rivals)):
            start = time.perf_counter()
            rivals[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio_of(slower: list[float], faster: list[float]) -> float:
    """Return how many times as fast, as the median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def machine() -> str:
    """Return what the numbers were measured on, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {cores} cores, load {load:.1f}, "
        f"{platform.python_implementation()} {platform.python_version()}, {versions}"
    )


def show(results: list[Result]) -> None:
    """Print what was measured on, and the results as a table."""
    table = Table("what", "median", "rate", "as fast as", "aim", box=box.SIMPLE_HEAD)
    for result in results:
        median = f"{result.seconds * 1e3:,.1f} ms"
        table.add_row(result.what, median, result.rate, result.ratio, result.aim)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(machine(), highlight=False)
    console.print(table)
