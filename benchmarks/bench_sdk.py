"""What the sampler inside a process costs its host: a step of an agent with it and without."""

from __future__ import annotations

import resource
import statistics
import time
from typing import TYPE_CHECKING

import measure
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import tracekit
from samplers.sdk import SamplingExporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

SESSIONS = 400
STEPS = 10


class Nowhere(SpanExporter):
    """An exporter that costs nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Forget spans."""
        del spans
        return SpanExportResult.SUCCESS


@tracekit.tool(side_effect="read")
def step(number: int) -> int:
    """Do nothing, traced."""
    return number


def play(sessions: int) -> list[float]:
    """Play sessions and return the seconds of each step."""
    seconds = []
    for number in range(sessions):
        with tracekit.session(f"session-{number}"), tracekit.agent("support"):
            for inner in range(STEPS):
                start = time.perf_counter()
                step(inner)
                seconds.append(time.perf_counter() - start)
        time.sleep(0.005)  # an agent waits for its model most of the time
    return seconds


def memory() -> float:
    """Return the most memory the process has had so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def line(name: str, seconds: list[float], before: float) -> measure.Result:
    """Return median, 99th percentile and the memory it took."""
    median, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
    rate = f"{median * 1e6:.0f} us/step, p99 {p99 * 1e6:,.0f} us, {memory() - before:+.0f} MB"
    return measure.Result(name, sum(seconds), rate)


def run() -> list[measure.Result]:
    """Play sessions to an exporter that is wrapped, and to one that is not."""
    results = []
    for name, exporter in (
        ("steps, exporter alone", Nowhere()),
        ("steps, sampler loading and deciding", SamplingExporter(Nowhere(), interval_s=1)),
    ):
        before = memory()
        tracekit.configure(exporter=exporter, exit_timeout_s=60)
        play(20)
        results.append(line(name, play(SESSIONS), before))
        tracekit.flush(60)
    results.append(line("steps, sampler deciding", play(SESSIONS), before))
    return results


if __name__ == "__main__":
    measure.show(run())
