"""Work that is begun ahead of the thread that needs it, and handed to it in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
R = TypeVar("R")


class Ahead(Generic[T, R]):
    """A queue whose items are worked on while they wait. Used by one thread.

    Args:
        work: Is called with every item, by some thread.
        threads: How many items are worked on at a time. With one, nothing is begun ahead: the
            thread that takes an item works on it, and no other thread is made.
    """

    def __init__(self, work: Callable[[T], R], threads: int) -> None:
        self._work = work
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "ahead") if threads > 1 else None
        self._waiting: deque[tuple[T, Future[R] | None]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether another item may come; one more than threads, so that none of them waits."""
        return len(self._waiting) <= (0 if self._pool is None else self._threads)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T) -> None:
        """Take an item."""
        future = None if self._pool is None else self._pool.submit(self._work, item)
        self._waiting.append((item, future))

    def take(self) -> tuple[T, R]:
        """Return the oldest item and what came of it; raise what the work on it raised."""
        item, future = self._waiting.popleft()
        return item, self._work(item) if future is None else future.result()

    def clear(self) -> list[T]:
        """Return the items that wait, and give up what is done for them; nothing runs then."""
        items = [item for item, _ in self._waiting]
        futures = [future for _, future in self._waiting if future is not None]
        self._waiting.clear()
        wait([future for future in futures if not future.cancel()])
        return items

    def close(self) -> None:
        """Let the threads end."""
        self.clear()
        if self._pool is not None:
            self._pool.shutdown()
