"""The context kept where Python itself drops it: in other threads, executors and processes.

asyncio keeps it by itself in tasks, task groups and `to_thread`; `run_in_executor` goes through
`submit`, as `map` does.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.scope import into, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")

_W3C: Final = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
_FIELDS: Final = ("traceparent", "tracestate", "baggage")


def headers(context: Context | None = None) -> dict[str, str]:
    """Return a context as W3C headers, the session included, whether or not it is propagated.

    Args:
        context: The context; the current one.
    """
    context = get_current() if context is None else context
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, into(context, scope_of(context), propagate=True))
    return carrier


def restored(carrier: Mapping[str, str]) -> Context:
    """Return the context W3C headers tell of."""
    return _W3C.extract(carrier, Context())


def environment() -> dict[str, str]:
    """Return the current context as environment variables for a process to start.

    The process takes it up at its `tracekit.configure()`:

        subprocess.run(command, env={**os.environ, **tracekit.environment()})
    """
    return {name.upper(): value for name, value in headers().items()}


def from_environment() -> Context:
    """Return the context this process was started in; an empty one where it was told of none."""
    told = {name: os.environ.get(name.upper(), "") for name in _FIELDS}
    return restored({name: value for name, value in told.items() if value})


class _Carried:
    """A callable in the context it was carried from; pickled, it takes the context along."""

    __slots__ = ("__wrapped__", "_context")

    def __init__(self, function: Callable[..., Any], context: Context) -> None:
        self.__wrapped__ = function
        self._context = context

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = attach(self._context)
        try:
            return self.__wrapped__(*args, **kwargs)
        finally:
            detach(token)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.__wrapped__, headers(self._context))


class _CarriedAsync(_Carried):
    __slots__ = ()

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = attach(self._context)
        try:
            return await self.__wrapped__(*args, **kwargs)
        finally:
            detach(token)


def _unpickled(
    kind: type[_Carried], function: Callable[..., Any], carrier: dict[str, str]
) -> _Carried:
    return kind(function, restored(carrier))


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the current context: span, session and task.

    It keeps the context wherever it is called: in a thread, by an executor, from a callback. It can
    be pickled where the function can, and then has the context in the other process too.

    Args:
        function: A function or coroutine function.
    """
    asynchronous = inspect.iscoroutinefunction(function)
    return (_CarriedAsync if asynchronous else _Carried)(function, get_current())


def _run_in(thread: threading.Thread, context: Context) -> None:
    """Have a thread that is about to start run in a context.

    On the instance, so that subclasses with a `run` of their own keep the context too.
    """
    inner = thread.run

    def run() -> None:
        thread.__dict__.pop("run", None)  # or thread and context would keep each other alive
        token = attach(context)
        try:
            inner()
        finally:
            detach(token)

    thread.run = run  # type: ignore[method-assign]


def _start(original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(original)
    def start(thread: threading.Thread) -> None:
        if _patches and (context := get_current()):
            try:
                _run_in(thread, context)
            except Exception:  # noqa: BLE001 - an odd subclass goes on without us
                failed("thread")
        original(thread)

    return start


def _submit(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not _patches or not (context := get_current()):
            return original(self, fn, *args, **kwargs)
        # A worker that is started now outlives this context: it starts without one.
        token = attach(Context())
        try:
            return original(self, _Carried(fn, context), *args, **kwargs)
        finally:
            detach(token)

    return submit


_TARGETS: Final = (
    (threading.Thread, "start", _start),
    (ThreadPoolExecutor, "submit", _submit),
    (ProcessPoolExecutor, "submit", _submit),
)
_patches: Final[dict[tuple[type, str], tuple[Any, Any]]] = {}


def patch() -> None:
    """Have threads and executors keep the context; does nothing where they already do."""
    for owner, name, wrap in _TARGETS:
        if (owner, name) not in _patches:
            original = getattr(owner, name)
            ours = wrap(original)
            _patches[owner, name] = (original, ours)
            setattr(owner, name, ours)


def unpatch() -> None:
    """Put threads and executors back, except where others have since wrapped ours.

    There ours stays, and does nothing.
    """
    for (owner, name), (original, ours) in _patches.items():
        if getattr(owner, name) is ours:
            setattr(owner, name, original)
    _patches.clear()


def patched() -> bool:
    """Return whether threads and executors keep the context."""
    return bool(_patches)
