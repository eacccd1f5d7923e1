"""One test's worth of tracing, apart from everything else in the process."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from itertools import count as counting
from typing import TYPE_CHECKING, Any, Final

import opentelemetry.sdk.trace as sdk
from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from tracekit.instrumentation import propagation, runtime
from tracekit.instrumentation.processor import OWN, ContextProcessor, Pipeline
from tracekit.instrumentation.providers import INSTALLED
from tracekit.instrumentation.sampler import SessionSampler
from tracekit.instrumentation.setup import deriver
from tracekit.testing.spans import Recorder, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_NS: Final = 1_767_225_600_000_000_000
"""When a clock starts that is not told otherwise: 2026-01-01T00:00:00Z."""

_SECOND: Final = 1_000_000_000
_DROP: Final = "tracekit.drop."


class Clock:
    """A clock that goes only when told to: nanoseconds since 1970, UTC."""

    def __init__(self, start_ns: int = START_NS, source: Callable[[], int] | None = None) -> None:
        """Make a clock.

        Args:
            start_ns: Where it stands.
            source: A clock that goes by itself, such as `time.time_ns`, to start from instead.
        """
        self._offset = start_ns if source is None else 0
        self._source = source or (lambda: 0)

    @classmethod
    def real(cls) -> Clock:
        """Return a clock that goes by itself, and can be advanced."""
        return cls(source=time.time_ns)

    def __call__(self) -> int:
        """Return the time."""
        return self._source() + self._offset

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._offset += round(seconds * _SECOND)


class SequentialIds(IdGenerator):
    """Traces and spans are numbered from 1, so that a test sees the same ids every time."""

    def __init__(self) -> None:
        self._traces = counting(1)
        self._spans = counting(1)

    def generate_trace_id(self) -> int:
        """Return the next trace id."""
        return next(self._traces)

    def generate_span_id(self) -> int:
        """Return the next span id."""
        return next(self._spans)


class Captured:
    """What a test sees.

    Attributes:
        clock: Times of all spans come from it, those of other instrumentations included.
    """

    def __init__(self, spans: list[ReadableSpan], clock: Clock) -> None:
        self._spans = spans
        self.clock = clock

    @property
    def spans(self) -> list[ReadableSpan]:
        """Ended spans, in the order they ended."""
        return list(self._spans)

    @property
    def names(self) -> list[str]:
        """Names of the ended spans, in the order they ended."""
        return [span.name for span in self._spans]

    @property
    def lost(self) -> dict[str, int]:
        """What tracekit lost or failed at, by reason: empty when all is well."""
        return runtime.counts()

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the ended spans of a name."""
        return [span for span in self._spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only ended span of a name.

        Raises:
            AssertionError: If there is none, or more than one.
        """
        found = self.named(name)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans named {name!r} among:\n{self.tree()}")
        return found[0]

    def tree(self) -> str:
        """Return the ended spans as an indented text: name, duration, error, stop."""
        return tree(self._spans)

    def clear(self) -> None:
        """Forget what has ended so far."""
        self._spans.clear()


class _Ids(IdGenerator):
    """Ids by whoever is asked at the moment."""

    def __init__(self) -> None:
        self.by: IdGenerator = SequentialIds()

    def generate_trace_id(self) -> int:
        return self.by.generate_trace_id()

    def generate_span_id(self) -> int:
        return self.by.generate_span_id()

    def is_trace_id_random(self) -> bool:
        return self.by.is_trace_id_random()


class _Stage:
    """The one provider all tests of a process share.

    A module that asked for its tracer at import keeps the first one it got for good; so there is
    one provider, and what it does is exchanged.
    """

    def __init__(self) -> None:
        self.ids = _Ids()
        self.recorder = Recorder()
        self.pipeline = Pipeline()
        self.provider = TracerProvider(
            sampler=SessionSampler(), id_generator=self.ids, shutdown_on_exit=False
        )
        self.provider.add_span_processor(self.pipeline)
        self.provider.add_span_processor(self.recorder)


_stages: Final[list[_Stage]] = []


def _stage() -> _Stage:
    if not _stages:
        _stages.append(_Stage())
    return _stages[0]


@contextmanager
def capture(
    *,
    clock: Clock | None = None,
    ids: IdGenerator | None = None,
    settings: runtime.Settings | None = None,
    derive: bool = True,
) -> Iterator[Captured]:
    """Switch tracekit on for a while, with all spans in memory; put everything back afterwards.

    The global tracer provider is replaced meanwhile, so spans of other instrumentations are seen
    too, and `tracekit.configure()` in the code under test changes nothing outside.

    Args:
        clock: Where times come from; one that stands at 2026-01-01 until it is advanced.
        ids: Makes trace and span ids; numbers from 1.
        settings: What `tracekit.configure` would be told; its defaults.
        derive: Write stops and costs on the spans.
    """
    stage = _stage()
    clock = clock or Clock()
    with ExitStack() as undo:
        _swap(undo, vars(stage.ids), by=ids or SequentialIds())
        spans: list[ReadableSpan] = []
        _swap(undo, vars(stage.recorder), spans=spans)
        _swap(undo, vars(stage.pipeline), stamp=ContextProcessor(), export=None)
        _swap(undo, vars(trace), _TRACER_PROVIDER=stage.provider)
        _swap(undo, vars(trace._TRACER_PROVIDER_SET_ONCE), _done=True)  # noqa: SLF001 - no other way
        _swap(undo, vars(sdk), time_ns=clock)
        _swap(undo, vars(INSTALLED), pipeline=stage.pipeline, provider=stage.provider, made=None)
        _swap(undo, vars(INSTALLED), sampler=SessionSampler(), once=True)
        _swap(undo, vars(INSTALLED), destination="memory: a test is running")
        _fresh_runtime(undo)
        undo.callback(attach, get_current())
        attach(Context())
        runtime.activate(
            runtime.Runtime(
                stage.provider.get_tracer(OWN),
                settings or runtime.Settings(),
                clock,
                deriver() if derive else None,
            )
        )
        undo.callback(stage.pipeline.shutdown)
        yield Captured(spans, clock)


def _swap(undo: ExitStack, where: dict[str, Any], **values: object) -> None:
    """Set variables, and set them back in the end."""
    undo.callback(where.update, {name: where[name] for name in values})
    where.update(values)


def _fresh_runtime(undo: ExitStack) -> None:
    state, lost = runtime.STATE, runtime.counts()
    before, failures = state.runtime, dict(state.failures)
    patched = propagation.patched()

    def back() -> None:
        state.runtime = before
        state.failures = failures
        runtime.reset_counts()
        for reason, number in lost.items():
            runtime.count(reason.removeprefix(_DROP), number)
        (propagation.patch if patched else propagation.unpatch)()

    undo.callback(back)
    runtime.reset_counts()
