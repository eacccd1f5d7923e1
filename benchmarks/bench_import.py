"""An OTLP file into a new lake: spans per second, and where the time goes."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import generate
import measure

from tracekit.importers.detect import open_sources
from tracekit.lake import Lake
from tracekit.otlp.scan import scan

REQUESTS = 400
ROUNDS = 5


def run() -> list[measure.Result]:
    """Import the same file into new lakes; the limit is the scanner alone over the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        payload = generate.requests(REQUESTS)
        spans = REQUESTS * generate.SPANS_PER_REQUEST
        path = Path(folder) / "spans.pb"
        path.write_bytes(b"".join(payload))
        limit, totals, stages = [], [], []
        for round_number in range(ROUNDS + 1):
            start = time.perf_counter()
            for data in payload:
                assert scan(data).table.num_rows
            limit.append(time.perf_counter() - start)
            lake = Lake.open(Path(folder) / f"lake-{round_number}", create=True)
            summary = lake.ingest(open_sources([str(path)]))
            assert (summary.spans, summary.files) == (spans, 1), summary
            totals.append(summary.seconds["total"])
            stages.append(summary.seconds)
    return _lines(spans, path.name, limit[1:], totals[1:], stages[1:])


def _lines(
    spans: int, name: str, limit: list[float], totals: list[float], stages: list[dict[str, float]]
) -> list[measure.Result]:
    alone, total = "scan to Arrow alone, the same bytes", f"{name} to lake"
    ratio = f"{measure.ratio_of(limit, totals):.2f}x {alone}"

    def line(what: str, seconds: float, ratio: str = "", aim: str = "") -> measure.Result:
        return measure.Result(what, seconds, f"{spans / seconds:,.0f} spans/s", ratio, aim)

    # The last round's stages: they are shares of one total, which medians would not add up to.
    last = stages[-1]
    shares = [
        measure.Result(f"  {stage}", seconds, f"{seconds / last['total']:.0%} of {total}")
        for stage, seconds in last.items()
        if stage != "total"
    ]
    return [
        line(alone, statistics.median(limit)),
        line(total, statistics.median(totals), ratio, "150,000 spans/s"),
        *shares,
    ]


if __name__ == "__main__":
    measure.show(run())
