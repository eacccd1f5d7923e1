"""One request of a model call: what was sent, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import attach

from tracekit.instrumentation import calls, names
from tracekit.instrumentation.around import detach
from tracekit.instrumentation.clients.apis import Api, hosts
from tracekit.instrumentation.clients.reading import UNNAMED, Reading
from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.steps import error_type

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    from opentelemetry.context import Context

    from tracekit.instrumentation.clients.call import Call

SITE: Final = "clients"
"""The place by which failures of this part are told apart."""

CANCELLED: Final = "cancelled"
"""Error type of a stream its reader left before its end."""

CUT: Final = "stream_error"
"""Error type of a stream that ended in good order, but too early."""

_BAD_STATUS: Final = 400


class Attempt:
    """One request of a call, from the sending to the end of its answer.

    Attributes:
        reading: What the answer says.
        start_ns: When it was sent.
        end_ns: When it ended.
        error: What it failed with, or None.
    """

    __slots__ = (
        "_call", "_is_ended", "_llm", "_number", "_request_id", "_status", "_token", "_wait_s",
        "end_ns", "error", "reading", "start_ns",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - each is one thing to know about a request
        self,
        call: Call,
        llm: calls.LlmCall,
        api: Api,
        *,
        number: int,
        start_ns: int,
        wait_s: float | None,
    ) -> None:
        self._call = call
        self._llm = llm
        self._number = number
        self._wait_s = wait_s
        self._status: int | None = None
        self._request_id: str | None = None
        self._is_ended = False
        self._token: Token[Context] | None = None
        self.reading = Reading(api)
        self.start_ns = self.end_ns = start_ns
        self.error: str | None = None

    @property
    def is_bad(self) -> bool:
        """Whether the status says that the request failed."""
        return self._status is not None and self._status >= _BAD_STATUS

    @property
    def is_ended(self) -> bool:
        """Whether it is over."""
        return self._is_ended

    def enter(self) -> None:
        """Make the call's span current: what the HTTP client traces is part of it."""
        if self._llm.span is not None:
            self._token = attach(self._llm.context)

    def leave(self) -> None:
        """Make what was current before current again."""
        if self._token is not None:
            detach(self._token)
            self._token = None

    def headers(self, status: int, headers: Mapping[str, str]) -> None:
        """Note the status and headers of the answer."""
        self._status = status
        known = hosts()
        ids = (headers.get(name) for name in known.request_id)
        self._request_id = next(filter(None, ids), None)
        gateway = next((name for header, name in known.headers if header in headers), None)
        if gateway is not None:
            self._llm.set(names.GATEWAY, gateway)
        costs = (headers.get(name) for name in known.cost)
        cost = next(filter(None, costs), None)
        if cost is not None:
            self._llm.set(names.COST_REPORTED, float(cost))

    def first_chunk(self) -> None:
        """Note that content begins to arrive."""
        now_ns = self._call.now()
        self._llm.first_chunk(now_ns)
        # Since the request that was answered, not since the first of several.
        self._llm.set(names.TIME_TO_FIRST_CHUNK, (now_ns - self.start_ns) / 1e9)

    def done(self) -> None:
        """Note that the answer was read to its end."""
        reading = self.reading
        if self.is_bad:
            code = None if reading.error == UNNAMED else reading.error
            self.fail(code or str(self._status))
        elif reading.error is not None and not reading.is_stopped:
            # Gateways refuse requests with status 200 as well.
            self.fail(reading.error)
        else:
            self._end()

    def fail(self, error: str) -> None:
        """Note that the request failed."""
        if not self._is_ended:
            self.error = error
            self._end()

    def raised(self, error: BaseException, name: str | None = None) -> None:
        """Note what the HTTP client raised.

        Args:
            error: What was raised.
            name: The provider's name for it.
        """
        try:
            self.fail(name or error_type(error))
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(SITE)

    def over(self) -> None:
        """End the call with this attempt, which the host was reading."""
        self._call.is_streaming = False
        if self.error is None:
            self._call.answered()
        elif not self.is_bad:
            # After a bad status the SDK goes on: it tries again, or raises.
            self._call.fail_with(self.error)

    def cut(self) -> None:
        """Note that the stream did not come to its end."""
        self._llm.stream(complete=False)

    def whole(self) -> None:
        """Note that the stream came to its end."""
        self._llm.stream(complete=True)

    def reads(self) -> None:
        """Note that the host reads the answer by itself."""
        self._call.is_streaming = True

    def _end(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self.end_ns = self._call.now()
        if not self.is_bad:
            self.reading.tell(self._llm, is_whole=self.error is None)
        tried = calls.Attempt(
            number=self._number,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            wait_s=self._wait_s,
            http_status=self._status,
            error_type=self.error,
            request_id=self._request_id,
        )
        self._llm.attempt(tried)

    def settle(self) -> None:
        """See `Call.settle`."""
        self._call.settle()
