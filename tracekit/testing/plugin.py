"""The pytest plugin. It is loaded in every run of a project that has tracekit: it must be light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.testing import Captured


@pytest.fixture
def tracekit_spans() -> Iterator[Captured]:
    """Spans of this test, in memory, with a clock that stands still and ids that count."""
    from tracekit.testing import capture  # noqa: PLC0415

    with capture() as captured:
        yield captured


@pytest.fixture
def traced(tracekit_spans: Captured) -> Captured:
    """Spans of this test; the short name of `tracekit_spans`."""
    return tracekit_spans
