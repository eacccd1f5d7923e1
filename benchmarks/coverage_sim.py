"""How often intervals hold what they are about: `make coverage-sim`, or with a seed of one's own.

Each line draws the same thing a thousand times and counts how often the 95 % interval covers the
truth. Where an estimate comes with a note the code has said that it is not to be relied on: such
draws are counted apart, as flagged, and what misses without a note is a silent miss. With few
expected events there is nothing between too often and too rarely: exact and weighted intervals then
cover more than 97 %, and say so.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from tracekit.stats.intervals import Estimate, clopper_pearson, jeffreys, wilson
from tracekit.stats.weighted import RatioSums, rate, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPETITIONS = 1_000
SEED = 2026
RATES = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.995, 0.999)
SIZES = (100, 1_000, 10_000)
BASELINE, DETECTED, FALSE_ALARMS = 0.01, 0.9, 0.02
"""Chance to keep an ordinary session; failures that detectors find, and successes they take for
failures, both of which are all kept."""
CLUSTERS = ((50, 20, 0.1), (200, 20, 0.1), (1_000, 10, 0.3))
"""Number of clusters, rows of each on average, intraclass correlation."""

LEAST, MOST = 0.93, 0.97
"""What a nominal 95 % may cover. A thousand draws put a line that covers 94 % below it one time in
ten: what the binomial lines cover exactly is summed in tests/test_stats_coverage.py."""
FAILS = "FAILS SILENTLY"
MOST_BIAS = 0.01
SAYS_SO = 0.95
"""Share of the draws of a line that come with a note, where the interval says that it may fail."""


@dataclass
class Line:
    """One scenario, and what came of it.

    Attributes:
        what: The design.
        method: The interval.
        truth: What it is to cover.
        events: Expected rows of the rarer outcome that were left to chance.
        estimates: One per repetition.
        truths: Truth of each repetition, where it is not the same in all.
        on_purpose: Whether the method is known not to fit the design, and is drawn to show it.
    """

    what: str
    method: str
    truth: float
    events: float
    estimates: list[Estimate] = field(default_factory=list)
    truths: list[float] = field(default_factory=list)
    on_purpose: bool = False

    @property
    def flagged(self) -> int:
        """Repetitions that came with a note."""
        return sum(not estimate.reliable for estimate in self.estimates)

    def coverage(self, *, all_of_them: bool = False) -> float:
        """Share of intervals that cover: of those without a note, or of all."""
        truths = self.truths or [self.truth] * len(self.estimates)
        hits = [
            estimate.low <= truth <= estimate.high
            for estimate, truth in zip(self.estimates, truths, strict=True)
            if all_of_them or estimate.reliable
        ]
        return sum(hits) / len(hits) if hits else float("nan")

    @property
    def silent(self) -> float:
        """Share of all repetitions that miss the truth and do not say that they may."""
        good = len(self.estimates) - self.flagged
        return good * (1 - self.coverage()) / len(self.estimates) if good else 0.0

    @property
    def verdict(self) -> str:
        """Whether the interval holds the truth as often as it says, or else says that it may not.

        Draws are flagged by what they show. A line of which some draws are flagged holds if all of
        its draws together do, or those that are not flagged: the rest of a line chosen by its data
        has no coverage of its own to be held to.
        """
        if self.on_purpose:
            return "wrong on purpose"
        if LEAST <= self.coverage(all_of_them=True) <= MOST or LEAST <= self.coverage() <= MOST:
            return "holds"
        return "says so" if self.flagged >= SAYS_SO * len(self.estimates) else FAILS

    @property
    def bias(self) -> float:
        """Mean estimate over mean truth, less 1."""
        truths = self.truths or [self.truth]
        values = [estimate.value for estimate in self.estimates]
        return float(np.mean(values) / np.mean(truths) - 1)

    @property
    def bias_error(self) -> float:
        """Standard error of the bias: what the draws alone make of it."""
        values = [estimate.value for estimate in self.estimates]
        truth = float(np.mean(self.truths or [self.truth]))
        return float(np.std(values, ddof=1) / np.sqrt(len(values)) / truth)


def unweighted(rng: np.random.Generator, repetitions: int) -> Iterator[Line]:
    """Simple random samples: every size and rate, by the three methods."""
    methods: dict[str, Callable[[int, int], Estimate]] = {
        "Wilson": wilson,
        "Jeffreys": jeffreys,
        "Clopper-Pearson": clopper_pearson,
    }
    for n, truth in product(SIZES, RATES):
        drawn = rng.binomial(n, truth, repetitions)
        for name, method in methods.items():
            once = lru_cache(maxsize=None)(method)
            line = Line(f"{n:,} sessions", name, truth, n * min(truth, 1 - truth))
            line.estimates = [once(int(k), n) for k in drawn]
            yield line


def weighted(rng: np.random.Generator, repetitions: int) -> Iterator[Line]:
    """Detected failures and false alarms all kept, of the rest one in a hundred."""
    for truth in RATES:
        rare = min(truth, (1 - truth) * (1 - DETECTED))
        for events in (1, 10, 100):
            sessions = round(events / rare / BASELINE)
            if sessions < 10_000:
                continue
            yield _weighted(rng, truth, sessions, repetitions)


def _weighted(rng: np.random.Generator, truth: float, sessions: int, repetitions: int) -> Line:
    rare = min(truth, (1 - truth) * (1 - DETECTED))
    line = Line(f"{sessions:,} weighted", "Korn-Graubard", truth, sessions * rare * BASELINE)
    w = 1 / BASELINE
    for _ in range(repetitions):
        good = int(rng.binomial(sessions, truth))
        found = int(rng.binomial(sessions - good, DETECTED))
        alarms = int(rng.binomial(good, FALSE_ALARMS))
        heavy_good = int(rng.binomial(good - alarms, BASELINE))
        heavy_bad = int(rng.binomial(sessions - good - found, BASELINE))
        y, yy = alarms + w * heavy_good, alarms + w * w * heavy_good
        x, xx = y + found + w * heavy_bad, yy + found + w * w * heavy_bad
        n = alarms + heavy_good + found + heavy_bad
        line.estimates.append(rate(RatioSums(n, y, x, yy, yy, xx, largest=w)))
    return line


def clustered(rng: np.random.Generator, repetitions: int) -> Iterator[Line]:
    """Sessions of one incident share its rate, which is beta distributed."""
    for (count, size, icc), truth in product(CLUSTERS, RATES):
        line = Line(
            f"{count:,} clusters of {size}, ICC {icc}",
            "Korn-Graubard",
            truth,
            count * size * min(truth, 1 - truth),
        )
        naive = Line(line.what, "Wilson, as if independent", truth, line.events, on_purpose=True)
        shape = 1 / icc - 1
        for _ in range(repetitions):
            of_cluster = rng.beta(truth * shape, (1 - truth) * shape, count)
            rows = rng.poisson(size - 1, count) + 1
            good = rng.binomial(rows, of_cluster)
            line.estimates.append(_clustered_rate(good, rows))
            naive.estimates.append(wilson(int(good.sum()), int(rows.sum())))
        yield line
        yield naive


def _clustered_rate(good: np.ndarray, rows: np.ndarray) -> Estimate:
    return rate(
        RatioSums(
            n=rows.size,
            y=float(good.sum()),
            x=float(rows.sum()),
            yy=float((good * good).sum()),
            xy=float((good * rows).sum()),
            xx=float((rows * rows).sum()),
            clustered=True,
            failing=int((good < rows).sum()),
            succeeding=int((good > 0).sum()),
        )
    )


def costs(rng: np.random.Generator, repetitions: int) -> Iterator[Line]:
    """Cost per success of weighted sessions: failures cost more, costs are lognormal."""
    for truth, sessions in product((0.8, 0.95, 0.99), (20_000, 100_000)):
        line = Line(f"{sessions:,} weighted, cost", "linearised ratio", 0.0, sessions * BASELINE)
        for _ in range(repetitions):
            good = rng.random(sessions) < truth
            caught = rng.random(sessions) < np.where(good, FALSE_ALARMS, DETECTED)
            keep = rng.random(sessions) < np.where(caught, 1.0, BASELINE)
            cost = rng.lognormal(np.where(good, -2.0, -1.5), 1.0)
            w = np.where(caught, 1.0, 1 / BASELINE)[keep]
            y, x = w * cost[keep], w * good[keep]
            yy, xy, xx = (float(a @ b) for a, b in ((y, y), (x, y), (x, x)))
            n = int(keep.sum())
            line.estimates.append(ratio(RatioSums(n, float(y.sum()), float(x.sum()), yy, xy, xx)))
        mean_cost = truth * np.exp(-2.0 + 0.5) + (1 - truth) * np.exp(-1.5 + 0.5)
        line.truth = float(mean_cost / truth)
        yield line


def show(lines: list[Line], repetitions: int) -> None:
    """Print a line per scenario, and what to make of them."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in (
        *("what", "interval", "truth", "events"),
        *("covers %", "flagged", "silent %", "all %", "verdict", "bias %", "its s.e."),
    ):
        left = name in {"what", "interval", "verdict"}
        table.add_column(name, justify="left" if left else "right")
    for line in lines:
        table.add_row(
            line.what,
            line.method,
            f"{line.truth:.4g}",
            f"{line.events:,.1f}",
            "-" if np.isnan(line.coverage()) else f"{100 * line.coverage():.1f}",
            f"{line.flagged:,}",
            f"{100 * line.silent:.1f}",
            f"{100 * line.coverage(all_of_them=True):.1f}",
            line.verdict,
            f"{100 * line.bias:+.2f}",
            f"{100 * line.bias_error:.2f}",
        )
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"{repetitions:,} repetitions a line, nominal 95 %, seed fixed", highlight=False)
    console.print(table)
    silent = sum(line.verdict == FAILS for line in lines)
    far = sum(abs(line.bias) > MOST_BIAS + 3 * line.bias_error for line in lines)
    console.print(
        f"neither within {LEAST:.0%} to {MOST:.0%} nor flagged: {silent} of {len(lines)} lines\n"
        f"biased by more than 1 % and three standard errors: {far} of {len(lines)} lines",
        highlight=False,
    )


def run(repetitions: int, seed: int = SEED) -> list[Line]:
    """Draw every scenario, each from a stream of its own."""
    kinds = (unweighted, weighted, clustered, costs)
    streams = np.random.default_rng(seed).spawn(len(kinds))
    return [
        line for kind, rng in zip(kinds, streams, strict=True) for line in kind(rng, repetitions)
    ]


if __name__ == "__main__":
    show(run(REPETITIONS, *map(int, sys.argv[1:])), REPETITIONS)
