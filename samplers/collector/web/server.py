"""The server: a thread per connection, as many as are allowed.

Threads, not an event loop: what a request costs (reading it, scanning it, writing it to the
journal) happens in calls that release the interpreter, and a blocked disk blocks one client.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import selectors
import socket
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from samplers.collector.web.body import Body
from samplers.collector.web.budget import Budget, BudgetExceededError, Lease
from samplers.collector.web.messages import Head, HttpError, Response, parse_head, plain
from samplers.collector.web.wire import ClientGoneError, LongLineError, SlowClientError, Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Application = Callable[[Head, Body, Lease], Response]

_log = logging.getLogger(__name__)

HEAD_BYTES: Final = 16 << 10
_BACKLOG: Final = 128
_LINGER_SECONDS: Final = 2.0
_BUSY_SECONDS: Final = 1.0
"""What clients are told to wait that found no connection or no room free."""


@dataclasses.dataclass(frozen=True, slots=True)
class ServerLimits:
    """What clients may take.

    Attributes:
        body_bytes: Bytes of one body as it is sent.
        held_bytes: Bytes of all requests that are being read, sent and decompressed together.
        connections: Connections at a time.
        head_seconds: Until the head of a request is there, from its first byte.
        body_seconds: Until its body is there, and again until its answer is taken.
        idle_seconds: Between two requests.
    """

    body_bytes: int = 16 << 20
    held_bytes: int = 512 << 20
    connections: int = 256
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 120.0


class HttpServer:
    """Serves one address until it is stopped."""

    def __init__(  # noqa: PLR0913  the rest are keyword-only details
        self,
        host: str,
        port: int,
        application: Application,
        limits: ServerLimits,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind the address; nothing is accepted before `start`.

        Args:
            host: Address to listen on.
            port: Port, or 0 for any.
            application: Answers requests; called from many threads.
            limits: What clients may take.
            tls: Encrypts the connections.
            clock: Seconds, for deadlines.

        Raises:
            OSError: The address is not to be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._application = application
        self._limits = limits
        self._tls = tls
        self._clock = clock
        self._budget = Budget(limits.held_bytes)
        self._lock = threading.Lock()
        self._idle: dict[Wire, bool] = {}
        self._threads: set[threading.Thread] = set()
        self._stopping = False
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name=f"accept-{self.port}")
        self._acceptor.daemon = True

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._threads)

    def start(self) -> None:
        """Accept clients."""
        self._acceptor.start()

    def stop(self, grace: float) -> None:
        """Accept nobody more, answer what is being read, and end every connection.

        Args:
            grace: Seconds for requests that are under way.
        """
        deadline = self._clock() + grace
        with self._lock:
            self._stopping = True
            waiting = [wire for wire, idle in self._idle.items() if idle]
        self._wake.close()
        if self._acceptor.ident is not None:
            self._acceptor.join()
        self._listener.close()
        self._woken.close()
        for wire in waiting:
            wire.stop_reading()
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - self._clock()))
        for wire in list(self._idle):
            wire.stop_reading()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    return
                with contextlib.suppress(OSError):
                    self._admit(self._listener.accept()[0])

    def _admit(self, sock: socket.socket) -> None:
        if len(self._threads) >= self._limits.connections:
            self._turn_away(sock)
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._run, args=(sock,), name=f"http-{self.port}")
        thread.daemon = True
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads to be had
            self._threads.discard(thread)
            self._turn_away(sock)

    def _turn_away(self, sock: socket.socket) -> None:
        error = HttpError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"all {self._limits.connections} connections are taken",
            _BUSY_SECONDS,
        )
        with contextlib.closing(sock), contextlib.suppress(OSError):
            if self._tls is None:
                sock.setblocking(False)  # nobody is waited for here
                sock.send(plain(error).encode(keep_alive=False))
                sock.shutdown(socket.SHUT_WR)
                sock.recv(HEAD_BYTES)  # unread bytes would make the close a reset

    def _run(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock.settimeout(self._limits.head_seconds)
                sock = self._tls.wrap_socket(sock, server_side=True)
            wire = Wire(sock, self._clock)
            try:
                self._converse(wire)
            finally:
                self._idle.pop(wire, None)
        except (OSError, ClientGoneError) as error:
            _log.debug("a connection ended early: %s", error)
        finally:
            sock.close()
            self._threads.discard(threading.current_thread())

    def _converse(self, wire: Wire) -> None:
        while self._next(wire):
            try:
                head = self._head(wire)
            except HttpError as error:
                self._last_word(wire, plain(error))
                return
            with Lease(self._budget) as lease:
                body = Body(wire, head, lease, self._limits.body_bytes, self._until_body_end())
                response = self._answer(head, body, lease)
                if not body.finished:
                    self._last_word(wire, response)
                    return
                keep_alive = head.keep_alive and not self._stopping
                wire.send(response.encode(keep_alive=keep_alive), self._until_body_end())
            if not keep_alive:
                return

    def _next(self, wire: Wire) -> bool:
        """Wait for another request; false where there will be none."""
        with self._lock:
            if self._stopping:
                return False
            self._idle[wire] = True
        try:
            return wire.wait(self._clock() + self._limits.idle_seconds)
        except SlowClientError:
            return False
        finally:
            self._idle[wire] = False

    def _head(self, wire: Wire) -> Head:
        deadline = self._clock() + self._limits.head_seconds
        try:
            return parse_head(wire.until(b"\r\n\r\n", HEAD_BYTES, deadline))
        except LongLineError:
            raise HttpError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the head of a request may have {HEAD_BYTES:,} bytes",
            ) from None
        except SlowClientError:
            raise HttpError(
                HTTPStatus.REQUEST_TIMEOUT, "the head of the request took too long"
            ) from None

    def _until_body_end(self) -> float:
        return self._clock() + self._limits.body_seconds

    def _answer(self, head: Head, body: Body, lease: Lease) -> Response:
        try:
            return self._application(head, body, lease)
        except ClientGoneError:
            raise
        except HttpError as error:
            return plain(error)
        except BudgetExceededError:
            return plain(no_room())
        except Exception:  # noqa: BLE001  one request must not end the connection thread
            _log.exception("a request could not be answered")
            return plain(HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "internal error", _BUSY_SECONDS))

    def _last_word(self, wire: Wire, response: Response) -> None:
        """Answer a request of which more may be on its way."""
        wire.send(response.encode(keep_alive=False), self._until_body_end())
        wire.linger(self._clock() + _LINGER_SECONDS)


def no_room() -> HttpError:
    """Return the error of a request for which there is no memory now."""
    return HttpError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "too many bytes of other requests are being read",
        _BUSY_SECONDS,
    )
