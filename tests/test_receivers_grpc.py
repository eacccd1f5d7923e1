"""OTLP/gRPC in: what the real exporter sends, and what the limits do."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from collector_build import PATIENCE, Sink, authority, sdk_spans
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SpanExportResult
from otlp_build import request, span

from samplers.collector.metrics import Registry
from samplers.collector.outcome import Accepted, Malformed, Rejected, RetryLater
from samplers.collector.receivers.grpc import SERVICE, GrpcServerReceiver
from samplers.collector.settings.receivers import GrpcReceiver, ServerTls
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from samplers.collector.outcome import Handler

BODY = request([span("chat", {"gen_ai.request.model": "gpt-4o", "note": "Grüße"})])
ALONE = ("grpc.use_local_subchannel_pool", 1)
"""Without it, channels of one process share a connection."""


@contextlib.contextmanager
def receiver(handle: Handler, registry: Registry | None = None, **changes: Any) -> Iterator[int]:
    """Run a receiver on any free port."""
    settings = GrpcReceiver.model_validate({"endpoint": "127.0.0.1:0"} | changes)
    server = GrpcServerReceiver(settings, handle, registry or Registry())
    server.start()
    try:
        yield server.port
    finally:
        server.stop(grace=PATIENCE)


def send(channel: grpc.Channel, body: bytes, **arguments: Any) -> bytes:
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Export")
    return method(body, timeout=PATIENCE, **arguments)


@contextlib.contextmanager
def channel_to(
    port: int, credentials: grpc.ChannelCredentials | None = None
) -> Iterator[grpc.Channel]:
    address = f"127.0.0.1:{port}"
    if credentials is None:
        channel = grpc.insecure_channel(address, options=[ALONE])
    else:
        channel = grpc.secure_channel(address, credentials, options=[ALONE])
    with contextlib.closing(channel):
        yield channel


def failure(channel: grpc.Channel, body: bytes, **arguments: Any) -> Any:
    """Return the error a request ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, body, **arguments)
    return caught.value


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_sdk_exporter_is_served(compression: grpc.Compression) -> None:
    """What the SDK's exporter sends arrives as protobuf bytes, and it takes the answer."""
    sink = Sink()
    with receiver(sink) as port:
        exporter = OTLPSpanExporter(f"127.0.0.1:{port}", insecure=True, compression=compression)
        assert exporter.export(sdk_spans(3)) is SpanExportResult.SUCCESS
        exporter.shutdown()
    message = ExportTraceServiceRequest.FromString(sink.requests[0])
    assert len(message.resource_spans[0].scope_spans[0].spans) == 3


