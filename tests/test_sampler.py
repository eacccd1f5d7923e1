"""One coin per session, flipped the same way by every trace of it."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from traced import recorded

from tracekit.instrumentation import names, runtime, sampler
from tracekit.instrumentation.propagation import headers, restored
from tracekit.instrumentation.sampler import SessionSampler
from tracekit.instrumentation.scope import Scope, into, session
from tracekit.otlp import tracestate

KEEP = Decision.RECORD_AND_SAMPLE


def within(session: str | None) -> Context:
    return into(Context(), Scope(session), propagate=True) if session else Context()


def root(ratio: float, context: Context, attributes: dict[str, str] | None = None) -> Span:
    provider = TracerProvider(sampler=SessionSampler(ratio), shutdown_on_exit=False)
    return provider.get_tracer("test").start_span("root", context, attributes=attributes)


def sampling(span: Span) -> tracestate.Sampling:
    return tracestate.read(span.get_span_context().trace_state.to_header())


def sampled(span: Span) -> bool:
    assert span.get_span_context().trace_flags.sampled is span.is_recording()
    return span.is_recording()


@given(st.text(min_size=1), st.floats(0, 1))
def test_traces_of_a_session_decide_alike(session: str, ratio: float) -> None:
    """All traces of one session are kept, or none; the next process decides as this one."""
    here = within(session)
    there = restored(headers(here)) if session.strip() == session else here
    spans = [root(ratio, context) for context in (here, here, there)]
    assert len({sampled(span) for span in spans}) == 1
    assert {sampling(span).randomness for span in spans} == {tracestate.session_randomness(session)}


@given(st.text(min_size=1), st.floats(1e-6, 1, exclude_max=True))
def test_the_written_threshold_decided(session: str, ratio: float) -> None:
    """A root is kept iff R reaches the threshold as it is written; one not kept writes none."""
    span = root(ratio, within(session))
    randomness = tracestate.session_randomness(session)
    assert sampled(span) is (randomness >= tracestate.threshold(ratio))
    stated = tracestate.threshold(ratio) if sampled(span) else None
    assert sampling(span) == tracestate.Sampling(stated, randomness)


def test_full_ratio_states_no_threshold() -> None:
    """With everything kept only R is written; outside a session nothing is."""
    assert sampling(root(1, within("chat-42"))) == tracestate.Sampling(None, 0x1ADE1C134DC7B5)
    assert not root(1, Context()).get_span_context().trace_state


def test_session_of_the_span_itself() -> None:
    """A root that says its session counts as being in it."""
    span = root(1, within("another"), {names.SESSION_ID: "chat-42"})
    assert sampling(span).randomness == 0x1ADE1C134DC7B5


@given(st.integers(1, (1 << 128) - 1), st.floats(0.001, 0.999))
def test_without_session_the_trace_id_decides(trace_id: int, ratio: float) -> None:
    """A trace outside any session is decided by the last 56 bits of its id."""
    result = SessionSampler(ratio).should_sample(Context(), trace_id, "root")
    kept = tracestate.trace_randomness(trace_id) >= tracestate.threshold(ratio)
    assert (result.decision is KEEP) is kept
    state = (result.trace_state or TraceState()).to_header()
    assert state == (f"ot=th:{tracestate.encode_threshold(tracestate.threshold(ratio))}" * kept)


@pytest.mark.parametrize("flags", [TraceFlags.DEFAULT, TraceFlags.SAMPLED])
def test_parents_decide_for_their_children(flags: int) -> None:
    """A child follows its parent, also a remote one, and its tracestate stays as it came."""
    state = TraceState([("vendor", "1"), ("ot", "th:8;rv:ffffffffffffff")])
    parent = SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state)
    context = set_span_in_context(NonRecordingSpan(parent), within("chat-42"))
    for ratio in (0, 1):
        span = root(ratio, context)
        assert sampled(span) is bool(flags)
        assert span.get_span_context().trace_state == state


@pytest.mark.parametrize(("ratio", "kept"), [(0, False), (1, True)])
def test_extremes(ratio: float, kept: bool) -> None:
    """A share of 0 keeps nothing, one of 1 everything, in and outside of sessions."""
    assert {sampled(root(ratio, within(key))) for key in ("a", "b", None)} == {kept}


@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.01])
def test_kept_share_and_weights(ratio: float) -> None:
    """The kept share, and the total their weights estimate, lie within binomial bounds."""
    total = 20_000
    sampler = SessionSampler(ratio)
    kept = 0
    weight = 0.0
    for number in range(total):
        result = sampler.should_sample(within(f"session-{number}"), 1, "root")
        if result.decision is KEEP:
            state = tracestate.read((result.trace_state or TraceState()).to_header())
            assert state.threshold is not None
            kept += 1
            weight += tracestate.adjusted_count(state.threshold)
    deviation = math.sqrt(total * ratio * (1 - ratio))
    assert abs(kept - total * ratio) < 4 * deviation
    assert abs(weight - total) < 4 * deviation / ratio


def test_share_can_be_changed() -> None:
    """A changed share applies at once, and says so."""
    sampler = SessionSampler()
    sampler.set_ratio(0)
    assert sampler.should_sample(Context(), (1 << 128) - 1, "x").decision is Decision.DROP
    assert sampler.get_description() == "SessionSampler{0}"


def test_smaller_shares_are_nested() -> None:
    """A session kept with a small share is kept with a larger one."""
    for number in range(200):
        decisions = [sampled(root(ratio, within(str(number)))) for ratio in (0.1, 0.4, 0.8)]
        assert decisions == sorted(decisions)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_the_share_holds_when_it_fails(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the session cannot be read, also for good, the trace id decides with the same share."""

    def fail(_: Context) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sampler, "scope_of", fail)
    monkeypatch.setattr(runtime.STATE, "failures", {})
    chosen = SessionSampler(ratio)
    for number in range(2 * runtime.LATCH):
        trace_id = tracestate.NEVER * number // (2 * runtime.LATCH)
        result = chosen.should_sample(within("s"), trace_id, "root")
        kept = ratio > 0 and trace_id >= tracestate.threshold(ratio)
        assert (result.decision is KEEP) is kept
    assert runtime.latched("sampler")


@pytest.mark.parametrize("key", [0, 42, UUID(int=9), "\ud800x"])
def test_session_ids_that_are_no_text(key: Any) -> None:
    """A session is sampled by the text of its id, whatever the application had it as."""
    runtime.reset_counts()
    with recorded(), session(key) as opened, session(str(key)) as again:
        assert opened.id == again.id
        randomness = sampling(root(0.5, get_current())).randomness
    assert randomness == tracestate.session_randomness(opened.id)
    assert runtime.counts() == {}
