"""Hooks of the SDKs that Stainless generates: openai and anthropic.

All their requests go through `SyncAPIClient.request` or `AsyncAPIClient.request`, retries inside.
"""

from __future__ import annotations

import sys
from functools import partial, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from tracekit.instrumentation.clients import http
from tracekit.instrumentation.clients.attempt import SITE
from tracekit.instrumentation.clients.call import CURRENT, Call, Target, opened
from tracekit.instrumentation.clients.imports import forget, when_imported
from tracekit.instrumentation.clients.patches import Hooks
from tracekit.instrumentation.runtime import failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SDKS: Final = ("openai", "anthropic")

_COPIES: Final = ("copy", "with_options")


def kind(client: object) -> str | None:
    """Return which of the SDKs a client object is of, or None."""
    loaded = (sdk for sdk in SDKS if sdk in sys.modules)
    return next((sdk for sdk in loaded if isinstance(client, _bases(sdk))), None)


def module(sdk: str) -> str:
    """Return the name of the module with the base of an SDK's clients."""
    return f"{sdk}._base_client"


def _bases(sdk: str) -> tuple[type, type]:
    found = import_module(module(sdk))
    return found.SyncAPIClient, found.AsyncAPIClient


def _open(
    sdk: str, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_async: bool
) -> tuple[Call | None, Any]:
    options = None
    try:
        options = kwargs["options"] if "options" in kwargs else args[1]
        provider = getattr(client, "_gen_ai_provider_name", None)
        call = opened(sdk, client, options.json_data, provider)
        if call is not None:
            http.watch(client._client, is_async=is_async)  # noqa: SLF001 - no public way
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)
        return None, options
    return call, options


def _target(client: Any, options: Any) -> Target:
    """Return where a request would have gone that was never sent."""
    base = client.base_url
    path = str(options.url).partition("?")[0]
    return Target(options.method.upper(), base.host, base.path.rstrip("/") + path)


def _raised(call: Call, client: Any, options: Any, error: BaseException) -> None:
    try:
        call.raised(error, _target(client, options))
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed(SITE)


def _sync(sdk: str, client: Any, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call, options = _open(sdk, client, args, kwargs, is_async=False)
    if call is None:
        return request(*args, **kwargs)
    token = CURRENT.set(call)
    try:
        result = request(*args, **kwargs)
    except BaseException as error:
        _raised(call, client, options, error)
        raise
    finally:
        CURRENT.reset(token)
    call.answered()
    return result


async def _async(
    sdk: str, client: Any, request: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    call, options = _open(sdk, client, args, kwargs, is_async=True)
    if call is None:
        return await request(*args, **kwargs)
    token = CURRENT.set(call)
    try:
        result = await request(*args, **kwargs)
    except BaseException as error:
        _raised(call, client, options, error)
        raise
    finally:
        CURRENT.reset(token)
    call.answered()
    return result


_hooks: Final = {sdk: Hooks() for sdk in SDKS}


def instrument(sdk: str) -> None:
    """Hook all clients of an SDK, those there are and those to come."""
    _hooks[sdk].add_everyone()
    when_imported(module(sdk), partial(_hook, sdk))


def uninstrument() -> None:
    """See the clients that were wrapped only."""
    for sdk, hooks in _hooks.items():
        if hooks.remove_everyone():
            forget(module(sdk))


def _hook(sdk: str) -> None:
    for base, is_async in zip(_bases(sdk), (False, True), strict=True):
        for owner in _owners(base):
            _hooks[sdk].patches.replace(owner, "request", partial(_method, sdk, is_async=is_async))


def _owners(base: type) -> Iterator[type]:
    """Yield a class, and those below it that have a `request` of their own.

    Other instrumentations put one there, which calls the method it found and never comes by here.
    """
    yield base
    below: list[type] = base.__subclasses__()
    while below:
        owner = below.pop()
        below += owner.__subclasses__()
        if "request" in vars(owner):
            yield owner


def _method(sdk: str, function: Any, *, is_async: bool) -> Any:
    hooks = _hooks[sdk]
    if is_async:

        @wraps(function)
        async def request(self: Any, *args: Any, **kwargs: Any) -> Any:
            own = function.__get__(self)
            if self not in hooks:
                return await own(*args, **kwargs)
            return await _async(sdk, self, own, *args, **kwargs)

    else:

        @wraps(function)
        def request(self: Any, *args: Any, **kwargs: Any) -> Any:
            own = function.__get__(self)
            if self not in hooks:
                return own(*args, **kwargs)
            return _sync(sdk, self, own, *args, **kwargs)

    return request


def wrap(sdk: str, client: Any) -> None:
    """Hook one client and the copies it makes of itself."""
    _hook(sdk)
    for owner in type(client).__mro__:
        for name in _COPIES:
            if name in vars(owner):
                _hooks[sdk].patches.replace(owner, name, partial(_copying, sdk))
    _hooks[sdk].add(client)


def _copying(sdk: str, copy: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(copy)
    def copied(self: Any, *args: Any, **kwargs: Any) -> Any:
        client = copy.__get__(self)(*args, **kwargs)
        if _hooks[sdk].has(self):
            _hooks[sdk].add(client)
        return client

    return copied