@pytest.mark.parametrize(
    "outcome",
    [RetryLater(0.01, "full"), RetryLater(0.01, "draining", full=False), RuntimeError("broken")],
)
def test_sdk_exporter_comes_again(outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's exporter sends a postponed request again, after a fault of ours as well."""
    monkeypatch.setattr("samplers.collector.receivers.grpc._FAILED_SECONDS", 0.01)
    sink = Sink(outcome)
    with receiver(sink) as port:
        exporter = OTLPSpanExporter(f"127.0.0.1:{port}", insecure=True)
        assert exporter.export(sdk_spans(1)) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert len(sink.requests) == 2
    assert sink.requests[0] == sink.requests[1]


def test_bytes_arrive_as_they_were_sent() -> None:
    """The handler gets the bytes of the message themselves, unknown fields and all."""
    odd = BODY + b"\xfa\x3f\x03abc"
    sink = Sink()
    with receiver(sink) as port, channel_to(port) as channel:
        assert send(channel, odd) == b""
        assert send(channel, b"") == b""
    assert sink.requests == [odd, b""]


def test_partial_success_is_said() -> None:
    """Spans that were not taken are counted in the answer of a request that was."""
    with receiver(Sink(Rejected("too old", 2))) as port, channel_to(port) as channel:
        said = ExportTraceServiceResponse.FromString(send(channel, BODY)).partial_success
    assert (said.rejected_spans, said.error_message) == (2, "too old")


@pytest.mark.parametrize(
    ("outcome", "code", "seconds"),
    [
        (Malformed("at byte 7"), grpc.StatusCode.INVALID_ARGUMENT, None),
        (RetryLater(2.5, "journal full"), grpc.StatusCode.RESOURCE_EXHAUSTED, 2.5),
        (RetryLater(1, "draining", full=False), grpc.StatusCode.UNAVAILABLE, 1),
    ],
)
def test_errors_have_their_code_and_details(
    outcome: Any, code: grpc.StatusCode, seconds: float | None
) -> None:
    """Malformed is final; full and away say when to come again, in the status details."""
    with receiver(Sink(outcome)) as port, channel_to(port) as channel:
        error = failure(channel, BODY)
    assert error.code() is code
    details = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert details.message == error.details()
    assert details.code == code.value[0]
    info = RetryInfo()
    waits = [
        info.retry_delay.ToMilliseconds() / 1e3 for detail in details.details if detail.Unpack(info)
    ]
    assert waits == ([] if seconds is None else [seconds])


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_large_messages_are_refused(compression: grpc.Compression) -> None:
    """A message over the limit is refused, by its size after decompression too."""
    sink = Sink()
    with receiver(sink, max_message="1MiB") as port, channel_to(port) as channel:
        error = failure(channel, bytes(32 << 20), compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert send(channel, bytes(1 << 20), compression=compression) == b""
    assert [len(body) for body in sink.requests] == [1 << 20]


def test_tokens_open_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request needs one of the tokens; anything else is UNAUTHENTICATED."""
    monkeypatch.setenv("TEST_TOKEN", "sesame")
    sink = Sink()
    with receiver(sink, tokens=[{"env": "TEST_TOKEN"}]) as port, channel_to(port) as channel:
        for value in ("Bearer x", "Basic sesame", "sesame"):
            error = failure(channel, BODY, metadata=(("authorization", value),))
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert failure(channel, BODY).code() is grpc.StatusCode.UNAUTHENTICATED
        assert not sink.requests
        send(channel, BODY, metadata=(("authorization", "Bearer sesame"),))
    assert sink.requests == [BODY]


def test_further_connections_are_turned_away() -> None:
    """Beyond the limit a client is told to come again, and the ones before it stay served."""
    sink = Sink()
    with receiver(sink, connections=1) as port, channel_to(port) as first:
        send(first, BODY)
        with channel_to(port) as second:
            assert failure(second, BODY).code() is grpc.StatusCode.UNAVAILABLE
        send(first, BODY)
    assert len(sink.requests) == 2


def test_taken_address_is_named() -> None:
    """A second receiver on one address is an error that names the address."""
    with (
        receiver(Sink()) as port,
        pytest.raises(UsageError, match=rf"cannot listen on 127\.0\.0\.1:{port}"),
        receiver(Sink(), endpoint=f"127.0.0.1:{port}"),
    ):
        pass


def test_tls_and_client_certificates(tmp_path: Path) -> None:
    """Over TLS requests arrive, and with an authority of clients, only from those it signed."""
    ours = authority(tmp_path)
    (tmp_path / "strangers").mkdir()
    strangers = authority(tmp_path / "strangers")
    server, client, stranger = (
        ours.issue("server"),
        ours.issue("client"),
        strangers.issue("stranger"),
    )
    tls = ServerTls(certificate=server.certificate, key=server.key, client_ca=ours.ca)
    sink = Sink()

    def credentials(party: Any) -> grpc.ChannelCredentials:
        pair = (party.key.read_bytes(), party.certificate.read_bytes()) if party else (None, None)
        return grpc.ssl_channel_credentials(ours.ca.read_bytes(), *pair)

    with receiver(sink, tls=tls) as port:
        with channel_to(port, credentials(client)) as channel:
            send(channel, BODY)
        for unknown in (None, stranger):
            with channel_to(port, credentials(unknown)) as channel:
                assert failure(channel, BODY).code() is grpc.StatusCode.UNAVAILABLE
        with channel_to(port) as channel:
            assert failure(channel, BODY).code() is grpc.StatusCode.UNAVAILABLE
    assert sink.requests == [BODY]


def test_requests_are_counted() -> None:
    """Every request is counted once, by what became of it."""
    registry = Registry()
    sink = Sink(Accepted(), Malformed("x"), Rejected("y", 1))
    with receiver(sink, registry) as port, channel_to(port) as channel:
        send(channel, BODY)
        failure(channel, BODY)
        send(channel, BODY)
    text = registry.text()
    for result in ("accepted", "malformed", "partial"):
        assert f'requests_total{{protocol="grpc",result="{result}"}} 1\n' in text
    assert f'tracekit_receiver_bytes_total{{protocol="grpc"}} {3 * len(BODY)}\n' in text


def test_slow_message_is_cut_off() -> None:
    """A client that opens a call and sends nothing holds up the others for a while at most."""
    sink = Sink()
    with (
        receiver(sink, workers=1, message_timeout="50ms") as port,
        channel_to(port) as channel,
        channel_to(port) as other,
    ):
        stream: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
            f"/{SERVICE}/Export"
        )
        never = threading.Event()
        call = stream.future(iter(never.wait, True), timeout=PATIENCE)  # type: ignore[arg-type]
        assert call.code() is grpc.StatusCode.CANCELLED
        assert send(other, BODY) == b""
        never.set()
    assert sink.requests == [BODY]


def test_call_without_a_message_is_malformed() -> None:
    """A call that ends without a message is refused for good."""
    with receiver(Sink()) as port, channel_to(port) as channel:
        stream: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
            f"/{SERVICE}/Export"
        )
        with pytest.raises(grpc.RpcError, match="there is no message"):
            stream(iter(()), timeout=PATIENCE)


def test_more_requests_than_workers_wait() -> None:
    """Requests beyond the workers are not refused: they wait their turn."""
    sink = Sink()
    with receiver(sink, workers=1) as port, channel_to(port) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/{SERVICE}/Export"
        )
        calls = [method.future(BODY, timeout=PATIENCE) for _ in range(200)]
        assert [call.result() for call in calls] == [b""] * 200
    assert len(sink.requests) == 200
