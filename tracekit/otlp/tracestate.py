"""Consistent probability sampling in W3C tracestate: `ot=th:...;rv:...`.

Source: OTEP-235 and the OpenTelemetry specification, trace/tracestate-probability-sampling. A trace
is kept iff its randomness R reaches the rejection threshold T, both of 56 bits. R is `rv` where it
is given, else the last 56 bits of the trace id. T is `th`; without one the probability is unknown.

R of a session is the first 56 bits of the SHA-256 of its key in UTF-8, so that whoever knows the
key flips the same coin:

    chat-42                   1ade1c134dc7b5
    Auftrag-7/ü               f56b9d3dd250df
    the empty key             e3b0c44298fc1c
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

BITS: Final = 56
ALWAYS: Final = 0
NEVER: Final = 1 << BITS
"""Threshold no randomness reaches; tracestate cannot express it."""

PRECISION: Final = 4
"""Significant hex digits of a threshold, after the leading ones that only tell the magnitude."""

LIMIT: Final = 256
"""Longest value of the `ot` member, in characters."""

MEMBERS: Final = 32
"""Most members of a tracestate."""

_DIGITS: Final = BITS // 4
_HEX: Final = frozenset("0123456789abcdef")
_KEY: Final = "ot"


def session_randomness(key: str) -> int:
    """Return R of a session.

    Args:
        key: The session's key.
    """
    return int.from_bytes(sha256(key.encode("utf-8", "surrogatepass")).digest()[: BITS // 8], "big")


def trace_randomness(trace_id: int) -> int:
    """Return R of a trace that carries none: the last 56 bits of its id."""
    return trace_id & (NEVER - 1)


def threshold(probability: float, precision: int = PRECISION) -> int:
    """Return T for a probability, rounded as it will be written; decide with this one.

    Args:
        probability: Share to keep, above 0 and at most 1. Less than 2^-56 counts as that.
        precision: Hex digits; leading f's of a small probability and leading zeros of one near 1
            do not count.

    Raises:
        ValueError: If the probability is not above 0 and at most 1.
    """
    if not 0 < probability <= 1:
        raise ValueError(f"a sampling probability is above 0 and at most 1, not {probability}")
    exact = NEVER - max(1, round(math.ldexp(probability, BITS)))
    if exact == ALWAYS:
        return ALWAYS
    magnitude = max(-math.frexp(probability)[1], -math.frexp(exact / NEVER)[1], 0)
    dropped = 4 * (_DIGITS - min(_DIGITS, precision + magnitude // 4))
    rounded = (exact + (1 << dropped >> 1)) >> dropped << dropped
    return rounded if rounded < NEVER else exact


def probability(rejection: int) -> float:
    """Return the share a threshold keeps."""
    return (NEVER - rejection) / NEVER


def adjusted_count(rejection: int) -> float:
    """Return how many a kept one stands for.

    Raises:
        ValueError: If the threshold keeps nothing.
    """
    if rejection >= NEVER:
        raise ValueError("a threshold that keeps nothing has no adjusted count")
    return NEVER / (NEVER - rejection)


def encode_threshold(rejection: int) -> str:
    """Return T as `th` writes it: leading zeros count, trailing ones are left out.

    Raises:
        ValueError: If T is below 0, or keeps nothing.
    """
    if not ALWAYS <= rejection < NEVER:
        raise ValueError(f"no threshold of {BITS} bits: {rejection}")
    return format(rejection, f"0{_DIGITS}x").rstrip("0") or "0"


def decode_threshold(text: str) -> int | None:
    """Return T of a `th`, or None where it is malformed."""
    if not 1 <= len(text) <= _DIGITS or not _HEX.issuperset(text):
        return None
    return int(text.ljust(_DIGITS, "0"), 16)


def encode_randomness(randomness: int) -> str:
    """Return R as `rv` writes it: always 14 digits.

    Raises:
        ValueError: If R does not have 56 bits.
    """
    if not 0 <= randomness < NEVER:
        raise ValueError(f"no randomness of {BITS} bits: {randomness}")
    return format(randomness, f"0{_DIGITS}x")


def decode_randomness(text: str) -> int | None:
    """Return R of an `rv`, or None where it is malformed."""
    if len(text) != _DIGITS or not _HEX.issuperset(text):
        return None
    return int(text, 16)


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the `ot` member of a tracestate says.

    Attributes:
        threshold: T; None means the probability is unknown.
        randomness: R; None means that of the trace id.
        rest: Sub-keys of others, as they came.
    """

    threshold: int | None = None
    randomness: int | None = None
    rest: tuple[str, ...] = ()

    def kept_with(self, trace_id: int) -> bool | None:
        """Return whether R reaches T, or None without a threshold."""
        if self.threshold is None:
            return None
        own = self.randomness
        return (trace_randomness(trace_id) if own is None else own) >= self.threshold

    def consistent(self, trace_id: int) -> Sampling:
        """Return it without a threshold that would have rejected this trace: it lies."""
        return self.erased() if self.kept_with(trace_id) is False else self

    def erased(self) -> Sampling:
        """Return it without threshold: the probability is not known any more."""
        return replace(self, threshold=None)

    def raised(self, rejection: int) -> Sampling:
        """Return it after one more stage, which decided by the same R.

        Args:
            rejection: T of that stage. One that keeps everything changes nothing.
        """
        if rejection == ALWAYS or (self.threshold is not None and rejection <= self.threshold):
            return self
        return replace(self, threshold=rejection)


def parse(value: str) -> Sampling:
    """Read the value of an `ot` member. What is malformed or said twice counts as not said."""
    if len(value) > LIMIT:
        return Sampling()
    members = [member for member in value.split(";") if member]
    rest = tuple(member for member in members if not member.startswith(("th:", "rv:")))
    stated = [decode_threshold(member[3:]) for member in members if member.startswith("th:")]
    random = [decode_randomness(member[3:]) for member in members if member.startswith("rv:")]
    return Sampling(
        stated[0] if len(stated) == 1 else None, random[0] if len(random) == 1 else None, rest
    )


def serialise(sampling: Sampling) -> str:
    """Return the value of an `ot` member; empty where there is nothing to say.

    Sub-keys of others that no longer fit are left out, the last ones first.
    """
    members = []
    if sampling.threshold is not None:
        members.append(f"th:{encode_threshold(sampling.threshold)}")
    if sampling.randomness is not None:
        members.append(f"rv:{encode_randomness(sampling.randomness)}")
    members.extend(sampling.rest)
    while len(value := ";".join(members)) > LIMIT:
        members.pop()
    return value


def read(tracestate: str) -> Sampling:
    """Read a whole tracestate header."""
    for member in tracestate.split(","):
        key, _, value = member.strip(" \t").partition("=")
        if key == _KEY:
            return parse(value)
    return Sampling()


def write(tracestate: str, sampling: Sampling) -> str:
    """Return a tracestate header with another `ot` member, and those of others as they were.

    A member that changed comes first. One too many pushes out the last.
    """
    members = [member.strip(" \t") for member in tracestate.split(",")]
    others = [member for member in members if member and member.partition("=")[0] != _KEY]
    if read(tracestate) == sampling:
        return tracestate
    value = serialise(sampling)
    return ",".join(([f"{_KEY}={value}"] if value else []) + others[: MEMBERS - bool(value)])
