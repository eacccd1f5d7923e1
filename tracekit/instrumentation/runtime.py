"""What is switched on in this process, and what went wrong in it.

Nothing here raises into the host. A failure of ours is counted, logged once per place, and a place
that keeps failing is switched off.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Tracer

    from tracekit.costs.live import Price
    from tracekit.instrumentation.evidence import LlmFacts, Unit

log: Final = logging.getLogger("tracekit")

LATCH: Final = 10
"""Failures in a row after which a place is switched off for the life of the process."""


class Redacts(Protocol):
    """Takes out of captured content what must not be written."""

    def __call__(self, content: str) -> str:
        """Return the content without it."""
        ...


class Derives(Protocol):
    """Computes, before a span ends, what other backends would have to work out."""

    def llm(self, facts: LlmFacts) -> tuple[Mapping[str, str | int | float], Price | None]:
        """Return the attributes that follow from a model call, and what it cost."""
        ...

    def unit(self, unit: Unit, evidence: Mapping[str, object]) -> Mapping[str, str | int | float]:
        """Return the attributes that follow from a whole task."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What `configure` was told.

    Attributes:
        lake: Folder spans go to where no OTLP endpoint is set.
        fingerprint_key: 64-bit key of argument, result and identity fingerprints.
        capture_content: Write messages, arguments and results on the spans.
        redact: Applied to content before anything is written.
        inspect: Look at the final state of outputs in process.
        propagate: Send session and task along as W3C baggage.
    """

    lake: Path = Path(".tracekit")
    fingerprint_key: int = 0
    capture_content: bool = False
    redact: Redacts | None = None
    inspect: bool = True
    propagate: bool = True


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a step needs while it runs.

    Attributes:
        tracer: Where spans come from.
        settings: What `configure` was told.
        clock: Nanoseconds since 1970, UTC; None leaves the time to the SDK, which is faster.
        deriver: Computes stops and costs; None where that is off.
    """

    tracer: Tracer
    settings: Settings
    clock: Callable[[], int] | None = None
    deriver: Derives | None = None

    def now_ns(self) -> int:
        """Return the time, UTC, ns since 1970."""
        return time_ns() if self.clock is None else self.clock()


class _State:
    __slots__ = ("failures", "runtime")

    def __init__(self) -> None:
        self.runtime: Runtime | None = None
        self.failures: dict[str, int] = {}


STATE: Final = _State()
"""Of this process. Steps read `STATE.runtime` at every call: None means switched off."""

_counts: Final[Counter[str]] = Counter()


def active() -> Runtime | None:
    """Return what is switched on, or None."""
    return STATE.runtime


def activate(runtime: Runtime) -> None:
    """Switch on."""
    STATE.failures.clear()
    STATE.runtime = runtime


def deactivate() -> None:
    """Switch off: decorated functions are called straight through."""
    STATE.runtime = None


def count(reason: str, n: int = 1) -> None:
    """Count something that was lost, as `tracekit.drop.<reason>`."""
    _counts[f"tracekit.drop.{reason}"] += n


def counts() -> dict[str, int]:
    """Return what was lost in this process since it started, by reason."""
    return dict(_counts)


def reset_counts() -> None:
    """Forget what was lost: for a child after a fork, and for tests."""
    _counts.clear()


def failed(site: str) -> None:
    """Note a failure of ours; to be called while its exception is handled.

    Args:
        site: The place, by which failures are told apart.
    """
    count("internal_error")
    failures = STATE.failures[site] = STATE.failures.get(site, 0) + 1
    if failures == 1:
        log.warning(
            "tracekit failed in %s; the application goes on without it",
            site,
            exc_info=True,  # noqa: LOG014 - called while an exception is handled
        )
    elif failures == LATCH:
        log.warning("tracekit failed %d times in a row in %s and stops trying", LATCH, site)


def latched(site: str) -> bool:
    """Return whether a place has failed so often that it is switched off."""
    return STATE.failures.get(site, 0) >= LATCH


def worked(site: str) -> None:
    """Note that a place works again: only failures in a row switch it off."""
    if STATE.failures:
        STATE.failures.pop(site, None)
