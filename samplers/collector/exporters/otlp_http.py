"""Requests to an OTLP/HTTP endpoint, as the bytes they are, on connections that are kept."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import math
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from samplers.collector.exporters.delivery import Delivery, Postponed, Refused
from samplers.collector.exporters.otlp_grpc import read_response, retry_seconds
from samplers.collector.exporters.secrets import context, header_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from samplers.collector.settings.exporters import OtlpHttpExporter

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""By the OTLP specification; all other errors are final."""
_GZIP_LEVEL: Final = 1
_MOST_READ: Final = 1 << 20
_REASON_CHARACTERS: Final = 300


class HttpTarget:
    """An OTLP/HTTP endpoint; every thread has a connection of its own."""

    def __init__(
        self, settings: OtlpHttpExporter, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Describe an endpoint; connections are made by the first requests.

        Args:
            settings: Its URL, certificates and header fields.
            wall_clock: Seconds since 1970, against which dates of Retry-After are held.

        Raises:
            UsageError: A certificate or the token cannot be read.
        """
        parts = urlsplit(settings.url)
        path = parts.path if parts.path not in ("", "/") else "/v1/traces"
        self._path = f"{path}?{parts.query}" if parts.query else path
        self._address = (parts.hostname or "", parts.port)
        self._tls = context(settings.tls) if parts.scheme == "https" else None
        self._timeout = settings.timeout
        self._packed = settings.compression == "gzip"
        self._headers = {"content-type": "application/x-protobuf"} | header_fields(settings)
        if self._packed:
            self._headers["content-encoding"] = "gzip"
        self._wall_clock = wall_clock
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()

    def send(self, request: bytes) -> Delivery:
        """Send the bytes of one request."""
        body = gzip.compress(request, _GZIP_LEVEL, mtime=0) if self._packed else request
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException) as error:
            return Postponed(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    def _post(self, body: bytes) -> Delivery:
        connection = self._connection()
        reused = connection.sock is not None
        try:
            return self._exchange(connection, body)
        except ssl.SSLCertVerificationError:
            raise
        except (ConnectionError, http.client.BadStatusLine):
            if not reused:
                raise
            return self._exchange(connection, body)  # the target had closed an idle connection

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> Delivery:
        try:
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
            content = response.read(_MOST_READ)
        except BaseException:
            connection.close()
            raise
        if not response.isclosed():  # more than anybody has to say
            connection.close()
        if 200 <= response.status < 300:  # noqa: PLR2004  success
            return read_response(content)
        reason = _reason(response, content)
        if response.status in _RETRYABLE:
            return Postponed(reason, self._seconds(response.getheader("retry-after"), content))
        return Refused(reason)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            host, port = self._address
            if self._tls is None:
                connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
            else:
                connection = http.client.HTTPSConnection(
                    host, port, timeout=self._timeout, context=self._tls
                )
            self._local.connection = connection
            with self._lock:
                self._open.add(connection)
        return connection

    def _seconds(self, field: str | None, content: bytes) -> float | None:
        """Return how long to wait: seconds or a date in the head, or RetryInfo in the body."""
        if field is None:
            return retry_seconds(content)
        try:
            seconds = float(field)
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(field).timestamp() - self._wall_clock()
            except (TypeError, ValueError):
                return None
        return max(0.0, seconds) if math.isfinite(seconds) else None


def _reason(response: http.client.HTTPResponse, content: bytes) -> str:
    message = ""
    if "protobuf" in (response.getheader("content-type") or ""):
        try:
            message = Status.FromString(content).message
        except DecodeError:
            message = ""
    else:
        message = content.decode("utf-8", "replace").strip()
    return f"{response.status} {response.reason}: {message[:_REASON_CHARACTERS]}".rstrip(": ")
