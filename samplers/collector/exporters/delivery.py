"""What became of one request that was sent, whatever it was sent over."""

from __future__ import annotations

import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True, slots=True)
class Delivered:
    """The target has it.

    Attributes:
        rejected: Spans that the target did not take and does not want again.
        reason: Why not.
    """

    rejected: int = 0
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Postponed:
    """The target does not have it, and may take it later.

    Attributes:
        reason: What went wrong.
        seconds: When the target wants to be asked again; None where it did not say.
    """

    reason: str
    seconds: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """The target will never take it.

    Attributes:
        reason: Why.
    """

    reason: str


Delivery = Delivered | Postponed | Refused


class Target(Protocol):
    """Where requests can be sent to; used by several threads at once."""

    def send(self, request: bytes) -> Delivery:
        """Send the bytes of one request; no exception comes out."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...
