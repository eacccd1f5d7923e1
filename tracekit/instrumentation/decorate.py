"""One way to put a step around code: `with`, `async with`, and decorators for every callable.

A step follows the code exactly: a coroutine's step ends when it returns, a generator's when it is
exhausted, closed or abandoned. While a generator waits for its consumer its step is not current, so
the consumer's own spans do not land in it.
"""

from __future__ import annotations

import copy
import functools
import inspect
from contextlib import contextmanager
from enum import Enum
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeGuard, TypeVar, cast
from uuid import UUID

from opentelemetry.context import get_current

from tracekit.errors import UsageError
from tracekit.instrumentation.runtime import STATE, count

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
    from types import TracebackType

    from opentelemetry.context import Context

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")


class Running(Protocol):
    """A step that is open. None of these raise.

    Attributes:
        context: The context in which it is current; None where there is none.
    """

    @property
    def context(self) -> Context | None:
        """See the class."""

    def enter(self) -> None:
        """Make it current."""

    def leave(self) -> None:
        """Make what was current before current again."""

    def finish(self, result: object = None) -> None:
        """End it well."""

    def fail(self, error: BaseException) -> None:
        """End it with an error."""


class Opens(Protocol):
    """Starts a step around a call."""

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> Running:
        """Start it; never raises."""
        ...


S_co = TypeVar("S_co", bound=Running, covariant=True)

ENTRY_POINTS: Final = ("__call__", "run", "arun", "invoke", "ainvoke", "stream", "astream")
"""Methods that stand for a decorated class, where it does not say which."""

_NAMES: Final = (str, int, UUID, Enum)
"""What can be a name or an id; anything else is something to decorate, or a mistake."""

_CACHE: Final = ("cache_info", "cache_clear")
"""What `functools.lru_cache` gives a function that `functools.wraps` does not see."""


def is_bare(first: F | str | None, name: str) -> TypeGuard[F]:
    """Return whether a decorator stands without parentheses, by its first argument.

    Args:
        first: What the decorator was given first.
        name: Name of the decorator.

    Raises:
        UsageError: It is neither a name nor what can be decorated.
    """
    if first is None or isinstance(first, _NAMES):
        return False
    if not _decorates(first):
        raise UsageError(f"@tracekit.{name} takes a name or a function, not {_advice(first)}")
    return True


def refuse_bare(first: object, name: str, instead: str) -> None:
    """Raise where a decorator that needs arguments stands without them.

    Args:
        first: What it was given first.
        name: Name of the decorator.
        instead: What to write.

    Raises:
        UsageError: It was given something to decorate.
    """
    if is_target(first):
        raise UsageError(f"@tracekit.{name} needs an argument: write {instead}")


def is_target(value: object) -> bool:
    """Return whether a value stands below a decorator: a callable or a descriptor of any kind."""
    return callable(value) or hasattr(type(value), "__get__")


def _decorates(value: object) -> bool:
    return callable(value) or isinstance(value, (staticmethod, classmethod))


def _advice(value: object) -> str:
    kind = type(value).__name__
    if hasattr(type(value), "__get__"):
        return f"a {kind}: put it below @{kind}, on the function itself"
    return f"an object of type {kind}"


class Instrument(Generic[S_co]):
    """What `tracekit.tool(...)` and its like return: a context manager and a decorator.

    As a context manager it may be used again, also while it is open.
    """

    def __init__(self, *, methods: tuple[str, ...] = ENTRY_POINTS) -> None:
        self._methods = methods
        self._open: list[S_co] = []
        self._unmatched = 0

    def bind(self, function: Any) -> Self:
        """Return a copy that knows the function it decorates: its name, its parameters."""
        raise NotImplementedError

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> S_co:
        """Start a step; never raises.

        Args:
            args: Positional arguments of the decorated call.
            kwargs: Its keyword arguments.
        """
        raise NotImplementedError

    def __call__(self, function: F, /) -> F:
        """Decorate a function, coroutine function, generator, async generator or class."""
        if inspect.isclass(function):
            return cast("F", self._decorate_class(function))
        if not _decorates(function):
            raise UsageError(f"tracekit decorates functions and classes, not {_advice(function)}")
        return cast("F", self._decorate(function))

    def __enter__(self) -> S_co:
        step = self.open()
        step.enter()
        self._open.append(step)
        return step

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        step = self._take()
        if step is None:
            return
        step.leave()
        if error is None:
            step.finish()
        else:
            step.fail(error)

    async def __aenter__(self) -> S_co:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def copy(self) -> Self:
        """Return a copy that is not open."""
        other = copy.copy(self)
        other._open = []  # noqa: SLF001 - of the same class
        other._unmatched = 0  # noqa: SLF001
        return other

    def _take(self) -> S_co | None:
        """Return the step that is ended now: other threads and tasks may have some open too.

        None where that cannot be told: better one step too few is ended than another request's.
        """
        steps = self._open
        current = get_current()
        for step in reversed(steps):
            if step.context is current:
                steps.remove(step)
                if self._unmatched and len(steps) <= self._unmatched:
                    steps.clear()  # what is left was given up
                    self._unmatched = 0
                return step
        # Left elsewhere than it was entered, or nothing was ever current.
        for step in reversed(steps):
            if not step.context:
                steps.remove(step)
                return step
        if len(steps) > 1:
            self._unmatched += 1
            count("open_spans")
            return None
        return steps.pop() if steps else None

    def _decorate(self, function: Any) -> Any:
        if isinstance(function, (staticmethod, classmethod)):
            return type(function)(self._decorate(function.__func__))
        if not callable(function):
            raise UsageError(f"tracekit decorates functions, not {_advice(function)}")
        return wrapped(function, self.bind(function))

    def _decorate_class(self, cls: type[Any]) -> type[Any]:
        found = [name for name in self._methods if _decorates(vars(cls).get(name))]
        if not found:
            raise TypeError(
                f"tracekit: {cls.__name__} has none of the methods {', '.join(self._methods)}: "
                "name those to trace with methods=(...)"
            )
        named = self.bind(cls)  # the class gives its name, each method its parameters
        for name in found:
            setattr(cls, name, named._decorate(vars(cls)[name]))  # noqa: SLF001 - of the same class
        return cls


