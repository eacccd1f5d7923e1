"""Whether the collector lives, whether it takes requests, and its metrics, over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from samplers.collector.metrics import CONTENT_TYPE
from samplers.collector.settings.base import split_address
from samplers.collector.web.messages import HttpError, Response
from samplers.collector.web.server import HttpServer, ServerLimits
from tracekit.errors import TracekitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from samplers.collector.metrics import Registry
    from samplers.collector.settings.storage import HealthSettings
    from samplers.collector.web.body import Body
    from samplers.collector.web.budget import Lease
    from samplers.collector.web.messages import Head

    Probe = Callable[[], str | None]

_LIMITS: Final = ServerLimits(
    body_bytes=1 << 16,
    held_bytes=1 << 20,
    connections=16,
    head_seconds=5.0,
    body_seconds=5.0,
    idle_seconds=30.0,
)


class HealthServer:
    """Answers /live, /ready and /metrics, and takes /keep.

    Attributes:
        port: The port it listens on.
    """

    def __init__(
        self,
        settings: HealthSettings,
        registry: Registry,
        live: Probe,
        ready: Probe,
        *,
        keep: Callable[[str], str] | None = None,
    ) -> None:
        """Bind the address; nothing is accepted before `start`.

        Args:
            settings: Address.
            registry: What /metrics shows.
            live: Returns what is wrong with the process, so that it should be restarted; or None.
            ready: Returns why no requests are taken now; or None.
            keep: Keeps a dropped session after all, and returns what to say about it.

        Raises:
            UsageError: The address is taken.
        """
        self._registry = registry
        self._keep = keep
        self._probes = {"/live": live, "/ready": ready}
        host, port = split_address(settings.endpoint)
        try:
            self._server = HttpServer(host, port, self._answer, _LIMITS)
        except OSError as error:
            raise UsageError(
                f"health: cannot listen on {settings.endpoint} ({error.strerror}): choose another "
                "health.endpoint"
            ) from error
        self.port = self._server.port

    def start(self) -> None:
        """Answer."""
        self._server.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop(grace=1.0)

    def _answer(self, head: Head, body: Body, _lease: Lease) -> Response:
        if head.path == "/keep" and head.method == "POST" and self._keep is not None:
            if "origin" in head.headers:
                raise HttpError(HTTPStatus.FORBIDDEN, "no page in a browser may ask for this")
            try:
                said = self._keep(body.read().decode(errors="replace").strip())
            except TracekitError as error:
                return Response(HTTPStatus.CONFLICT, f"{error}\n".encode())
            return Response(HTTPStatus.OK, f"{said}\n".encode())
        if head.method != "GET":
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered")
        if head.path == "/metrics":
            return Response(HTTPStatus.OK, self._registry.text().encode(), CONTENT_TYPE)
        probe = self._probes.get(head.path)
        if probe is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "there are /live, /ready, /metrics and /keep")
        wrong = probe()
        if wrong is None:
            return Response(HTTPStatus.OK, b"ok\n")
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{wrong}\n".encode())
