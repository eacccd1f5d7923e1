"""Spans that have ended, to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from tracekit.instrumentation import names

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECOND: Final = 1_000_000_000


class Recorder(SpanProcessor):
    """Keeps ended spans.

    Attributes:
        spans: In the order they ended.
    """

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span that is sampled."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.spans.append(span)


def tree(spans: list[ReadableSpan]) -> str:
    """Return spans as an indented text, one per line, in the order they started."""
    present = {span.context.span_id for span in spans}
    children: dict[int | None, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: (span.start_time or 0, span.context.span_id)):
        parent = span.parent.span_id if span.parent is not None else None
        children.setdefault(parent if parent in present else None, []).append(span)
    return "\n".join(_lines(children, None, 0))


def _lines(
    children: dict[int | None, list[ReadableSpan]], parent: int | None, depth: int
) -> Iterator[str]:
    for span in children.get(parent, []):
        yield "  " * depth + _line(span)
        yield from _lines(children, span.context.span_id, depth + 1)


def _line(span: ReadableSpan) -> str:
    attributes = span.attributes or {}
    took = ((span.end_time or 0) - (span.start_time or 0)) / _SECOND
    told = [attributes.get(name) for name in (names.ERROR_TYPE, names.STOP_REASON)]
    parts = [span.name, f"{took:g} s" if took else None, *told]
    return "  ".join(str(part) for part in parts if part)
