"""Where spans go: to the application's exporter, by the standard variables, or to a local lake."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from host import unconfigured
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tracekit.instrumentation import runtime
from tracekit.instrumentation.scope import session
from tracekit.instrumentation.setup import configure, diagnostics, flush, shutdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with unconfigured():
        yield


def make_span(name: str = "x") -> None:
    with trace.get_tracer("foreign").start_as_current_span(name):
        pass


def exported(memory: InMemorySpanExporter) -> list[str]:
    assert flush()
    return [span.name for span in memory.get_finished_spans()]


def application() -> tuple[TracerProvider, InMemorySpanExporter]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    return provider, memory


def test_application_that_exports(tmp_path: Path) -> None:
    """A provider that already exports gets marks, and no second export, however often asked."""
    _, memory = application()
    configure()
    configure()
    with session("s"):
        make_span()
    assert [dict(span.attributes or {}) for span in memory.get_finished_spans()] == [
        {"tracekit.session.id": "s"}
    ]
    assert not list(tmp_path.iterdir())
    assert "application" in str(diagnostics())


def test_application_that_exports_and_asks_for_more() -> None:
    """An exporter given beside a provider that exports gets the spans as well."""
    _, memory = application()
    ours = InMemorySpanExporter()
    configure(exporter=ours)
    make_span()
    assert (exported(memory), exported(ours)) == (["x"], ["x"])


def test_application_that_exports_and_wants_a_lake(tmp_path: Path) -> None:
    """A lake given beside a provider that exports gets the spans as well."""
    _, memory = application()
    configure(lake=tmp_path / "lake")
    make_span()
    assert exported(memory) == ["x"]
    assert list(tmp_path.glob("lake/inbox/*"))


def test_application_shuts_its_provider_down() -> None:
    """Shutting the provider down exports what has ended, and shuts our export down with it."""
    ours = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    configure(tracer_provider=provider, exporter=ours)
    provider.get_tracer("x").start_span("x").end()
    assert provider.force_flush()
    provider.shutdown()
    provider.get_tracer("x").start_span("late").end()
    assert exported(ours) == ["x"]
    assert diagnostics() == {"tracekit.drop.after_shutdown": 1}


def test_application_that_does_not_export() -> None:
    """A provider without export is given one."""
    provider = TracerProvider(shutdown_on_exit=False)
    ours = InMemorySpanExporter()
    configure(tracer_provider=provider, exporter=ours)
    provider.get_tracer("x").start_span("x").end()
    assert exported(ours) == ["x"]
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_application_decides_what_its_provider_decides(caplog: pytest.LogCaptureFixture) -> None:
    """Service name and sampling of an application's own provider are its own, and we say so."""
    application()
    configure(service_name="x", sample_ratio=0.5)
    assert "sample_ratio and service_name is not used" in caplog.text


class Collector(HTTPServer):
    """Receives OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def server_close(self) -> None:
        """Stop serving, then close."""
        self.shutdown()
        super().server_close()


class Handler(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    server: Collector

    def do_POST(self) -> None:
        """Receive."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.server.headers.append(dict(self.headers))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def names_of(requests: list[ExportTraceServiceRequest]) -> list[str]:
    return [
        span.name
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_otlp_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, headers and resource come from the standard variables."""
    with Collector() as collector:
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=agents")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment=eu")
        configure()
        make_span()
        assert flush()
        assert names_of(collector.requests) == ["x"]
        assert collector.headers[0]["x-team"] == "agents"
        resource = collector.requests[0].resource_spans[0].resource.attributes
        told = {attribute.key: attribute.value.string_value for attribute in resource}
        assert (told["service.name"], told["deployment"]) == ("shop", "eu")
        assert endpoint in str(diagnostics())
        shutdown()


class Service(TraceServiceServicer):
    """Receives OTLP over gRPC."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Receive."""
        del context
        self.requests.append(request)
        return ExportTraceServiceResponse()


def test_otlp_over_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol comes from the standard variables, the one for traces first."""
    service = Service()
    server = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    configure()
    make_span()
    assert flush()
    shutdown()
    server.stop(None).wait()
    assert names_of(service.requests) == ["x"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, "nowhere: OTEL_TRACES_EXPORTER is none"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTLP/HTTP to the default endpoint"),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, "OTLP/HTTP to the default endpoint and con"),
        ({"OTEL_TRACES_EXPORTER": "smoke"}, "nowhere"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1"}, "OTLP/HTTP to http://h:1"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTLP/gRPC to http://h:1",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"},
            "OTLP/HTTP to http://h:1",
        ),
        ({"TRACEKIT_LAKE": "elsewhere"}, "lake elsewhere"),
        ({}, "lake .tracekit"),
    ],
)
def test_destinations(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where spans go follows the environment; a wrong value never stops the application."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    configure()
    assert f"spans go to {said}" in str(diagnostics())


def test_exporter_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the environment makes export impossible, that is told, and what is lost is counted."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    configure()
    make_span()
    assert not flush()
    assert diagnostics() == {"tracekit.drop.export_failed": 1}
    assert "cannot export to OTLP/gRPC" in caplog.text
    assert diagnostics().destination.startswith("nowhere")
    assert runtime.active() is not None


def test_lake(tmp_path: Path) -> None:
    """With nothing said, spans go to a local lake."""
    configure()
    make_span()
    assert flush()
    assert [path.name for path in tmp_path.iterdir()] == [".tracekit"]


class Foreign(trace.TracerProvider):
    """A tracer provider of another make, that takes no processors."""

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        """Return a tracer that does nothing."""
        return trace.NoOpTracer()


def test_provider_of_another_make(caplog: pytest.LogCaptureFixture) -> None:
    """A provider that takes no processors is used as it is, and we say what is missing."""
    trace.set_tracer_provider(Foreign())
    configure()
    make_span()
    assert flush()
    assert "Foreign takes no span processors" in caplog.text
    assert "application" in diagnostics().destination
