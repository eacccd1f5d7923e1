"""Thresholds of a session, and what they mean beside the ones that came in.

A session has one randomness R and every rule that matches it a rejection threshold T; it is kept
iff R reaches the smallest of them, so its inclusion probability is that of the union. Thresholds
are rounded as `th` writes them before anything is decided by them.

R is `rv` where all traces of the session state the same one, the end of the trace id where that is
the session's key, and otherwise the start of the SHA-256 of the key. A `th` speaks of the R a
reader finds on that trace. Where that is not the session's R, `th` is erased, since only the root
may write `rv`; the weight then stands in our own attribute alone.

Source: OTEP-235, "Downstream samplers"; the codec is `tracekit.otlp.tracestate`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from tracekit.otlp import tracestate
from tracekit.otlp.tracestate import ALWAYS, NEVER, PRECISION, Sampling

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@lru_cache(maxsize=65536)
def threshold(probability: float, precision: int = PRECISION) -> int:
    """Return T for a probability as it will be written; NEVER for 0.

    Raises:
        ValueError: If the probability is below 0 or above 1.
    """
    return NEVER if probability == 0 else tracestate.threshold(probability, precision)


def union(thresholds: Iterable[int]) -> int:
    """Return T of a session that several policies want, all on one R; NEVER where none does."""
    return min(thresholds, default=NEVER)


class Basis(StrEnum):
    """What is known of the sampling before this stage."""

    NONE = "none"
    """No trace has a threshold: this is the first stage."""
    SAME = "same"
    """All traces have one threshold, decided by the session's R."""
    OTHER = "other"
    """The only trace has a threshold that was decided by another, independent R."""
    UNKNOWN = "unknown"
    """The traces contradict each other, or a threshold would have rejected its own trace."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """The sampling before this stage.

    Attributes:
        basis: What is known of it.
        threshold: T of that stage, where the basis is SAME or OTHER; else ALWAYS.
    """

    basis: Basis = Basis.NONE
    threshold: int = ALWAYS

    @property
    def probability(self) -> float | None:
        """Return with which probability the session came here; None where nobody can know."""
        if self.basis is Basis.UNKNOWN:
            return None
        return tracestate.probability(self.threshold)

    def combined(self, rejection: int) -> float | None:
        """Return the probability of being kept by all stages up to a T of this one.

        Thresholds on one R combine to the larger (equalizing), independent ones multiply.
        """
        if self.basis is Basis.UNKNOWN:
            return None
        if self.basis is Basis.SAME:
            return tracestate.probability(max(rejection, self.threshold))
        return tracestate.probability(self.threshold) * tracestate.probability(rejection)

    def stage(self, rejection: int) -> float:
        """Return the probability of being kept here, given that the session came."""
        if self.basis is Basis.SAME:
            return tracestate.probability(max(rejection, self.threshold)) / tracestate.probability(
                self.threshold
            )
        return tracestate.probability(rejection)


FIRST = Incoming()
"""Nothing was sampled before."""


def randomness(session_key: str, traces: Collection[tuple[int, Sampling]]) -> int:
    """Return R of a session.

    Args:
        session_key: Its key.
        traces: Id and sampling of its traces.
    """
    stated = {sampling.randomness for _, sampling in traces}
    if len(stated) == 1 and (common := stated.pop()) is not None:
        return common
    if any(session_key == format(trace_id, "032x") for trace_id, _ in traces):
        return tracestate.trace_randomness(int(session_key, 16))
    return tracestate.session_randomness(session_key)


def incoming(session_randomness: int, traces: Collection[tuple[int, Sampling]]) -> Incoming:
    """Return what the traces of a session say of the sampling before.

    Args:
        session_randomness: R of the session.
        traces: Id and sampling of its traces, each as often as its spans differ.
    """
    if any(sampling.kept_with(trace_id) is False for trace_id, sampling in traces):
        return Incoming(Basis.UNKNOWN)
    stated = {sampling.threshold for _, sampling in traces} or {None}
    if len(stated) > 1:
        return Incoming(Basis.UNKNOWN)
    common = stated.pop()
    if common is None:
        return FIRST
    if all(_own(trace_id, sampling) == session_randomness for trace_id, sampling in traces):
        return Incoming(Basis.SAME, common)
    if len({trace_id for trace_id, _ in traces}) == 1:
        return Incoming(Basis.OTHER, common)
    return Incoming(Basis.UNKNOWN)


def outgoing(
    trace_id: int,
    sampling: Sampling,
    session_randomness: int,
    rejection: int,
    *,
    unsampled_before: bool = False,
) -> Sampling:
    """Return what a kept span says to the next stage: `th` raised, left alone, or erased.

    It is erased where the session was kept although R does not reach T (by hand, by overload),
    where the incoming `th` contradicts its trace, and where the trace's R is not the session's.

    Args:
        trace_id: Trace of the span.
        sampling: Its `ot` member as it came.
        session_randomness: R the decision was made with.
        rejection: T the decision was made with.
        unsampled_before: The operator vouches that nothing was sampled before, so that a
            session kept with certainty may say `th:0`.
    """
    known = session_randomness >= rejection and sampling.kept_with(trace_id) is not False
    if known and rejection == ALWAYS:
        asserted = unsampled_before and sampling.threshold is None
        return replace(sampling, threshold=ALWAYS) if asserted else sampling
    if not known or _own(trace_id, sampling) != session_randomness:
        return sampling.erased()
    return sampling.raised(rejection)


def _own(trace_id: int, sampling: Sampling) -> int:
    stated = sampling.randomness
    return tracestate.trace_randomness(trace_id) if stated is None else stated
