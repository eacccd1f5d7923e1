"""What a sampler adds to spans that leave as they came: a merged tracestate, a few attributes.

    stage = Stage(threshold=T, randomness=R)
    append(span, stage, {"tracekit.sampling.policy": "errors"})                   # one span
    select(scan, rows, suffixes(scan, rows, stage, attributes))                   # a request

Nothing of a span is changed: in protobuf a repeated field goes on where it is appended, and of a
singular field that comes twice the last counts ("Last One Wins" in the specification of the wire
format). Tests hold both implementations of the protobuf library and our scanner to it. A reader
that takes the first `trace_state` breaks the format; it would see the tracestate from before. A
span gets a second one only if it had one that must change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tracekit.otlp.layout import STATE, TRACE
from tracekit.otlp.tracestate import ALWAYS, read, trace_randomness, write
from tracekit.otlp.values import field, text_field, value_of
from tracekit.otlp.varints import read_varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from tracekit.otlp.scan import Scan

    Attributes: TypeAlias = Mapping[str, str | int | float | bool]

_TRACE_ID: Final = 1
_TRACE_STATE: Final = 3
_STATE_TAG: Final = b"\x1a"
_ATTRIBUTE_TAG: Final = b"\x4a"
_KEY_TAG: Final = b"\x0a"
_VALUE_TAG: Final = b"\x12"
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LOW: Final = (1 << 32) - 1
_TRACE_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Stage:
    """How a sampling stage came to keep a span.

    Attributes:
        threshold: T it decided by; None where the probability is not known.
        randomness: R it decided by.
        is_first: Whether somebody vouches that no stage was before it, so that a span without `th`
            that it keeps with certainty may say `th:0`.
    """

    threshold: int | None
    randomness: int
    is_first: bool = False


def merged(tracestate: str, trace_id: int, stage: Stage) -> str:
    """Return a tracestate after one more stage: `th` raised, or erased where it would be wrong.

    It is wrong where the stage's probability is not known; where the input, or the stage, kept a
    trace whose R is below T; and where the stage dropped by another R than `rv` or the trace id
    say, since then no single R tells a later stage what both have kept. `rv` stays.

    Args:
        tracestate: As it came; members of others stay, in their order.
        trace_id: Of the span.
        stage: The stage.
    """
    before = read(tracestate)
    own = trace_randomness(trace_id) if before.randomness is None else before.randomness
    if stage.threshold is None or before.kept_with(trace_id) is False:
        after = before.erased()
    elif stage.threshold == ALWAYS:
        says = stage.is_first and before.threshold is None
        after = replace(before, threshold=ALWAYS) if says else before
    elif own != stage.randomness or own < stage.threshold:
        after = before.erased()
    else:
        after = before.raised(stage.threshold)
    return write(tracestate, after)


def encode_attributes(attributes: Attributes) -> bytes:
    """Return attributes as fields of a span."""
    return b"".join(
        field(_ATTRIBUTE_TAG, text_field(_KEY_TAG, key) + _VALUE_TAG + value_of(value))
        for key, value in attributes.items()
    )


def suffix(tracestate: str, trace_id: int, stage: Stage | None, encoded: bytes = b"") -> bytes:
    """Return the bytes to append to a span.

    Args:
        tracestate: The span's.
        trace_id: The span's.
        stage: The stage; None leaves the tracestate alone.
        encoded: What `encode_attributes` returned.
    """
    after = tracestate if stage is None else merged(tracestate, trace_id, stage)
    return encoded if after == tracestate else field(_STATE_TAG, after.encode()) + encoded


def append(
    span: bytes | memoryview, stage: Stage | None = None, attributes: Attributes | None = None
) -> bytes:
    """Return a span with its tracestate merged and attributes appended, otherwise as it came.

    Args:
        span: Bytes of a valid span message.
        stage: The stage that kept it; None leaves the tracestate alone.
        attributes: Attributes to append. A key the span has already is then there twice: choose
            keys that nobody else writes.
    """
    data = bytes(span)
    trace_id, state = b"", b""
    for number, value in _texts(data):
        if number == _TRACE_ID:
            trace_id = value
        elif number == _TRACE_STATE:
            state = value
    encoded = encode_attributes(attributes or {})
    return data + suffix(state.decode(), int.from_bytes(trace_id, "big"), stage, encoded)


def _texts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the length-delimited fields of a valid message."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = read_varint(data, at)
        elif kind == _LENGTH:
            size, at = read_varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            at += {_FIXED64: 8, _FIXED32: 4}[kind]


def suffixes(
    scan: Scan, rows: Sequence[int], stage: Stage | None, attributes: Attributes | None = None
) -> list[bytes]:
    """Return what to append to each of some spans of a request, for `encode.select`.

    Spans of one trace with one tracestate share the bytes, so most cost one look-up.

    Args:
        scan: The request.
        rows: Row numbers.
        stage: The stage that kept them; None leaves the tracestate alone.
        attributes: Attributes for all of them.
    """
    encoded = encode_attributes(attributes or {})
    if stage is None:
        return [encoded] * len(rows)
    chosen = scan.wire[:, list(rows)]
    data, made, out = memoryview(scan.data), dict[tuple[bytes, bytes], bytes](), []
    for trace, packed in zip(chosen[TRACE].tolist(), chosen[STATE].tolist(), strict=True):
        trace_id = bytes(data[trace : trace + _TRACE_ID_BYTES])
        state = b"" if packed < 0 else bytes(data[packed >> 32 : (packed >> 32) + (packed & _LOW)])
        found = made.get((trace_id, state))
        if found is None:
            number = int.from_bytes(trace_id, "big")
            found = made[trace_id, state] = suffix(state.decode(), number, stage, encoded)
        out.append(found)
    return out
