"""The collector end to end, against the most gRPC takes and the least that does the same.

    make bench-collector

A load generator, what is measured, and a sink are processes of their own on the same cores. They
take turns with each other in every round, so that what compares is the ratio to the raw sink of
the same round. Every run is told as it ends, and none begins that would not end within seven
minutes. Fails when a span is lost.
"""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bench_pending
import collector_spans
import generate
import measure
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).resolve().parent
SIZES: Final = (512, 128, 32)
SESSIONS: Final = 12_000
ROUNDS: Final = 5
SECONDS: Final = 420.0
"""For all runs together."""

_PATIENCE: Final = 180.0
_RAW_REPEAT: Final = 2
"""How often the raw sink gets the same spans: it is done with them too soon to be measured."""

RAW: Final = "raw gRPC sink"
FULL: Final = "tracekit"
BASE: Final = "without detectors"
LAKE: Final = "with a lake"
PLAIN: Final = "plain Python"
RIVALS: Final = {
    RAW: ["collector_ends.py", "raw"],
    FULL: ["collector_rivals.py", "tracekit", "detectors"],
    BASE: ["collector_rivals.py", "tracekit", "bare"],
    LAKE: ["collector_rivals.py", "tracekit", "lake"],
    PLAIN: ["collector_rivals.py", "plain"],
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a rival.

    Attributes:
        rate: Spans a second, until the last kept span is in the sink.
        own: CPU seconds a million spans of the rival itself.
        all: The same of all three processes.
        first: Seconds until the first request was acknowledged.
        median: The same of the median request.
        first_batch: Seconds the first decisions took; 0 where that is not known.
        kept: Share of sessions kept.
    """

    rate: float
    own: float
    all: float
    first: float
    median: float
    first_batch: float = 0.0
    kept: float = 0.0


class Process:
    """A process that prints its port, then its state when it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._answers = process.stdin, process.stdout
        self.port = int(self._answers.readline())

    def state(self) -> dict[str, Any]:
        """Ask for its state."""
        self._asked.write("\n")
        self._asked.flush()
        found: dict[str, Any] = json.loads(self._answers.readline())
        return found


@contextlib.contextmanager
def running(*command: object) -> Iterator[Process]:
    """Run a process of this folder until the block ends."""
    script, *arguments = map(str, command)
    with subprocess.Popen(  # noqa: S603  ourselves
        [sys.executable, str(HERE / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Process(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def load(port: int, file: Path, repeat: int = 1) -> dict[str, float]:
    """Send the requests of a file; return what `collector_ends.load` prints."""
    command = [sys.executable, str(HERE / "collector_ends.py"), "load", port, file, repeat]
    done = subprocess.run(  # noqa: S603  ourselves
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def limit(file: Path) -> Run:
    """Run the raw sink."""
    spans = _RAW_REPEAT * SESSIONS * collector_spans.SESSION_SPANS / 1e6
    with running(*RIVALS[RAW]) as rival:
        before = rival.state()["cpu"]
        sent = load(rival.port, file, _RAW_REPEAT)
        own = rival.state()["cpu"] - before
    took = sent["end"] - sent["start"]
    return Run(
        spans * 1e6 / took, own / spans, (own + sent["cpu"]) / spans, sent["first"], sent["median"]
    )


def contest(name: str, file: Path) -> Run:
    """Run a rival between both ends, until all is decided and what is kept has arrived."""
    total = SESSIONS * collector_spans.SESSION_SPANS
    spans = total / 1e6
    with running("collector_ends.py", "sink") as sink, running(*RIVALS[name], sink.port) as rival:
        before = [process.state()["cpu"] for process in (sink, rival)]
        sent = load(rival.port, file)
        state = wait(rival.state, is_done)
        arrived = wait(sink.state, lambda found: found["spans"] >= state["exported"])
        end = time.time()
        check(name, rival.state(), arrived)
        own = rival.state()["cpu"] - before[1]
        ends = sent["cpu"] + sink.state()["cpu"] - before[0]
    return Run(
        total / (end - sent["start"]),
        own / spans,
        (own + ends) / spans,
        sent["first"],
        sent["median"],
        state.get("first_batch", 0.0),
        state["kept"] / SESSIONS,
    )


def is_done(state: dict[str, Any]) -> bool:
    """Return whether a rival has decided every session, and exported what it keeps."""
    kept = state["kept"] * collector_spans.SESSION_SPANS
    return bool(state["sessions"] >= SESSIONS and state["exported"] >= kept)


def wait(
    ask: Callable[[], dict[str, Any]], is_done: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Ask until the answer will do.

    Raises:
        SystemExit: It does not in three minutes.
    """
    until = time.monotonic() + _PATIENCE
    while not is_done(found := ask()):
        if time.monotonic() > until:
            sys.exit(f"it does not get on: {found}")
        time.sleep(0.05)
    return found


def check(name: str, state: dict[str, Any], arrived: dict[str, Any]) -> None:
    """See that every session was decided whole, and that what is kept, and only that, arrived.

    Raises:
        SystemExit: It was not.
    """
    kept = state["kept"] * collector_spans.SESSION_SPANS
    want = {
        "received": SESSIONS * collector_spans.SESSION_SPANS,
        "late": 0,
        "sessions": SESSIONS,
        "exported": kept,
    }
    if {key: state[key] for key in want} != want or arrived["spans"] != kept:
        sys.exit(f"{name}: spans are lost or doubled: {state}, in the sink {arrived}")
    if state.get("wrong"):
        sys.exit(f"{name}: a step failed, see above")


def rounds(files: dict[int, Path], console: Console) -> dict[tuple[int, str], list[Run]]:
    """Let all rivals run in turns, as many rounds as there is time for.

    Returns:
        The runs of each size and rival; of a size all rivals have equally many.
    """
    found: dict[tuple[int, str], list[Run]] = defaultdict(list)
    until, longest = time.monotonic() + SECONDS, dict.fromkeys(files, 0.0)
    for turn in range(ROUNDS):
        for size, file in files.items():
            began = time.monotonic()
            if began + longest[size] > until:
                continue
            for name in list(RIVALS) if turn % 2 == 0 else reversed(list(RIVALS)):
                run = limit(file) if name == RAW else contest(name, file)
                found[size, name].append(run)
                console.print(
                    f"round {turn + 1}, {size} spans/request: {name}: "
                    f"{run.rate / 1e3:,.0f} k spans/s, {run.own:.1f} CPU s/M",
                    highlight=False,
                )
            longest[size] = max(longest[size], time.monotonic() - began)
    return found


def show(found: dict[tuple[int, str], list[Run]], console: Console) -> None:
    """Print medians over the rounds, and ratios to the raw sink of the same round.

    CPU seconds are per million spans: of what is measured, and with both ends.
    """
    table = Table(
        "spans/request", "what", "k spans/s", "of raw sink", "CPU s/M", "all three",
        "first request", "median", "first batch", "kept", box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for (size, name), runs in found.items():
        ratios = [one.rate / other.rate for one, other in zip(runs, found[size, RAW], strict=True)]

        def median(field: str, runs: list[Run] = runs) -> float:
            return float(statistics.median(getattr(run, field) for run in runs))

        table.add_row(
            str(size),
            name,
            f"{median('rate') / 1e3:,.0f}",
            f"{100 * statistics.median(ratios):.1f} %",
            f"{median('own'):.1f}",
            f"{median('all'):.1f}",
            f"{1e3 * median('first'):.1f} ms",
            f"{1e3 * median('median'):.1f} ms",
            f"{median('first_batch'):.2f} s" if median("first_batch") else "",
            f"{100 * median('kept'):.1f} %" if median("kept") else "",
        )
    console.print(table)


def main() -> None:
    """Measure and print."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(measure.machine(), highlight=False)
    pending = bench_pending.memory(generate.requests(16), random.Random(1))
    console.print(f"a pending span takes {pending.rate} (aim: {pending.aim})", highlight=False)
    with tempfile.TemporaryDirectory(prefix="tracekit-bench-") as folder:
        files = {size: Path(folder) / f"{size}.bin" for size in SIZES}
        collector_spans.write(files, SESSIONS)
        total = SESSIONS * collector_spans.SESSION_SPANS
        size = files[SIZES[-1]].stat().st_size / total
        found = rounds(files, console)
    show(found, console)
    done = ", ".join(f"{len(found[size, RAW])} rounds at {size}" for size in SIZES)
    console.print(
        f"{done}: {total:,} spans in {SESSIONS:,} sessions, {size:.0f} bytes a span; "
        "every session decided, every kept span in the sink, none lost",
        highlight=False,
    )


if __name__ == "__main__":
    main()
