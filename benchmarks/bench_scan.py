"""The wire scanner against the protobuf library: parsing alone, and plus filling the columns."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import generate
import measure
import plain
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit import schema
from tracekit.otlp.reference import scan_reference
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable

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


def each(read: Callable[[bytes], object], payload: list[bytes]) -> None:
    """Read requests one after the other and keep none: a pile of results would cost memory."""
    for data in payload:
        read(data)


def run() -> list[measure.Result]:
    """Scan the same requests in every way, in turns."""
    payload = generate.requests(REQUESTS)
    together = b"".join(payload)
    check(payload[0])
    seconds = measure.interleave(
        {
            PARSE: lambda: each(ExportTraceServiceRequest.FromString, payload),
            SCAN: lambda: each(scan, payload),
            TABLE: lambda: each(lambda data: scan(data).table, payload),
            BATCH: lambda: scan(together).table,
            PLAIN: lambda: each(plain.columns, payload),
            REFERENCE: lambda: each(scan_reference, payload),
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
        line(SCAN, PLAIN, "25x"),
        *(line(TABLE, rival) for rival in (PARSE, PLAIN, REFERENCE)),
        *(line(BATCH, rival) for rival in (PARSE, PLAIN)),
    ]


if __name__ == "__main__":
    measure.show(run())
