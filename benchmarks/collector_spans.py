"""The requests that `bench_collector` sends: sessions of 50 spans, many of them open at a time."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Final

import generate
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from tracekit.otlp.encode import length_delimited

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SESSION_SPANS: Final = 50
OPEN: Final = 200
"""Sessions under way at a time."""

_FAILING: Final = 0.05
"""Share of sessions whose tools fail now and then; with 5 % of the rest one in ten is kept."""

_SIZE: Final = struct.Struct("<I")


def write(files: Mapping[int, Path], sessions: int) -> None:
    """Write the same sessions into files, in requests of different sizes.

    Args:
        files: A file for each number of spans a request shall have.
        sessions: How many sessions.
    """
    spans = list(_interleaved(sessions))
    for size, file in files.items():
        with file.open("wb") as out:
            for request in _requests(spans, size):
                out.write(_SIZE.pack(len(request)) + request)


def read(file: Path) -> list[bytes]:
    """Return the requests of a file."""
    data, requests, at = file.read_bytes(), [], 0
    while at < len(data):
        (size,) = _SIZE.unpack_from(data, at)
        at += _SIZE.size
        requests.append(data[at : at + size])
        at += size
    return requests


def _interleaved(sessions: int) -> Iterator[tuple[str, bytes]]:
    """Yield service and bytes of each span: 200 sessions take turns, their roots come last."""
    for first in range(0, sessions, OPEN):
        group = [_spans(number) for number in range(first, min(first + OPEN, sessions))]
        for turn in zip(*group, strict=True):
            yield from turn


def _spans(number: int) -> list[tuple[str, bytes]]:
    rng = random.Random(number)
    service = generate.SERVICES[number % len(generate.SERVICES)]
    failures = 0.3 if rng.random() < _FAILING else 0.0
    key = f"{number:06d}-{service}"
    root, *others = generate.session(
        rng, key, number // OPEN, length=SESSION_SPANS, failures=failures
    )
    return [(service, span.SerializeToString()) for span in (*others, root)]


def _requests(spans: Iterable[tuple[str, bytes]], size: int) -> Iterator[bytes]:
    waiting: list[tuple[str, bytes]] = []
    for span in spans:
        waiting.append(span)
        if len(waiting) == size:
            yield _request(waiting)
            waiting.clear()
    if waiting:
        yield _request(waiting)


def _request(spans: list[tuple[str, bytes]]) -> bytes:
    """Return a request in which each service has a resource."""
    pieces: list[bytes | memoryview] = []
    for service in generate.SERVICES:
        mine = [span for whose, span in spans if whose == service]
        if mine:
            resource = ResourceSpans(scope_spans=[ScopeSpans()])
            generate.describe(resource, service)
            scope = resource.scope_spans.pop().SerializeToString()
            children = [piece for span in mine for piece in length_delimited(0x12, span)]
            below = length_delimited(0x12, scope, *children)
            pieces += length_delimited(0x0A, resource.SerializeToString(), *below)
    return b"".join(pieces)
