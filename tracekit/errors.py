"""What can go wrong, as a tree.

TracekitError           anything a user can be told in one line; exit code 1
├── UsageError          the call itself was wrong; exit code 2
├── InputError          a file or request cannot be read as what it claims to be
├── JournalError        the collector's journal cannot be read or written
│   └── JournalFullError    no room for now: retry later
└── LakeError           the lake is missing, locked, or of a newer version
"""

from __future__ import annotations


class TracekitError(Exception):
    """Something failed for a reason a user can act on; one line says what, where, what next."""

    exit_code = 1


class UsageError(TracekitError):
    """The call was wrong: an unknown column, an impossible combination of options."""

    exit_code = 2


class InputError(TracekitError):
    """Input cannot be read as what it claims to be: truncated, corrupt, or of no known format."""


class LakeError(TracekitError):
    """The lake cannot be used: absent, written by a newer version, or locked by another writer."""


class JournalError(TracekitError):
    """The journal cannot be used: a foreign or newer file, another collector's, a failing disk."""


class JournalFullError(JournalError):
    """The journal has no room now; what was sent is refused and may be sent again.

    Attributes:
        retry_seconds: How long to wait before the next try.
    """

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds
