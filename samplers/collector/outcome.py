"""What became of one request, in terms that every protocol can put into its answer.

A receiver hands the bytes of a request to a `Handler` and gets an `Outcome`. It knows nothing of
the journal, and the journal knows nothing of status codes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """The request is as durable as the configuration promises; the client may forget it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected:
    """The request was taken but for some spans, which are not to be sent again.

    Attributes:
        reason: Why, for the people on the sending side.
        spans: How many spans were not taken.
    """

    reason: str
    spans: int


@dataclasses.dataclass(frozen=True, slots=True)
class RetryLater:
    """Nothing was taken, and the same request is welcome later.

    Attributes:
        seconds: How long the client should wait.
        reason: Why, for the people on the sending side.
        full: Whether something ran full; otherwise the service itself is not there now.
    """

    seconds: float
    reason: str
    full: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Malformed:
    """The bytes are no trace request, so sending them again is of no use.

    Attributes:
        detail: What is wrong, and at which byte.
    """

    detail: str


Outcome = Accepted | Rejected | RetryLater | Malformed

Handler = Callable[[bytes], Outcome]
"""Takes the bytes of one `ExportTraceServiceRequest`; called from many threads at once."""
