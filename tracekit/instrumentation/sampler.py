"""Head sampling that flips one coin per session, and tells collectors which one.

The root span of each trace of a session carries R of the session as `rv` in its tracestate. Whoever
samples later, anywhere, decides by the same R, so a session stays whole without coordination.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import TraceState, get_current_span

from tracekit.instrumentation import names
from tracekit.instrumentation.runtime import failed, latched, worked
from tracekit.instrumentation.scope import scope_of
from tracekit.otlp.tracestate import (
    ALWAYS,
    NEVER,
    Sampling,
    serialise,
    session_randomness,
    threshold,
    trace_randomness,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.util.types import Attributes

_SITE: Final = "sampler"


class SessionSampler(Sampler):
    """Keeps a share of the sessions, each whole; the children of a kept root are kept.

    A trace outside any session is decided by its own id. With a share of 1 no threshold is written:
    what was not sampled has no probability to tell. A trace that is not kept is not recorded.
    """

    __slots__ = ("_threshold", "ratio")

    def __init__(self, ratio: float = 1.0) -> None:
        """Make a sampler.

        Args:
            ratio: Share of sessions to keep, from 0 to 1; what lies outside counts as the nearer.
        """
        self.set_ratio(ratio)

    def set_ratio(self, ratio: float) -> None:
        """Change the share; sessions kept with the smaller of two shares are kept with both."""
        self.ratio = ratio
        self._threshold = threshold(min(ratio, 1.0)) if ratio > 0 else NEVER

    def should_sample(  # noqa: D102, PLR0913, PLR0917 - the interface of the SDK
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,  # noqa: ARG002
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        parent = get_current_span(parent_context).get_span_context()
        if parent.is_valid:
            decision = Decision.RECORD_AND_SAMPLE if parent.trace_flags.sampled else Decision.DROP
            return SamplingResult(decision, attributes, parent.trace_state)
        if not latched(_SITE):
            try:
                decided = self._decide(_session(parent_context, attributes), trace_id, attributes)
                worked(_SITE)
            except Exception:  # noqa: BLE001 - the host goes on without us
                failed(_SITE)
            else:
                return decided
        return self._decide(
            None, trace_id, attributes
        )  # keeps the share, though not sessions whole

    def get_description(self) -> str:
        """Return what the sampler is, for people."""
        return f"SessionSampler{{{self.ratio:g}}}"

    def _decide(self, key: str | None, trace_id: int, attributes: Attributes) -> SamplingResult:
        rejection = self._threshold
        randomness = trace_randomness(trace_id) if key is None else session_randomness(key)
        if randomness < rejection:
            return SamplingResult(Decision.DROP, attributes, _state(None, key))
        stated = None if rejection == ALWAYS else rejection
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, _state(stated, key))


def _session(context: Context | None, attributes: Attributes) -> str | None:
    key = attributes.get(names.SESSION_ID) if attributes else None
    if isinstance(key, str):
        return key
    context = get_current() if context is None else context
    return scope_of(context).session_id if context else None


@lru_cache(maxsize=1024)
def _state(rejection: int | None, key: str | None) -> TraceState | None:
    randomness = None if key is None else session_randomness(key)
    value = serialise(Sampling(rejection, randomness))
    return TraceState([("ot", value)]) if value else None
