"""Spans of the real Python SDK, by every way in: HTTP, gRPC, and files of each encoding."""

from __future__ import annotations

import gzip
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import grpc
import orjson
import pyarrow as pa
import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from tracekit.importers.detect import open_sources
from tracekit.otlp.scan import scan
from tracekit.otlp.varints import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

RESPONSE = ExportTraceServiceResponse().SerializeToString()


def recorded_spans() -> Sequence[ReadableSpan]:
    """Return a small agent session as the SDK ends it: nested spans, an event, a failed tool."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "support"}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests", "1.0")
    with tracer.start_as_current_span(
        "invoke_agent support",
        attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "c-1"},
    ):
        with tracer.start_as_current_span(
            "chat gpt-4.1-mini",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4.1-mini",
                "gen_ai.response.finish_reasons": ("tool_calls",),
                "gen_ai.usage.input_tokens": 812,
                "gen_ai.usage.output_tokens": 40,
                "note": "Grüße, 世界",
            },
        ):
            pass
        with tracer.start_as_current_span(
            "execute_tool lookup",
            attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"},
        ) as tool:
            tool.record_exception(TimeoutError("no answer"))
            tool.set_status(Status(StatusCode.ERROR, "no answer"))
    provider.shutdown()
    return memory.get_finished_spans()


def sent_over_http(spans: Sequence[ReadableSpan]) -> bytes:
    """Return the body that the OTLP/HTTP exporter posts, inflated."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # name given by http.server
            body = self.rfile.read(int(self.headers["Content-Length"]))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            bodies.append(gzip.decompress(body) if zipped else body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(RESPONSE)))
            self.end_headers()
            self.wfile.write(RESPONSE)

        def log_message(self, *_: Any) -> None:
            """Keep the test's output quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            export(HttpExporter(f"http://127.0.0.1:{server.server_port}/v1/traces"), spans)
        finally:
            server.shutdown()
            thread.join()
    return b"".join(bodies)


def sent_over_grpc(spans: Sequence[ReadableSpan]) -> bytes:
    """Return the messages that the OTLP/gRPC exporter sends."""
    messages: list[bytes] = []

    def receive(message: bytes, _: grpc.ServicerContext) -> bytes:
        messages.append(message)
        return RESPONSE

    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(receive)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        export(GrpcExporter(f"127.0.0.1:{port}", insecure=True), spans)
    finally:
        server.stop(None).wait()
    return b"".join(messages)


def export(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> None:
    exporter.export(spans)
    exporter.shutdown()


def rows(*requests: bytes) -> list[dict[str, object]]:
    """Return the scanned rows of some requests, null columns left out."""
    table = scan(b"".join(requests)).table
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in table.to_pylist()
    ]


@pytest.fixture(scope="module")
def spans() -> Sequence[ReadableSpan]:
    return recorded_spans()


@pytest.fixture(scope="module")
def body(spans: Sequence[ReadableSpan]) -> bytes:
    return sent_over_http(spans)


def test_http_and_grpc_exports_scan_to_the_same_rows(
    spans: Sequence[ReadableSpan], body: bytes
) -> None:
    """What the SDK sends over HTTP and over gRPC is the same session."""
    over_http = rows(body)
    assert over_http == rows(sent_over_grpc(spans))
    assert [row["name"] for row in over_http] == [span.name for span in spans]
    assert over_http[0]["stop_raw"] == "tool_calls"
    assert over_http[1]["error_type"] == "TimeoutError"


def otlp_json(body: bytes) -> bytes:
    """Return a request as OTLP JSON: protobuf's JSON with ids in hexadecimal."""
    message = ExportTraceServiceRequest.FromString(body)
    document = MessageToDict(message, use_integers_for_enums=True)
    originals = [
        span
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    written: Iterator[dict[str, Any]] = (
        span
        for resource in document["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    )
    for original, span in zip(originals, written, strict=True):
        span["traceId"], span["spanId"] = original.trace_id.hex(), original.span_id.hex()
        if original.parent_span_id:
            span["parentSpanId"] = original.parent_span_id.hex()
    return orjson.dumps(document)


def framed(body: bytes) -> bytes:
    """Return a request behind its length as a varint."""
    return varint(len(body)) + body


FILES: dict[str, Callable[[bytes], bytes]] = {
    "spans.pb": lambda body: body,
    "spans.delimited": framed,
    "spans.length-prefixed": lambda body: len(body).to_bytes(4, "big") + body,
    "spans.json": otlp_json,
    "spans.jsonl": lambda body: otlp_json(body) + b"\n",
    "spans.jsonl.gz": lambda body: gzip.compress(otlp_json(body) + b"\n"),
    "spans.pb.zst": lambda body: pa.compress(body, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_encoding_reads_back_to_the_same_rows(
    name: str, body: bytes, tmp_path: Path
) -> None:
    """A file holds what the exporter sent, whatever the encoding and compression."""
    (tmp_path / name).write_bytes(FILES[name](body))
    (source,) = open_sources([str(tmp_path / name)])
    assert rows(*source.chunks()) == rows(body)
