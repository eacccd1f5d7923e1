"""How many bytes of unfinished requests a receiver may hold, over all connections."""

from __future__ import annotations

import threading
from typing import Self


class Budget:
    """Bytes that are reserved before they are allocated."""

    def __init__(self, total: int) -> None:
        self._left = total
        self._lock = threading.Lock()

    def reserve(self, size: int) -> bool:
        """Take bytes from what is left; false, and nothing taken, where that is too little."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def release(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._left += size


class BudgetExceededError(Exception):
    """There is no room for a request now; the same request may come again."""


class Lease:
    """What one request has reserved of a budget; given back at the end of the `with` block."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, size: int) -> None:
        """Reserve more.

        Raises:
            BudgetExceededError: So much is not left.
        """
        if not self._budget.reserve(size):
            raise BudgetExceededError
        self._held += size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.release(self._held)
        self._held = 0
