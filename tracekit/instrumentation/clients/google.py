"""Hooks of google-genai: `models` and `chats`.

`BaseApiClient` makes all their requests, through whichever HTTP library it was given: calls are
seen at its methods, tries at those it retries.
"""

from __future__ import annotations

import sys
from functools import partial, wraps
from importlib import import_module
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tracekit.instrumentation.clients import interactions
from tracekit.instrumentation.clients.attempt import SITE
from tracekit.instrumentation.clients.bodies import Chunks
from tracekit.instrumentation.clients.call import CURRENT, Call, Target, opened
from tracekit.instrumentation.clients.http import Tap
from tracekit.instrumentation.clients.imports import forget, when_imported
from tracekit.instrumentation.clients.patches import Hooks
from tracekit.instrumentation.runtime import failed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from tracekit.instrumentation.clients.attempt import Attempt

SDK: Final = "google"

MODULE: Final = "google.genai._api_client"
"""Module with the class that is hooked."""

_OK: Final = 200


def kind(client: object) -> str | None:
    """Return `google` for a client of google-genai, sync or async, else None."""
    is_loaded = MODULE in sys.modules
    found = is_loaded and isinstance(getattr(client, "_api_client", None), _base())
    return SDK if found else None


def _base() -> type:
    base: type = import_module(MODULE).BaseApiClient
    return base


_NOWHERE: Final = Target("", "", "")
_PARAMETERS: Final = ("http_method", "path", "request_dict")


def _open(owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Call | None, Target]:
    try:
        given = dict(zip(_PARAMETERS, args, strict=False)) | kwargs
        method, path, body = (given[name] for name in _PARAMETERS)
        base = getattr(owner._http_options, "base_url", None) or ""  # noqa: SLF001 - no public way
        target = Target(method.upper(), urlsplit(base).hostname or "", f"/{path}")
        provider = "gcp.vertex_ai" if owner.vertexai else None
        return opened(SDK, owner, body, provider), target
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)
        return None, _NOWHERE


