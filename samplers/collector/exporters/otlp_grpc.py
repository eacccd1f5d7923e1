"""Requests to an OTLP/gRPC endpoint, as the bytes they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from samplers.collector.exporters.delivery import Delivered, Delivery, Postponed, Refused
from samplers.collector.exporters.secrets import client_files, header_fields

if TYPE_CHECKING:
    from samplers.collector.settings.exporters import OtlpGrpcExporter

METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
    }
)
"""By the OTLP specification; RESOURCE_EXHAUSTED only where the target says when to come again."""
_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # retries are the queue's, which counts them
    ("grpc.use_local_subchannel_pool", 1),  # exporters to one host stay independent
)


class GrpcTarget:
    """An OTLP/gRPC endpoint."""

    def __init__(self, settings: OtlpGrpcExporter) -> None:
        """Describe an endpoint; the connection is made by the first request.

        Args:
            settings: Its address, certificates and header fields.

        Raises:
            UsageError: A certificate or the token cannot be read.
        """
        self._timeout = settings.timeout
        self._metadata = tuple(
            (name.lower(), value) for name, value in header_fields(settings).items()
        )
        gzip = settings.compression == "gzip"
        self._channel = _channel(settings)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(METHOD)
        self._compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression

    def send(self, request: bytes) -> Delivery:
        """Send the bytes of one request."""
        try:
            answer = self._export(
                request,
                timeout=self._timeout,
                metadata=self._metadata,
                compression=self._compression,
            )
        except grpc.RpcError as error:
            return _failure(error)
        except ValueError:
            return Postponed("the connection is closed")
        return read_response(answer)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def _channel(settings: OtlpGrpcExporter) -> grpc.Channel:
    if settings.insecure:
        return grpc.insecure_channel(settings.endpoint, options=_OPTIONS)
    ca, key, certificate = client_files(settings.tls)
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.secure_channel(settings.endpoint, credentials, options=_OPTIONS)


def read_response(answer: bytes) -> Delivery:
    """Return what an `ExportTraceServiceResponse` says."""
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:  # it was taken: the status said so
        return Delivered()
    return Delivered(partial.rejected_spans, partial.error_message)


def retry_seconds(details: bytes) -> float | None:
    """Return when a `google.rpc.Status` wants a request again; None where it does not say."""
    info = RetryInfo()
    try:
        for detail in Status.FromString(details).details:
            if detail.Unpack(info):
                return max(0.0, float(info.retry_delay.ToNanoseconds()) / 1e9)
    except DecodeError:
        pass
    return None


def _failure(error: grpc.RpcError) -> Delivery:
    call = cast("grpc.Call", error)  # what stubs raise is both
    reason = f"{call.code().name}: {call.details()}"
    details = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    seconds = retry_seconds(details) if isinstance(details, bytes) else None
    exhausted = call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and seconds is not None
    if call.code() in _RETRYABLE or exhausted:
        return Postponed(reason, seconds)
    return Refused(reason)
