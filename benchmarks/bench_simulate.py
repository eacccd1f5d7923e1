"""Sessions a second of `tracekit simulate`, and what of it the OpenTelemetry SDK takes alone."""

from __future__ import annotations

import os
import statistics

import measure
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from tracekit.simulation.run import Run, played
from tracekit.simulation.scenario import load
from tracekit.simulation.stage import Stage

SESSIONS = 256
"""Sessions of a part: what a process plays at once."""
MANY = 20_000
ROUNDS = 7

SDK = "the SDK: the same spans, without tracekit"
SPANS = "decorated agents, to spans"
BYTES = "decorated agents, to OTLP"


class _Dropped(SpanProcessor):
    """Takes ended spans as the simulation does."""


def repeated(spans: list[ReadableSpan]) -> None:
    """Make spans with the attributes of others, by the SDK alone."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_Dropped())
    tracer = provider.get_tracer("bench")
    for span in spans:
        made = tracer.start_span(span.name, kind=span.kind, start_time=span.start_time)
        made.set_attributes(dict(span.attributes or {}))
        made.end(span.end_time)


def one_process() -> list[measure.Result]:
    """Play a part of the default scenario in this process."""
    stage = Stage(load("default"))
    spans = [span for number in range(SESSIONS) for span in stage.perform(number)[0]]
    rivals = {
        SDK: lambda: repeated(spans),
        SPANS: lambda: [stage.perform(number) for number in range(SESSIONS)],
        BYTES: lambda: played(stage, range(SESSIONS)),
    }
    seconds = measure.interleave(rivals, ROUNDS)
    base = statistics.median(seconds[SDK])
    found = []
    for name, rounds in seconds.items():
        median = statistics.median(rounds)
        rate = f"{SESSIONS / median:,.0f} sessions/s, {len(spans) / median:,.0f} spans/s"
        ratio = "" if name == SDK else f"{base / median:.2f} x the SDK"
        found.append(measure.Result(name, median, rate, ratio))
    return found


def all_cores() -> measure.Result:
    """Play many sessions in one process per core; the time it takes to start them included."""
    cores = len(os.sched_getaffinity(0))
    spans = 0

    def play() -> None:
        nonlocal spans
        run = Run(load("default"), sessions=MANY, jobs=cores)
        spans = sum(request.spans for request in run.requests(lambda _: None))

    seconds = statistics.median(measure.interleave({"": play}, 1)[""])
    rate = f"{MANY / seconds:,.0f} sessions/s, {spans / seconds:,.0f} spans/s"
    return measure.Result(f"{MANY:,} sessions, {cores} processes", seconds, rate)


def run() -> list[measure.Result]:
    """Measure one process, then all cores."""
    return [*one_process(), all_cores()]


if __name__ == "__main__":
    measure.show(run())
