"""HTTP/1.1 requests and responses as bytes, read strictly: what is ambiguous is refused."""

from __future__ import annotations

import dataclasses
import re
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE: Final = re.compile(rb"(%s) ([!-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_FIELD: Final = re.compile(rb"(%s):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*" % _TOKEN)
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_ONCE: Final = frozenset(
    {"authorization", "content-encoding", "content-length", "content-type", "transfer-encoding"}
)
"""Fields of which a second one would leave open which of the two counts."""


class HttpError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The status of the answer.
        detail: What was wrong.
        retry_seconds: When the same request is welcome again; None where it never is.
    """

    def __init__(self, status: HTTPStatus, detail: str, retry_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_seconds = retry_seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """The first part of a request.

    Attributes:
        method: In capitals, as it came.
        path: Without the query.
        headers: By name in lower case; the values of repeated fields joined by commas.
        version: Minor version of HTTP/1.
        length: Bytes of the body; None where it comes in chunks.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    version: int
    length: int | None

    @property
    def keep_alive(self) -> bool:
        """Whether the client means to go on with this connection."""
        wish = self.headers.get("connection", "").lower()
        return "keep-alive" in wish if self.version == 0 else "close" not in wish

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"


def parse_head(data: bytes) -> Head:
    """Read the head of a request.

    Args:
        data: From the request line up to the empty line, without it.

    Raises:
        HttpError: It is not HTTP/1.x, or not unambiguous.
    """
    line, *fields = data.split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "no request line of HTTP/1.1")
    method, target, major, minor = (part.decode("ascii") for part in found.groups())
    if major != "1":
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
    headers = _headers(fields)
    return Head(method, target.partition("?")[0], headers, int(minor), _length(headers))


def _headers(fields: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for field in fields:
        found = _FIELD.fullmatch(field)
        if found is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "a header field is malformed")
        name = found[1].decode("ascii").lower()
        value = found[2].decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} is given twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None:  # the classic of request smuggling
            raise HttpError(
                HTTPStatus.BAD_REQUEST, "both content-length and transfer-encoding are given"
            )
        if coding.lower() != "chunked":
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "of transfer codings, only chunked is read")
        return None
    if length is None:
        return 0
    if not _DIGITS.fullmatch(length):
        raise HttpError(HTTPStatus.BAD_REQUEST, "content-length is no number")
    return int(length)


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        status: Its status.
        body: Its content.
        content_type: Of what type that is.
        headers: Further fields.
    """

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def encode(self, *, keep_alive: bool) -> bytes:
        """Return the bytes of the answer, which say whether the connection stays."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        if not keep_alive:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def plain(error: HttpError) -> Response:
    """Return an error as text."""
    return Response(error.status, f"{error.detail}\n".encode(), headers=retry_after(error))


def retry_after(error: HttpError) -> dict[str, str]:
    """Return the field that says when to come again: whole seconds, rounded up, at least one."""
    if error.retry_seconds is None:
        return {}
    return {"Retry-After": str(max(1, -int(-error.retry_seconds // 1)))}
