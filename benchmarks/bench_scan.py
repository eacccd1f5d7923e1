"""The wire scanner against the protobuf library: parsing alone, and plus filling the columns."""

from __future__ import annotations

import statistics

import generate
import measure
import plain
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit import schema
from tracekit.otlp.reference import scan_reference
from tracekit.otlp.scan import scan

REQUESTS = 16
ROUNDS = 9

PARSE = "FromString alone"
PLAIN = "FromString + columns in plain Python"
REFERENCE = "FromString + columns by the reference"
SCAN = "scan, UTF-8 checked"
TABLE = "scan, UTF-8 checked, to Arrow"
BATCH = "the same, 16 requests at once"


def check(data: bytes) -> None:
    """Refuse to measure rivals that do not do the same."""
    mine, theirs = scan(data).table, plain.columns(data)
    # Row by row: dictionaries may number the same values differently.
    assert mine.to_pylist() == scan_reference(data).to_pylist()
    for column in schema.scanned_columns():
        if column.kind is not schema.Kind.HASH and column.name != "dialect_mark":
            assert mine[column.name].to_pylist() == theirs[column.name].to_pylist(), column.name


def run() -> list[measure.Result]:
    """Scan the same requests in every way, in turns."""
    payload = generate.requests(REQUESTS)
    together = b"".join(payload)
    check(payload[0])
    seconds = measure.interleave(
        {
            PARSE: lambda: [ExportTraceServiceRequest.FromString(data) for data in payload],
            SCAN: lambda: [scan(data) for data in payload],
            TABLE: lambda: [scan(data).table for data in payload],
            BATCH: lambda: scan(together).table,
            PLAIN: lambda: [plain.columns(data) for data in payload],
            REFERENCE: lambda: [scan_reference(data) for data in payload],
        },
        ROUNDS,
    )
    spans = REQUESTS * generate.SPANS_PER_REQUEST

    def line(name: str, rival: str = "", aim: str = "") -> measure.Result:
        median = statistics.median(seconds[name])
        rate = f"{spans / median / 1e6:.2f} M spans/s of {len(together) / spans:.0f} B"
        ratio = f"{measure.ratio_of(seconds[rival], seconds[name]):.2f}x {rival}" if rival else ""
        return measure.Result(name, median, rate, ratio, aim)

    return [
        *(line(name) for name in (PARSE, PLAIN, REFERENCE)),
        line(SCAN, PARSE, "1.4x"),
        *(line(TABLE, rival) for rival in (PARSE, PLAIN)),
        line(TABLE, REFERENCE, "25x"),
        *(line(BATCH, rival) for rival in (PARSE, PLAIN)),
    ]


if __name__ == "__main__":
    measure.show(run())
