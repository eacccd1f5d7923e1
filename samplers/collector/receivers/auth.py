"""Bearer tokens, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Tokens:
    """The tokens a receiver takes; with none at all, everybody may send.

    Digests are compared, so that neither the length nor a common prefix of a token shows in the
    time an answer takes, and every token is compared, so that neither does its place in the list.
    """

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self._digests = [_digest(token.encode()) for token in tokens]

    @property
    def required(self) -> bool:
        """Whether a request needs a token."""
        return bool(self._digests)

    def admits(self, authorization: str | None) -> bool:
        """Whether the value of an ``Authorization`` header opens the door."""
        if not self._digests:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        shown = _digest(token.strip().encode("utf-8", "surrogateescape"))
        matches = [hmac.compare_digest(shown, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(matches)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
