"""Writing many attributes at once leaves a span as the SDK's own way would."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import INVALID_SPAN

from tracekit.instrumentation.writing import write

PLAIN = st.one_of(st.text(max_size=9), st.integers(), st.floats(allow_nan=False), st.booleans())
VALUES = st.one_of(
    PLAIN, st.lists(PLAIN, max_size=3), st.lists(st.text(max_size=5), max_size=3).map(tuple)
)
ATTRIBUTES = st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=9)
LIMITS = [SpanLimits(), SpanLimits(max_span_attributes=4), SpanLimits(max_attribute_length=3)]


def span(limits: SpanLimits) -> Any:
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    return provider.get_tracer("t").start_span("s", attributes={"a": 1, "b": "long text"})


@pytest.mark.parametrize("limits", LIMITS, ids=["none", "number", "length"])
@given(attributes=ATTRIBUTES)
def test_the_span_is_as_the_sdk_would_have_it(
    limits: SpanLimits, attributes: dict[str, Any]
) -> None:
    """Whatever the values and the limits, what is set and what is dropped is the same."""
    ours, theirs = span(limits), span(limits)
    write(ours, attributes)
    theirs.set_attributes(attributes)
    assert dict(ours.attributes) == dict(theirs.attributes)
    assert ours.dropped_attributes == theirs.dropped_attributes


def test_an_ended_span_stays_as_it_is() -> None:
    """What comes too late is not written."""
    ended = span(SpanLimits())
    ended.end()
    write(ended, {"late": 1})
    assert "late" not in ended.attributes


def test_a_span_that_is_not_the_sdks_is_asked() -> None:
    """Another kind of span gets the attributes by its own method."""
    write(INVALID_SPAN, {"a": 1})
