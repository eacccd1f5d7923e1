"""Virtual time, and ids that follow from the seed."""

from __future__ import annotations

from random import Random
from typing import Final

from opentelemetry.sdk.trace.id_generator import IdGenerator

SECOND_NS: Final = 1_000_000_000


class Clock:
    """The time of the session that is being played.

    Attributes:
        ns: UTC, ns since 1970.
    """

    __slots__ = ("ns",)

    def __init__(self) -> None:
        self.ns = 0

    def now(self) -> int:
        """Return the time, UTC, ns since 1970."""
        return self.ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += int(seconds * SECOND_NS)


class SeededIds(IdGenerator):
    """Trace and span ids of one session after the other, the same for the same seed."""

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311 - ids of made-up spans

    def restart(self, seed: int) -> None:
        """Begin the ids of a session."""
        self._random.seed(seed)

    def generate_span_id(self) -> int:
        """Return the next span id."""
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """Return the next trace id."""
        return self._random.getrandbits(128) or 1
