"""OTLP files as chunks of `ExportTraceServiceRequest` bytes.

Read are protobuf files in the framings of `framing`, OTLP/JSON documents, and JSON lines as the
OpenTelemetry Collector's file exporter writes them. A chunk is a whole request: requests are joined
by concatenation, which protobuf defines to be their union. Logs and metrics between the traces are
passed over and counted.
"""

from __future__ import annotations

import collections
import dataclasses
import gc
from typing import TYPE_CHECKING, Any, Final

import orjson

from tracekit.errors import InputError
from tracekit.otlp import framing
from tracekit.otlp.json_encoding import EncodingError, encode_request
from tracekit.otlp.streams import ZSTD_MAGIC, Limits, Stream, unzstd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BOM: Final = b"\xef\xbb\xbf"
WHOLE_FILE: Final = "nothing of this file is taken over; repair or remove it and import again"
"""How an error in the middle of a file ends: files are taken over as a whole or not at all."""

_TRACES: Final = frozenset({"resourceSpans", "resource_spans"})
_OTHER: Final = {
    "resourceLogs": "logs",
    "resource_logs": "logs",
    "resourceMetrics": "metrics",
    "resource_metrics": "metrics",
    "resourceProfiles": "profiles",
    "resource_profiles": "profiles",
}


@dataclasses.dataclass(slots=True)
class Tally:
    """What was passed over while reading, by kind: how many records of logs, for instance."""

    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def skipped(self, name: str) -> list[tuple[str, str]]:
        """Return one line for the user per kind: what, and why it was passed over."""
        return [
            (f"{name}: {count:,} {'record' if count == 1 else 'records'}", f"{kind}, not traces")
            for kind, count in self.counts.items()
        ]


def is_otlp(document: Any) -> bool:
    """Whether a JSON document is an OTLP export of any signal, or an array of such."""
    items = document if isinstance(document, list) else [document]
    return bool(items) and all(
        isinstance(item, dict) and not (_TRACES | _OTHER.keys()).isdisjoint(item) for item in items
    )


def chunks(parts: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """Join requests into chunks of at least `limits.chunk_bytes`, the last one excepted."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= limits.chunk_bytes:
            yield b"".join(held)
            held.clear()
            size = 0
    if size:
        yield b"".join(held)


def read_protobuf(stream: Stream, tally: Tally) -> Iterator[bytes]:
    """Yield the trace requests of a protobuf file.

    Raises:
        InputError: It is no such file, or a length claims more than is left or allowed.
    """
    found = framing.framing_of(stream.head())
    if found is None:
        raise stream.error("not an OTLP protobuf file")
    sized = found[0] is framing.Framing.SIZED
    for request in framing.requests(stream, found[0]):
        packed = sized and request.startswith(ZSTD_MAGIC)
        data = unzstd(request, stream.name, stream.limits) if packed else request
        if sized and data.startswith(b"{"):
            yield read_document(parse(data, stream), stream, tally)
        elif (signal := framing.signal_of(data)) == "traces":
            yield data
        else:
            tally.counts[signal] += 1


def parse(data: bytes, stream: Stream, line: int | None = None) -> Any:
    """Return a JSON value.

    Args:
        data: The text.
        stream: Where it came from.
        line: Its line where each line is a document of its own.

    Raises:
        InputError: It is not JSON; named are the file, the line, and what is wrong there.
    """
    try:
        return loads(data)
    except orjson.JSONDecodeError as error:
        at = error.lineno if line is None else line
        raise InputError(
            f"{stream.name}: line {at:,}, column {error.colno:,}: not valid JSON "
            f"({_reason(error)}); {WHOLE_FILE}"
        ) from error


def loads(data: bytes) -> Any:
    """Return a JSON value, a byte order mark before it ignored.

    The cyclic garbage collector is held back meanwhile: a new document is full of containers and
    free of cycles, and looking through it again and again takes longer than parsing it.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(data.removeprefix(BOM))
    finally:
        if collecting:
            gc.enable()


def _reason(error: orjson.JSONDecodeError) -> str:
    return "it ends too early" if "unexpected end" in error.msg else error.msg


def read_document(document: Any, stream: Stream, tally: Tally, line: int | None = None) -> bytes:
    """Return the traces of an OTLP/JSON document; empty where it carries something else.

    Raises:
        InputError: A value does not fit its field.
    """
    if isinstance(document, list):
        return b"".join(read_document(item, stream, tally, line) for item in document)
    if not isinstance(document, dict):
        raise _at(stream, line, "not an OTLP document")
    if _TRACES.isdisjoint(document):
        tally.counts[next((_OTHER[key] for key in document if key in _OTHER), "unknown")] += 1
        return b""
    try:
        return encode_request(document)
    except EncodingError as error:
        raise _at(stream, line, str(error)) from error


def _at(stream: Stream, line: int | None, message: str) -> InputError:
    place = "" if line is None else f" line {line:,}:"
    return InputError(f"{stream.name}:{place} {message}; {WHOLE_FILE}")


def json_lines(stream: Stream, first: int) -> Iterator[tuple[int, Any]]:
    """Yield the line number and value of each remaining line; empty lines are passed over.

    Args:
        stream: Lines, from the one numbered `first`.
        first: Number of the next line, from 1.

    Raises:
        InputError: A line is no JSON, for instance because it was cut.
    """
    number = first
    while line := stream.line():
        if not line.isspace():
            yield number, parse(line, stream, number)
        number += 1