def _request(owner: Any, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call, target = _open(owner, args, kwargs)
    if call is None:
        return request(*args, **kwargs)
    token = CURRENT.set(call)
    try:
        result = request(*args, **kwargs)
    except BaseException as error:
        call.raised(error, target)
        raise
    finally:
        CURRENT.reset(token)
    call.answered()
    return result


async def _request_async(owner: Any, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call, target = _open(owner, args, kwargs)
    if call is None:
        return await request(*args, **kwargs)
    token = CURRENT.set(call)
    try:
        result = await request(*args, **kwargs)
    except BaseException as error:
        call.raised(error, target)
        raise
    finally:
        CURRENT.reset(token)
    call.answered()
    return result


def _stream(owner: Any, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call, target = _open(owner, args, kwargs)
    chunks = request(*args, **kwargs)
    return chunks if call is None else _chunks(call, target, chunks)


def _chunks(call: Call, target: Target, chunks: Any) -> Generator[Any, None, None]:
    tap: Tap | None = None
    try:
        while True:
            # The request is made when the first chunk is asked for.
            token = CURRENT.set(call)
            try:
                chunk = next(chunks)
            except StopIteration:
                break
            finally:
                CURRENT.reset(token)
                tap = tap or _tap(call)
            _see(tap, chunk)
            yield chunk
    except BaseException as error:
        _broke(call, target, tap, error)
        raise
    finally:
        chunks.close()
    if tap is not None:
        tap.ended()


async def _stream_async(owner: Any, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call, target = _open(owner, args, kwargs)
    if call is None:
        return await request(*args, **kwargs)
    token = CURRENT.set(call)
    try:
        chunks = await request(*args, **kwargs)
    except BaseException as error:
        call.raised(error, target)
        raise
    finally:
        CURRENT.reset(token)
    return _chunks_async(call, target, chunks)


async def _chunks_async(call: Call, target: Target, chunks: Any) -> AsyncGenerator[Any, None]:
    tap = _tap(call)
    try:
        async for chunk in chunks:
            _see(tap, chunk)
            yield chunk
    except BaseException as error:
        _broke(call, target, tap, error)
        raise
    finally:
        await chunks.aclose()
    if tap is not None:
        tap.ended()


def _tap(call: Call) -> Tap | None:
    attempt = call.pending
    if attempt is None:
        return None
    attempt.reads()
    return Tap(attempt, Chunks(attempt.reading))


def _see(tap: Tap | None, chunk: Any) -> None:
    body = getattr(chunk, "body", None)
    if tap is not None and isinstance(body, str):
        tap.chunk(body.encode())


def _broke(call: Call, target: Target, tap: Tap | None, error: BaseException) -> None:
    if tap is not None:
        tap.broke(error, _code(error))
    else:
        call.raised(error, target)


def _code(error: BaseException) -> str | None:
    """Return the provider's name for an error: `RESOURCE_EXHAUSTED`."""
    status = getattr(error, "status", None)
    return status if isinstance(status, str) and status else None


def _attempt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Attempt | None:
    call = CURRENT.get()
    if call is None:
        return None
    try:
        request = args[0] if args else kwargs["http_request"]
        url = urlsplit(request.url)
        return call.attempt(Target(request.method.upper(), url.hostname or "", url.path))
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)
        return None


def _failed(attempt: Attempt, error: BaseException) -> None:
    code = getattr(error, "code", None)
    if isinstance(code, int):
        attempt.headers(code, {})
    attempt.raised(error, _code(error))


def _answered(attempt: Attempt, response: Any) -> None:
    try:
        attempt.headers(_OK, {name.lower(): value for name, value in response.headers.items()})
        body = response.response_stream
        if isinstance(body, list):
            if body and isinstance(body[0], str):
                attempt.reading.document(body[0].encode())
            attempt.done()
            attempt.settle()
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)


def _once(_: Any, send: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    attempt = _attempt(args, kwargs)
    if attempt is None:
        return send(*args, **kwargs)
    attempt.enter()
    token = CURRENT.set(None)  # what the HTTP client sees is this attempt
    try:
        response = send(*args, **kwargs)
    except BaseException as error:
        _failed(attempt, error)
        raise
    finally:
        CURRENT.reset(token)
        attempt.leave()
    _answered(attempt, response)
    return response


async def _once_async(_: Any, send: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    attempt = _attempt(args, kwargs)
    if attempt is None:
        return await send(*args, **kwargs)
    attempt.enter()
    token = CURRENT.set(None)
    try:
        response = await send(*args, **kwargs)
    except BaseException as error:
        _failed(attempt, error)
        raise
    finally:
        CURRENT.reset(token)
        attempt.leave()
    _answered(attempt, response)
    return response


_HOOKS: Final[dict[str, Callable[..., Any]]] = {
    "request": _request,
    "async_request": _request_async,
    "request_streamed": _stream,
    "async_request_streamed": _stream_async,
    "_request_once": _once,
    "_async_request_once": _once_async,
}


_hooks: Final = Hooks()


def instrument() -> None:
    """Hook all clients, those there are and those to come."""
    _hooks.add_everyone()
    when_imported(MODULE, _hook)
    interactions.instrument()


def uninstrument() -> None:
    """See the clients that were wrapped only."""
    if _hooks.remove_everyone():
        forget(MODULE)
    interactions.uninstrument()


def _hook() -> None:
    for name, hook in _HOOKS.items():
        _hooks.patches.replace(_base(), name, partial(_method, hook))


def _method(hook: Callable[..., Any], function: Any) -> Any:
    if iscoroutinefunction(function):

        @wraps(function)
        async def observed_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            own = function.__get__(self)
            if self not in _hooks:
                return await own(*args, **kwargs)
            return await hook(self, own, *args, **kwargs)

        return observed_async

    @wraps(function)
    def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = function.__get__(self)
        return hook(self, own, *args, **kwargs) if self in _hooks else own(*args, **kwargs)

    return observed


def wrap(client: Any) -> None:
    """Hook one client, with its sync and async faces."""
    owner = client._api_client  # noqa: SLF001 - no public way
    _hook()
    _hooks.add(owner)
    interactions.wrap(owner)
