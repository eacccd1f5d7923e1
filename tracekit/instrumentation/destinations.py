"""Where spans go: what the application says, the standard OTEL_* variables, or the local lake."""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracekit.instrumentation.export import WORKER
from tracekit.instrumentation.processor import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

log: Final = logging.getLogger("tracekit")

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SDK_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
)


class Destination(NamedTuple):
    """Where spans go.

    Attributes:
        name: For people.
        make: Makes the exporter; None where there is none of ours.
        once: Whether there is one exporter only, which a forked child shares.
        in_lake: Whether it is the local lake.
    """

    name: str
    make: Callable[[], SpanExporter] | None
    once: bool = False
    in_lake: bool = False


def given(exporter: SpanExporter) -> Destination:
    """Return the destination of an exporter the application made."""
    return Destination(type(exporter).__name__, lambda: exporter, once=True)


def to_lake(lake: Path) -> Destination:
    """Return a local lake as destination."""

    def make() -> SpanExporter:
        from tracekit.instrumentation.lake_exporter import LakeExporter  # noqa: PLC0415

        return LakeExporter(lake)

    return Destination(f"lake {lake}", make, in_lake=True)


def from_environment(lake: Path) -> Destination:
    """Return what the OTEL_* variables say, or the local lake where they say nothing.

    Args:
        lake: Folder of the lake.
    """
    names = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",")]
    names = [name for name in names if name]
    if "none" in names:
        return Destination("nowhere: OTEL_TRACES_EXPORTER is none", None)
    if names:
        found = [destination for name in names if (destination := _named(name)) is not None]
        return _together(found) if found else Destination("nowhere: no such exporter", None)
    return _otlp() if _first(_ENDPOINTS) else to_lake(lake)


def exports(processors: Iterable[SpanProcessor]) -> bool:
    """Return whether an application already exports.

    Args:
        processors: Those of its provider. One that does something with ended spans counts as an
            export: spans exported twice are worse than spans the application has to ask for.
    """
    return any(
        not isinstance(processor, Pipeline) and type(processor).on_end is not SpanProcessor.on_end
        for processor in processors
    )


def _first(names: Sequence[str]) -> str:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def _otlp() -> Destination:
    protocol = _first(_PROTOCOLS) or "http/protobuf"
    endpoint = _first(_ENDPOINTS) or "the default endpoint"
    if protocol == "grpc":
        return Destination(f"OTLP/gRPC to {endpoint}", _grpc)
    if protocol != "http/protobuf":
        log.warning(
            "tracekit: %s is %r, but takes grpc or http/protobuf; going on with http/protobuf",
            *(_PROTOCOLS[1], protocol),
        )
    return Destination(f"OTLP/HTTP to {endpoint}", _http)


def _http() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    return OTLPSpanExporter()


def _grpc() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    return OTLPSpanExporter()


def _named(name: str) -> Destination | None:
    """Return an exporter by the name packages register it under."""
    if name == "otlp":
        return _otlp()
    points = entry_points(group="opentelemetry_traces_exporter", name=name)
    if points:
        return Destination(name, partial(_loaded, next(iter(points))))
    log.warning("tracekit: OTEL_TRACES_EXPORTER names %r, which no installed package has", name)
    return None


def _loaded(point: EntryPoint) -> SpanExporter:
    exporter: SpanExporter = point.load()()
    return exporter


class _All(SpanExporter):
    """Several exporters, one after the other."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self._exporters = exporters

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        results = [exporter.export(spans) for exporter in self._exporters]
        failed = SpanExportResult.FAILURE in results
        return SpanExportResult.FAILURE if failed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        for exporter in self._exporters:
            exporter.shutdown()


def _together(found: Sequence[Destination]) -> Destination:
    if len(found) == 1:
        return found[0]
    makes = [destination.make for destination in found if destination.make is not None]
    name = " and ".join(destination.name for destination in found)
    return Destination(name, lambda: _All([make() for make in makes]))


class _OnceInExport(logging.Filter):
    """Lets each message of the SDK's exporters through once, where our thread caused it."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if threading.current_thread().name != WORKER:
            return True
        message = str(record.msg)
        new = message not in self._seen
        self._seen.add(message)
        return new


_filter: Final = _OnceInExport()


def quiet_sdk() -> None:
    """Have the SDK's exporters tell a failure once, instead of at every batch."""
    for name in _SDK_LOGGERS:
        logging.getLogger(name).addFilter(_filter)
