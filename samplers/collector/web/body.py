"""The body of one request, read when it is asked for, by its length or in chunks."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from samplers.collector.web.messages import HttpError
from samplers.collector.web.wire import LongLineError, SlowClientError

if TYPE_CHECKING:
    from samplers.collector.web.budget import Lease
    from samplers.collector.web.messages import Head
    from samplers.collector.web.wire import Wire

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_LINE_BYTES: Final = 1 << 10
_TRAILERS: Final = 64
_SLOW_SECONDS: Final = 1.0


class Body:
    """A body that may still be on its way.

    Attributes:
        finished: Whether nothing of it is left on the connection.
    """

    def __init__(self, wire: Wire, head: Head, lease: Lease, limit: int, deadline: float) -> None:
        self._wire = wire
        self._head = head
        self._lease = lease
        self._limit = limit
        self._deadline = deadline
        self.finished = head.length == 0

    def read(self) -> bytes:
        """Return the whole body.

        Raises:
            HttpError: It is longer than the limit, wrongly chunked, or did not come in time.
            BudgetExceededError: There is no room for it.
            ClientGoneError: The client left before its end.
        """
        if self.finished:
            return b""
        length = self._head.length
        if length is not None and length > self._limit:
            raise self._too_large()
        if self._head.expects_continue:
            self._wire.send(_CONTINUE, self._deadline)
        try:
            data = self._chunks() if length is None else self._exactly(length)
        except SlowClientError:  # not 408, which OTLP clients take for final
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE, "the body took too long to arrive", _SLOW_SECONDS
            ) from None
        except LongLineError:
            raise HttpError(HTTPStatus.BAD_REQUEST, "the body is wrongly chunked") from None
        self.finished = True
        return data

    def _exactly(self, size: int) -> bytes:
        return self._wire.exactly(size, self._deadline, self._lease.take)

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while size := self._chunk_size():
            total += size
            if total > self._limit:
                raise self._too_large()
            parts.append(self._exactly(size))
            if self._line():
                raise HttpError(HTTPStatus.BAD_REQUEST, "a chunk is longer than its size says")
        for _ in range(_TRAILERS):
            if not self._line():
                return b"".join(parts)
        raise LongLineError

    def _chunk_size(self) -> int:
        found = _CHUNK_SIZE.fullmatch(self._line())
        if found is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "the size of a chunk is no hexadecimal number")
        return int(found[1], 16)

    def _line(self) -> bytes:
        return self._wire.until(b"\r\n", _LINE_BYTES, self._deadline)

    def _too_large(self) -> HttpError:
        return HttpError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body is over {self._limit:,} bytes: send fewer spans a request",
        )
