"""OTLP/HTTP: protobuf and JSON on /v1/traces.

What can be refused is refused by the head of a request, before its body is read. Errors that a
client should come again after are 503 with Retry-After; 429 would do as well by the specification.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from samplers.collector.outcome import Accepted, Malformed, Rejected, RetryLater
from samplers.collector.receivers import messages, tls
from samplers.collector.receivers.auth import Tokens
from samplers.collector.receivers.bodies import ENCODINGS, TooLargeError, from_json, inflate
from samplers.collector.receivers.counts import ReceiverCounts
from samplers.collector.settings.base import split_address
from samplers.collector.web.budget import BudgetExceededError
from samplers.collector.web.messages import HttpError, Response, retry_after
from samplers.collector.web.server import HttpServer, ServerLimits, no_room
from tracekit.errors import InputError, UsageError

if TYPE_CHECKING:
    from samplers.collector.metrics import Registry
    from samplers.collector.outcome import Handler, Outcome
    from samplers.collector.settings.receivers import HttpReceiver
    from samplers.collector.web.body import Body
    from samplers.collector.web.budget import Lease
    from samplers.collector.web.messages import Head

_log = logging.getLogger(__name__)

PATH: Final = "/v1/traces"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_FAILED_SECONDS: Final = 5.0
_ERROR_CODES: Final = {
    HTTPStatus.SERVICE_UNAVAILABLE: messages.UNAVAILABLE,
    HTTPStatus.TOO_MANY_REQUESTS: messages.RESOURCE_EXHAUSTED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: messages.RESOURCE_EXHAUSTED,
    HTTPStatus.UNAUTHORIZED: messages.UNAUTHENTICATED,
}


class HttpServerReceiver:
    """Takes requests over HTTP and hands their bytes on.

    Attributes:
        port: The port it listens on.
    """

    def __init__(self, settings: HttpReceiver, handle: Handler, registry: Registry) -> None:
        """Bind the address; nothing is accepted before `start`.

        Args:
            settings: Address, certificates, limits.
            handle: Takes the bytes of a request, as protobuf; called from many threads.
            registry: Where requests are counted.

        Raises:
            UsageError: The address is taken, or a certificate or token cannot be read.
        """
        self._settings = settings
        self._handle = handle
        self._counts = ReceiverCounts(registry, "http")
        self._tokens = Tokens(secret.read() for secret in settings.tokens)
        host, port = split_address(settings.endpoint)
        context = None if settings.tls is None else tls.context(settings.tls)
        try:
            self._server = HttpServer(host, port, self._answer, _limits(settings), tls=context)
        except OSError as error:
            raise UsageError(
                f"receivers.http: cannot listen on {settings.endpoint} ({error.strerror}): is "
                "another collector running?"
            ) from error
        self.port = self._server.port
        registry.gauge("tracekit_receiver_connections", "Open connections.", ("protocol",)).ask(
            lambda: float(self._server.connections), "http"
        )

    def start(self) -> None:
        """Take requests."""
        self._server.start()

    def stop(self, grace: float) -> None:
        """Take no more requests, and answer those under way.

        Args:
            grace: Seconds they have.
        """
        self._server.stop(grace)

    def _answer(self, head: Head, body: Body, lease: Lease) -> Response:
        as_json = _media_type(head) == JSON
        try:
            encoding = self._admit(head)
            request = self._request(body.read(), encoding, as_json=as_json, lease=lease)
        except HttpError as error:
            self._counts.refused()
            return _error(error, as_json=as_json)
        except BudgetExceededError:
            self._counts.refused()
            return _error(no_room(), as_json=as_json)
        try:
            outcome = self._handle(request)
        except Exception:  # noqa: BLE001  the client keeps the request: it may not have been written
            _log.exception("a request could not be handled")
            self._counts.failed()
            outcome = RetryLater(_FAILED_SECONDS, "internal error", full=False)
        else:
            self._counts.outcome(outcome, len(request))
        return _response(outcome, as_json=as_json)

    def _admit(self, head: Head) -> str:
        """Return the content encoding of a request that may go on by its head."""
        if head.path != PATH:
            raise HttpError(HTTPStatus.NOT_FOUND, f"traces are taken on {PATH}")
        if head.method != "POST":
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "traces are sent by POST")
        if not self._tokens.admits(head.headers.get("authorization")):
            if "authorization" not in head.headers:
                raise HttpError(HTTPStatus.UNAUTHORIZED, "a bearer token is needed")
            raise HttpError(HTTPStatus.FORBIDDEN, "this token is not one of those taken here")
        if _media_type(head) not in (PROTOBUF, JSON):
            raise HttpError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"content-type must be {PROTOBUF} or {JSON}"
            )
        encoding = head.headers.get("content-encoding", "identity").lower()
        if encoding not in ENCODINGS:
            raise HttpError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"content-encoding must be {_choice(ENCODINGS)}"
            )
        return encoding

    def _request(self, body: bytes, encoding: str, *, as_json: bool, lease: Lease) -> bytes:
        limit = self._settings.max_decompressed
        try:
            content = inflate(body, encoding, limit, lease)
            return from_json(content, self._settings.nesting) if as_json else content
        except InputError as error:
            raise HttpError(HTTPStatus.BAD_REQUEST, str(error)) from error
        except TooLargeError:
            raise HttpError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body inflates to more than {limit:,} bytes: send fewer spans a request",
            ) from None


def _limits(settings: HttpReceiver) -> ServerLimits:
    return ServerLimits(
        body_bytes=settings.max_body,
        held_bytes=settings.max_held,
        connections=settings.connections,
        head_seconds=settings.head_timeout,
        body_seconds=settings.body_timeout,
        idle_seconds=settings.idle_timeout,
    )


def _media_type(head: Head) -> str:
    return head.headers.get("content-type", "").partition(";")[0].strip().lower()


def _choice(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _response(outcome: Outcome, *, as_json: bool) -> Response:
    match outcome:
        case Accepted():
            body = messages.ACCEPTED_JSON if as_json else messages.ACCEPTED
        case Rejected():
            made = messages.partial_success_json if as_json else messages.partial_success
            body = made(outcome)
        case Malformed():
            return _error(HttpError(HTTPStatus.BAD_REQUEST, outcome.detail), as_json=as_json)
        case RetryLater():
            error = HttpError(HTTPStatus.SERVICE_UNAVAILABLE, outcome.reason, outcome.seconds)
            return _error(error, as_json=as_json)
    return Response(HTTPStatus.OK, body, JSON if as_json else PROTOBUF)


def _error(error: HttpError, *, as_json: bool) -> Response:
    code = _ERROR_CODES.get(error.status, messages.INVALID_ARGUMENT)
    if as_json:
        body = messages.status_json(code, error.detail)
    else:
        body = messages.status(code, error.detail, error.retry_seconds)
    headers = retry_after(error)
    if error.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "POST"
    if error.status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(error.status, body, JSON if as_json else PROTOBUF, headers)