def name_of(function: Any) -> str:
    """Return the name of a callable: its own, that of a partial's function, else its class's."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def wrapped(function: Callable[..., Any], instrument: Opens) -> Callable[..., Any]:
    """Return a function of the same kind with a step around its work.

    Args:
        function: Function, coroutine function, generator or async generator function.
        instrument: Opens the step.
    """
    if inspect.isasyncgenfunction(function):
        return _async_generator(function, instrument)
    if inspect.isgeneratorfunction(function):
        return _generator(function, instrument)
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, instrument)
    outside = _function(function, instrument)
    for name in _CACHE:
        if hasattr(function, name):
            setattr(outside, name, getattr(function, name))
    return outside


def _function(function: Callable[..., Any], instrument: Opens) -> Callable[..., Any]:
    start = instrument.open

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if STATE.runtime is None:
            return function(*args, **kwargs)
        step = start(args, kwargs)
        step.enter()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            step.leave()
            step.fail(error)
            raise
        step.leave()
        # A plain function may hand back work that has not begun: then the step goes with it.
        follow = _FOLLOW.get(type(result))
        if follow is not None:
            return follow(lambda: result, _Begun(step))()
        step.finish(result)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], instrument: Opens) -> Callable[..., Any]:
    start = instrument.open

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if STATE.runtime is None:
            return await function(*args, **kwargs)
        step = start(args, kwargs)
        step.enter()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            step.leave()
            step.fail(error)
            raise
        step.leave()
        step.finish(result)
        return result

    return wrapper


def _generator(function: Callable[..., Any], instrument: Opens) -> Callable[..., Any]:
    start = instrument.open

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inner = function(*args, **kwargs)
        step = start(args, kwargs) if STATE.runtime is not None else NOTHING
        advance, value = inner.send, None
        while True:
            step.enter()
            try:
                item = advance(value)
            except StopIteration as stop:
                step.leave()
                step.finish(stop.value)
                return stop.value
            except BaseException as error:
                step.leave()
                step.fail(error)
                raise
            step.leave()
            try:
                value = yield item
                advance = inner.send
            except GeneratorExit as closed:
                with _closing(step, closed):
                    inner.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - handed on as it came
                value, advance = thrown, inner.throw

    return wrapper


def _async_generator(function: Callable[..., Any], instrument: Opens) -> Callable[..., Any]:
    start = instrument.open

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inner = function(*args, **kwargs)
        step = start(args, kwargs) if STATE.runtime is not None else NOTHING
        advance, value = inner.asend, None
        while True:
            step.enter()
            try:
                item = await advance(value)
            except StopAsyncIteration:
                step.leave()
                step.finish()
                return
            except BaseException as error:
                step.leave()
                step.fail(error)
                raise
            step.leave()
            try:
                value = yield item
                advance = inner.asend
            except GeneratorExit as closed:
                with _closing(step, closed):
                    await inner.aclose()
                raise
            except BaseException as thrown:  # noqa: BLE001 - handed on as it came
                value, advance = thrown, inner.athrow

    return wrapper


@contextmanager
def _closing(step: Running, closed: GeneratorExit) -> Iterator[None]:
    """End a step whose consumer went away, after the generator has cleaned up."""
    step.enter()
    try:
        yield
    except BaseException as error:
        step.leave()
        step.fail(error)
        raise
    step.leave()
    step.fail(closed)


class _Nothing:
    """The step of code that runs while tracekit is switched off."""

    context = None

    def enter(self) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""

    def finish(self, result: object = None) -> None:
        """Do nothing."""

    def fail(self, error: BaseException) -> None:
        """Do nothing."""


NOTHING: Final[Running] = _Nothing()


class _Begun:
    """Opens a step that is open already."""

    def __init__(self, step: Running) -> None:
        self._step = step

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> Running:
        del args, kwargs
        return self._step


_FOLLOW: Final[dict[type[Any], Callable[[Callable[..., Any], Opens], Callable[..., Any]]]] = {
    CoroutineType: _coroutine,
    GeneratorType: _generator,
    AsyncGeneratorType: _async_generator,
}
"""What to do with a step whose function returned work that has not begun."""
