"""Seeing what an SDK's HTTP client sends and gets: httpx, and httpx2, which has the same shape."""

from __future__ import annotations

import sys
import weakref
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Final

from tracekit.instrumentation.clients.attempt import CANCELLED, CUT, SITE, Attempt
from tracekit.instrumentation.clients.bodies import Body, Unread, body_for
from tracekit.instrumentation.clients.call import CURRENT, Target
from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.steps import error_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_LIBRARIES: Final = ("httpx2", "httpx")

watched: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""HTTP clients whose `send` is ours."""


class Tap:
    """What is seen of one response on its way to the host.

    Nothing in here raises; after a failure it only looks on.
    """

    __slots__ = ("_attempt", "_body", "_is_broken", "_is_over")

    def __init__(self, attempt: Attempt, body: Body) -> None:
        self._attempt = attempt
        self._body = body
        self._is_over = self._is_broken = False

    def chunk(self, data: bytes) -> None:
        """Look at bytes that are passed on."""
        if self._is_over or self._is_broken:
            return
        reading = self._attempt.reading
        try:
            had_content = reading.has_content
            self._body.feed(data)
            if reading.has_content and not had_content:
                self._attempt.first_chunk()
            if reading.is_over or (reading.error is not None and reading.events):
                self._finish(reading.error)
        except Exception:  # noqa: BLE001 - the host goes on without us
            self._is_broken = True
            failed(SITE)

    def ended(self) -> None:
        """Note that the body ended in good order."""
        self._close(CUT)

    def broke(self, error: BaseException, name: str | None = None) -> None:
        """Note that reading the body failed, or was given up.

        Args:
            error: What was raised.
            name: The provider's name for it.
        """
        if isinstance(error, GeneratorExit):
            self._close(CANCELLED, is_given_up=True)
        else:
            is_given_up = not isinstance(error, Exception)
            self._close(name or error_type(error), is_sure=True, is_given_up=is_given_up)

    def left(self) -> None:
        """Note that the host closed the response, or forgot about it."""
        self._close(CANCELLED, is_given_up=True)

    def _close(self, why: str, *, is_sure: bool = False, is_given_up: bool = False) -> None:
        """End the attempt where nothing ended it yet.

        Args:
            why: What happened to an answer that is not all there.
            is_sure: It happened also where the provider had said why it stopped.
            is_given_up: The host did not want more.
        """
        if self._is_over:
            return
        reading = self._attempt.reading
        try:
            if why == CUT and not self._is_broken:
                self._body.end()
            is_blind = self._is_broken or isinstance(self._body, Unread)
            is_whole = reading.is_stopped or is_blind or (why == CUT and not reading.is_stream)
            self._finish(None if is_whole and not is_sure else why, is_given_up=is_given_up)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(SITE)

    def _finish(self, error: str | None, *, is_given_up: bool = False) -> None:
        self._is_over = True
        attempt, reading = self._attempt, self._attempt.reading
        if attempt.is_bad:
            attempt.done()
        elif error is None and reading.error is None:
            if reading.events:
                attempt.whole()
            attempt.done()
        else:
            # A stream its reader left is no cut one.
            if reading.events and not is_given_up:
                attempt.cut()
            attempt.fail(reading.error or error or CUT)
        attempt.over()


class _Tee:
    """A response's byte stream that is looked at as it is read."""

    def __init__(self, stream: Any, tap: Tap) -> None:
        self._stream = stream
        self._tap = tap
        weakref.finalize(self, tap.left)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _SyncTee(_Tee):
    def __iter__(self) -> Iterator[bytes]:
        tap = self._tap
        try:
            for chunk in self._stream:
                tap.chunk(chunk)
                yield chunk
        except BaseException as error:
            tap.broke(error)
            raise
        tap.ended()

    def close(self) -> None:
        self._tap.left()
        self._stream.close()


class _AsyncTee(_Tee):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        tap = self._tap
        stream = self._stream.__aiter__()
        try:
            async for chunk in stream:
                tap.chunk(chunk)
                yield chunk
        except BaseException as error:
            tap.broke(error)
            raise
        finally:
            if hasattr(stream, "aclose"):
                await stream.aclose()
        tap.ended()

    async def aclose(self) -> None:
        self._tap.left()
        await self._stream.aclose()


@cache
def _tee(library: str, *, is_async: bool) -> type[_Tee]:
    # The library asks whether a stream is one of its own.
    module = sys.modules[library]
    if is_async:
        return type("_AsyncTee", (_AsyncTee, module.AsyncByteStream), {})
    return type("_SyncTee", (_SyncTee, module.SyncByteStream), {})


def _library(response: Any) -> str | None:
    loaded = (name for name in _LIBRARIES if name in sys.modules)
    return next((n for n in loaded if isinstance(response, sys.modules[n].Response)), None)


def _watch(attempt: Attempt, response: Any, *, is_async: bool) -> None:
    headers = response.headers
    attempt.headers(response.status_code, headers)
    kind = headers.get("content-type", "")
    if hasattr(response, "_content"):
        # It has been read already, and its encoding undone.
        body = body_for(attempt.reading, kind, "")
        body.feed(response.content)
        body.end()
        if attempt.reading.has_content:
            attempt.first_chunk()
        attempt.done()
        return
    library = _library(response)
    if library is None or response.is_stream_consumed:
        attempt.done()
        return
    tap = Tap(attempt, body_for(attempt.reading, kind, headers.get("content-encoding", "")))
    response.stream = _tee(library, is_async=is_async)(response.stream, tap)
    attempt.reads()


def _answered(attempt: Attempt, response: Any, *, is_async: bool) -> None:
    try:
        _watch(attempt, response, is_async=is_async)
        if not attempt.is_bad:
            attempt.settle()
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)


def _target(request: Any) -> Target:
    url = request.url
    return Target(request.method.upper(), url.host, url.path)


def _sync_send(send: Any) -> Any:
    @wraps(send)
    def observed(request: Any, *args: Any, **kwargs: Any) -> Any:
        call = CURRENT.get()
        attempt = None if call is None else call.attempt(_target(request))
        if attempt is None:
            return send(request, *args, **kwargs)
        attempt.enter()
        try:
            response = send(request, *args, **kwargs)
        except BaseException as error:
            attempt.raised(error)
            raise
        finally:
            attempt.leave()
        _answered(attempt, response, is_async=False)
        return response

    return observed


def _async_send(send: Any) -> Any:
    @wraps(send)
    async def observed(request: Any, *args: Any, **kwargs: Any) -> Any:
        call = CURRENT.get()
        attempt = None if call is None else call.attempt(_target(request))
        if attempt is None:
            return await send(request, *args, **kwargs)
        attempt.enter()
        try:
            response = await send(request, *args, **kwargs)
        except BaseException as error:
            attempt.raised(error)
            raise
        finally:
            attempt.leave()
        _answered(attempt, response, is_async=True)
        return response

    return observed


def watch(client: Any, *, is_async: bool) -> None:
    """See what an HTTP client sends while a call is current; anything else passes."""
    try:
        if client is None or client in watched:
            return
        client.send = (_async_send if is_async else _sync_send)(client.send)
        watched.add(client)
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)


def unwatch() -> None:
    """Leave all HTTP clients as they were."""
    for client in list(watched):
        vars(client).pop("send", None)
    watched.clear()
