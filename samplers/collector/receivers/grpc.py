"""OTLP/gRPC: generic handlers, so that the bytes of a request arrive as they were sent.

Limits on messages (before and after decompression) and on connections are those of gRPC itself. Its
own limit on requests at a time is not used: it answers RESOURCE_EXHAUSTED without a time to come
again, upon which clients drop what they have. Requests beyond the workers wait, their messages not
yet read.

The method is declared as one with a stream of messages, which on the wire is the same: so the token
is looked at before anything is read, and who sends no message in time is cut off.
"""

from __future__ import annotations

import logging
import time
from concurrent import futures
from typing import TYPE_CHECKING, Final, NoReturn

import grpc

from samplers.collector.outcome import Accepted, Malformed, Rejected, RetryLater
from samplers.collector.receivers import messages, tls
from samplers.collector.receivers.auth import Tokens
from samplers.collector.receivers.counts import ReceiverCounts
from samplers.collector.receivers.deadlines import Deadlines
from samplers.collector.settings.base import split_address
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from samplers.collector.metrics import Registry
    from samplers.collector.outcome import Handler, Outcome
    from samplers.collector.settings.receivers import GrpcReceiver

_log = logging.getLogger(__name__)

SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
STATUS_KEY: Final = "grpc-status-details-bin"
"""Where the specification puts the details of an error."""
RETRY_KEY: Final = "google.rpc.retryinfo-bin"
"""Where OpenTelemetry's Python exporter looks for the time to wait."""

_FAILED_SECONDS: Final = 5.0
_HANDSHAKE_MS: Final = 10_000
_CODES: Final = {
    messages.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    messages.RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    messages.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    messages.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
}


class GrpcServerReceiver:
    """Takes requests over gRPC and hands their bytes on.

    Attributes:
        port: The port it listens on.
    """

    def __init__(self, settings: GrpcReceiver, handle: Handler, registry: Registry) -> None:
        """Bind the address; nothing is accepted before `start`.

        Args:
            settings: Address, certificates, limits.
            handle: Takes the bytes of a request; called from many threads.
            registry: Where requests are counted.

        Raises:
            UsageError: The address is taken, or a certificate or token cannot be read.
        """
        self._handle = handle
        self._counts = ReceiverCounts(registry, "grpc")
        self._tokens = Tokens(secret.read() for secret in settings.tokens)
        self._pool = futures.ThreadPoolExecutor(settings.workers, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._pool,
            options=_options(settings),
            compression=grpc.Compression.NoCompression,
        )
        self._deadlines = Deadlines(settings.message_timeout, time.monotonic)
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(
            self._export
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Export": method}),)
        )
        self.port = self._bind(settings)

    def _bind(self, settings: GrpcReceiver) -> int:
        try:
            if settings.tls is None:
                return self._server.add_insecure_port(_target(settings.endpoint))
            credentials = tls.credentials(settings.tls)
            return self._server.add_secure_port(_target(settings.endpoint), credentials)
        except RuntimeError as error:
            raise UsageError(
                f"receivers.grpc: cannot listen on {settings.endpoint}: is the address of this "
                "machine, and is no other collector running?"
            ) from error

    def start(self) -> None:
        """Take requests."""
        self._deadlines.start()
        self._server.start()

    def stop(self, grace: float) -> None:
        """Take no more requests, and answer those under way.

        Args:
            grace: Seconds they have.
        """
        self._server.stop(grace).wait()
        self._deadlines.stop()
        self._pool.shutdown()

    def _export(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        if self._tokens.required:
            self._authenticate(context)
        self._deadlines.note(context, context.cancel)
        request = next(requests, None)
        self._deadlines.done(context)
        if request is None:
            self._counts.refused()
            _abort(context, messages.INVALID_ARGUMENT, "there is no message")
        outcome = self._handled(request)
        match outcome:
            case Accepted():
                return messages.ACCEPTED
            case Rejected():
                return messages.partial_success(outcome)
            case Malformed():
                return _abort(context, messages.INVALID_ARGUMENT, outcome.detail)
            case RetryLater():
                full = outcome.full
                code = messages.RESOURCE_EXHAUSTED if full else messages.UNAVAILABLE
                return _abort(context, code, outcome.reason, outcome.seconds)

    def _handled(self, request: bytes) -> Outcome:
        try:
            outcome = self._handle(request)
        except Exception:  # noqa: BLE001  the client keeps the request: it may not be written
            _log.exception("a request could not be handled")
            self._counts.failed()
            return RetryLater(_FAILED_SECONDS, "internal error", full=False)
        self._counts.outcome(outcome, len(request))
        return outcome

    def _authenticate(self, context: grpc.ServicerContext) -> None:
        sent = dict(context.invocation_metadata()).get("authorization")
        if not self._tokens.admits(sent if isinstance(sent, str) else None):
            self._counts.refused()
            _abort(context, messages.UNAUTHENTICATED, "a bearer token of this collector is needed")


def _abort(
    context: grpc.ServicerContext, code: int, detail: str, retry_seconds: float | None = None
) -> NoReturn:
    trailers: list[tuple[str, str | bytes]] = [
        (STATUS_KEY, messages.status(code, detail, retry_seconds))
    ]
    if retry_seconds is not None:
        trailers.append((RETRY_KEY, messages.retry_info(retry_seconds).SerializeToString()))
    context.set_trailing_metadata(tuple(trailers))
    context.abort(_CODES[code], detail)
    raise AssertionError  # abort raises


def _target(endpoint: str) -> str:
    host, port = split_address(endpoint)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _options(settings: GrpcReceiver) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message),
        ("grpc.max_allowed_incoming_connections", settings.connections),
        ("grpc.max_concurrent_streams", settings.concurrency),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.so_reuseport", 0),  # two collectors on one port would each get half of a session
    ]
