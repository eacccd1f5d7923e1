"""Where a run goes: a file, an OTLP endpoint, or a source that a lake can ingest."""

from __future__ import annotations

import base64
import gzip
import http.client
import time
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit.errors import TracekitError, UsageError
from tracekit.otlp.varints import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedWriter

    from tracekit.simulation.run import Request, Run
    from tracekit.simulation.truth import Row

    Tell = Callable[[Sequence[Row]], None]

_CHUNK: Final = 4 << 20
_TRIES: Final = 8
_AGAIN: Final = frozenset({429, 502, 503, 504})
"""Statuses after which OTLP asks to send again."""
_TIMEOUT_S: Final = 30
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class SimulatedSource:
    """A run as a source for `Lake.ingest`.

    Attributes:
        name: Name for messages.
        size_bytes: 0: it is nowhere on disk.
        skipped: Nothing.
    """

    def __init__(self, run: Run, tell: Tell) -> None:
        """Describe a run.

        Args:
            run: The run.
            tell: Called with the truth about tasks, some sessions at a time.
        """
        self.name = f"{run.scenario.name} (seed {run.seed}, {run.sessions:,} sessions)"
        self.size_bytes = 0
        self.skipped: list[tuple[str, str]] = []
        self._run = run
        self._tell = tell
        self._labels: list[dict[str, Any]] = []

    @property
    def digest(self) -> str:
        """Return what tells this run from others."""
        run = self._run
        parts = (version("tracekit-agents"), run.scenario.digest, run.seed, run.sessions)
        return sha256(repr(parts).encode()).hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Yield the requests of the run, joined to chunks of some megabytes."""
        held: list[bytes] = []
        size = 0
        self._labels.clear()
        for request in self._run.requests(self._told):
            held.append(request.data)
            size += len(request.data)
            if size >= _CHUNK:
                yield b"".join(held)
                held, size = [], 0
        if held:
            yield b"".join(held)

    def outcomes(self) -> list[dict[str, Any]]:
        """Return the labels that are given later."""
        return self._labels

    def _told(self, rows: Sequence[Row]) -> None:
        self._tell(rows)
        self._labels += [label for row in rows if (label := label_of(row)) is not None]


def label_of(row: Row) -> dict[str, Any] | None:
    """Return the verdict that is reached after a task ended, as `Lake.add_outcomes` takes it."""
    if row.label_ns is None:
        return None
    return {
        "session_id": row.session_id,
        "task_id": row.task_id if row.task_id != row.session_id else None,
        "outcome": row.outcome,
        "evidence": "verified",
        "source": "label",
        "decided_ns": row.label_ns,
    }


def write_file(run: Run, path: Path, tell: Tell, progress: Callable[[int], None]) -> None:
    """Write a run as OTLP: length-delimited protobuf, or JSON lines where the name ends so.

    Args:
        run: The run.
        path: The file; with `.gz` it is compressed.
        tell: Called with the truth about tasks, some sessions at a time.
        progress: Called with the number of spans written, some at a time.
    """
    as_json = is_json(path)
    with _opened(path) as file:
        for request in run.requests(tell):
            data = request.data
            file.write(json_line(data) if as_json else varint(len(data)) + data)
            progress(request.spans)


def is_file(target: str) -> bool:
    """Whether a target is a file by its name, and not the folder of a lake."""
    name = Path(target).name.removesuffix(".gz")
    return name.endswith((".pb", ".otlp", ".jsonl", ".ndjson", ".json"))


def is_json(path: Path) -> bool:
    """Whether a file is to hold JSON lines."""
    return path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json"))


def _opened(path: Path) -> gzip.GzipFile | BufferedWriter:
    if path.suffix == ".gz":
        return gzip.GzipFile(path, "wb", compresslevel=6, mtime=0)
    return path.open("wb")


def json_line(data: bytes) -> bytes:
    """Return an OTLP request as one line of OTLP/JSON."""
    document = MessageToDict(
        ExportTraceServiceRequest.FromString(data), use_integers_for_enums=True
    )
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for owner in (span, *span.get("links", ())):
                    _hex_ids(owner)
    return orjson.dumps(document) + b"\n"


def _hex_ids(owner: dict[str, Any]) -> None:
    for name in _IDS:
        if name in owner:
            owner[name] = base64.b64decode(owner[name]).hex()


class Endpoint:
    """An OTLP/HTTP endpoint."""

    def __init__(self, url: str, *, rate: float | None = None) -> None:
        """Describe an endpoint.

        Args:
            url: Its URL; `/v1/traces` is added where it has no path.
            rate: How many times faster than in life the sessions go by; None sends at once.

        Raises:
            UsageError: It is no URL of HTTP.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is no URL like http://127.0.0.1:4318")
        self._url = url
        self._path = parts.path if parts.path.strip("/") else "/v1/traces"
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        self._connection = kind[parts.scheme](parts.hostname, parts.port, timeout=_TIMEOUT_S)
        self._rate = rate
        self._began = 0.0

    def send(self, run: Run, tell: Tell, progress: Callable[[int], None]) -> None:
        """Send a run.

        Args:
            run: The run.
            tell: Called with the truth about tasks, some sessions at a time.
            progress: Called with the number of spans sent, some at a time.

        Raises:
            TracekitError: The endpoint cannot be reached, or refuses what is sent.
        """
        self._began = time.monotonic()
        first_ns: int | None = None
        for request in run.requests(tell):
            first_ns = request.end_ns if first_ns is None else first_ns
            self._wait(request, first_ns)
            self._post(request.data)
            progress(request.spans)
        self._connection.close()

    def _wait(self, request: Request, first_ns: int) -> None:
        if self._rate is not None:
            due = self._began + (request.end_ns - first_ns) / 1e9 / self._rate
            time.sleep(max(0.0, due - time.monotonic()))

    def _post(self, data: bytes) -> None:
        body = gzip.compress(data, 1)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        for number in range(_TRIES):
            status, wait_s = self._tried(body, headers)
            if status < http.client.BAD_REQUEST and status:
                return
            if status and status not in _AGAIN:
                raise TracekitError(f"{self._url}: the endpoint answered {status}")
            time.sleep(min(wait_s if wait_s is not None else 0.1 * 2**number, _TIMEOUT_S))
        raise TracekitError(f"{self._url}: no success after {_TRIES} tries; is a collector there?")

    def _tried(self, body: bytes, headers: dict[str, str]) -> tuple[int, float | None]:
        """Return the status, 0 for none, and how long to wait where that was said."""
        try:
            self._connection.request("POST", self._path, body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, None
        after = answer.headers.get("Retry-After", "")
        return answer.status, float(after) if after.isdigit() else None
