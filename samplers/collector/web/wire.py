"""One connection of a client: bytes in and out, each read with a deadline and a limit.

Without TLS, a body is one call into the kernel (MSG_WAITALL with a receive timeout): a thread that
would wake up for every few kilobytes contends for the interpreter with all others.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_READ: Final = 1 << 16
_PIECE: Final = 1 << 22
"""Most bytes allocated for a claim before any of them has come."""
_LINGER_BYTES: Final = 1 << 26


class ClientGoneError(Exception):
    """The client closed the connection, or broke it."""


class SlowClientError(Exception):
    """The client did not send in time."""


class LongLineError(Exception):
    """What should end within a limit does not."""


class Wire:
    """A connected socket with what was read from it and not yet used."""

    def __init__(self, sock: socket.socket, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._clock = clock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._buffer = bytearray()

    def wait(self, deadline: float) -> bool:
        """Wait for the first byte of what comes next; false where the client is done.

        Raises:
            SlowClientError: Nothing came.
        """
        if not self._buffer:
            self._buffer += self._receive(_FIRST_READ, deadline)
        return bool(self._buffer)

    def until(self, end: bytes, limit: int, deadline: float) -> bytes:
        """Consume bytes up to an end mark, and return them without it.

        Raises:
            LongLineError: The mark is not within `limit` bytes.
            ClientGoneError: The connection ended before it.
            SlowClientError: It did not come in time.
        """
        seen = 0
        while (at := self._buffer.find(end, seen)) < 0:
            if len(self._buffer) > limit:
                raise LongLineError
            seen = max(0, len(self._buffer) - len(end) + 1)
            self._buffer += self._some(_FIRST_READ, deadline, whole=False)
        if at > limit:
            raise LongLineError
        line = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return line

    def exactly(self, size: int, deadline: float, reserve: Callable[[int], None]) -> bytes:
        """Consume and return so many bytes.

        Args:
            size: How many; it may be a client's claim.
            deadline: When all must be there.
            reserve: Called with the size of each piece before it is allocated.

        Raises:
            ClientGoneError: The connection ended before.
            SlowClientError: They did not come in time.
        """
        reserve(min(size, len(self._buffer)))
        parts = [bytes(self._buffer[:size])]
        del self._buffer[:size]
        missing = size - len(parts[0])
        while missing:
            piece = min(missing, _PIECE)
            reserve(piece)
            while piece:
                part = self._some(piece, deadline, whole=True)
                parts.append(part)
                piece -= len(part)
                missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def send(self, data: bytes, deadline: float) -> None:
        """Send everything.

        Raises:
            ClientGoneError: The client is not there any more, or does not read.
        """
        left = max(deadline - self._clock(), 0.001)
        try:
            if self._tls:
                self._sock.settimeout(left)
            else:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(left))
            self._sock.sendall(data)
        except OSError as error:
            raise ClientGoneError from error

    def stop_reading(self) -> None:
        """Let a thread that waits for this client find the connection ended."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def linger(self, deadline: float) -> None:
        """Read away what the client still sends: closing before would take our answer from it."""
        left = _LINGER_BYTES
        with contextlib.suppress(OSError, SlowClientError):
            if not self._tls:
                self._sock.shutdown(socket.SHUT_WR)
            while left > 0 and (data := self._receive(_FIRST_READ, deadline)):
                left -= len(data)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _some(self, size: int, deadline: float, *, whole: bool) -> bytes:
        data = self._receive(size, deadline, whole=whole)
        if not data:
            raise ClientGoneError
        return data

    def _receive(self, size: int, deadline: float, *, whole: bool = False) -> bytes:
        left = deadline - self._clock()
        if left <= 0:
            raise SlowClientError
        try:
            if self._tls:
                self._sock.settimeout(left)
                return self._sock.recv(size)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(left))
            return self._sock.recv(size, socket.MSG_WAITALL if whole else 0)
        except (BlockingIOError, TimeoutError) as error:
            raise SlowClientError from error
        except OSError:
            return b""


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, max(1, int((seconds - whole) * 1e6)))
