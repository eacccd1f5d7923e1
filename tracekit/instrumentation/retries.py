"""Retries of the application's own: one logical call, and each try of it.

Retries inside a model client need none of this: the client hooks see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from opentelemetry.context import create_key, get_current, set_value
from opentelemetry.trace import format_span_id

from tracekit.instrumentation import names
from tracekit.instrumentation.around import TRY_KEY, Try
from tracekit.instrumentation.decorate import Instrument, is_bare, name_of
from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.steps import Step, failed_frame
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")

RETRY_KEY: Final = create_key("tracekit-retry")


class RetryStep(Step):
    """One logical call, with all tries and waits.

    Attributes:
        tries: How often it was tried so far.
    """

    __slots__ = ("_ended_ns", "_id", "_name", "_shared", "tries")

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._id = ""
        self._shared: dict[str, int] = {}
        self._ended_ns: int | None = None
        self.tries = 0

    def begin(self) -> Self:
        """Start the span, and be found by the tries inside."""
        self.start(f"retry {self._name}", {names.KIND: "step"})
        if self.span is not None:
            around = self.context.get(TRY_KEY)
            if isinstance(around, Try):
                self._id, self._shared = around.retry()
            else:
                self._id = format_span_id(self.span.get_span_context().span_id)
            self.context = set_value(RETRY_KEY, self, self.context)
        return self

    def attempt(self, *, wait_s: float | None = None) -> Attempting:
        """Mark one try.

        Args:
            wait_s: Wait before it, s; measured from the end of the try before.
        """
        return Attempting(self, wait_s)

    def closing(self, error: str | None, result: object) -> None:
        """Note how often it was tried, and tell the task if it failed."""
        del result
        self.attributes[names.RETRY_ATTEMPTS] = self.tries
        if error is not None and self.scope.unit is not None:
            self.scope.unit.frame(failed_frame(self, error))

    def next_try(self, wait_s: float | None) -> tuple[int, Try, dict[str, AttributeValue]]:
        """Return the number of the next try, what it says to calls inside, and its attributes."""
        self.tries += 1
        if wait_s is None and self._ended_ns is not None:
            wait_s = max(0, self._runtime.now_ns() - self._ended_ns) / 1e9
        known: dict[str, AttributeValue] = {names.ATTEMPT: self.tries, names.RETRY_OF: self._id}
        if wait_s is not None:
            known[names.RETRY_WAIT] = wait_s
        return self.tries, Try(self._id, self._shared, wait_s), known

    def ended_try(self) -> None:
        """Note when a try ended."""
        self._ended_ns = self._runtime.now_ns()

    @property
    def title(self) -> str:
        """What is retried."""
        return self._name


class AttemptStep(Step):
    """One try.

    Attributes:
        number: From 1; 0 outside of a retry.
    """

    __slots__ = ("_retry", "number")

    def __init__(self) -> None:
        super().__init__()
        self._retry: RetryStep | None = None
        self.number = 0

    def begin(self, retry: RetryStep, wait_s: float | None) -> Self:
        """Start the span, and be found by the calls inside."""
        self._retry = retry
        self.number, mark, attributes = retry.next_try(wait_s)
        self.start(f"attempt {retry.title}", {names.KIND: "step", **attributes})
        if self.span is not None:
            self.context = set_value(TRY_KEY, mark, self.context)
        return self

    def closing(self, error: str | None, result: object) -> None:
        """Tell the retry when it ended; whether its error matters is for the retry to say."""
        del error, result
        if self._retry is not None:
            self._retry.ended_try()


class Retry(Instrument[RetryStep]):
    """See `retry`."""

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self._name = name

    def bind(self, function: Any) -> Self:
        """Take the name from the function, where it has none."""
        if self._name:
            return self
        other = self.copy()
        other._name = name_of(function)  # noqa: SLF001 - of the same class
        return other

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> RetryStep:
        """Start the logical call."""
        del args, kwargs
        step = RetryStep(self._name or "call")
        try:
            return step.begin()
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("retry")
            return step


class Attempting(Instrument[AttemptStep]):
    """See `attempt`."""

    def __init__(self, retry: RetryStep | None, wait_s: float | None) -> None:
        super().__init__()
        self._retry = retry
        self._wait_s = wait_s

    def bind(self, function: object) -> Self:
        """Return itself: a try has the name of what is retried."""
        del function
        return self

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> AttemptStep:
        """Start a try; outside of a retry nothing is started."""
        del args, kwargs
        step = AttemptStep()
        retry = self._retry or get_current().get(RETRY_KEY)
        if not isinstance(retry, RetryStep) or retry.span is None:
            return step
        try:
            return step.begin(retry, self._wait_s)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("attempt")
            return step


@overload
def retry(function: F, /) -> F: ...


@overload
def retry(name: str | None = None) -> Retry: ...


def retry(name: F | str | None = None) -> F | Retry:
    """Say that a piece of work is tried until it succeeds: a decorator and a context manager.

        @tracekit.retry
        @tenacity.retry(stop=tenacity.stop_after_attempt(3))
        @tracekit.attempt
        def fetch() -> str: ...

        with tracekit.retry("fetch") as work:
            for _ in range(3):
                with work.attempt(): ...

    Args:
        name: What is tried; of a decorated function its name.
    """
    if is_bare(name, "retry"):
        return Retry(None)(name)
    return Retry(as_text(name))


@overload
def attempt(function: F, /) -> F: ...


@overload
def attempt(function: None = None, /, *, wait_s: float | None = None) -> Attempting: ...


def attempt(function: F | None = None, /, *, wait_s: float | None = None) -> F | Attempting:
    """Say that this is one try of the `retry` around it: a decorator and a context manager.

        with tracekit.retry("fetch"):
            for _ in range(3):
                with tracekit.attempt(): ...

    Model and tool calls inside carry the number of the try and what they retry.

    Args:
        function: The function that is one try.
        wait_s: Wait before it, s; measured from the end of the try before.
    """
    if function is not None:
        return Attempting(None, None)(function)
    return Attempting(None, wait_s)
