"""Ending calls that take too long, by one thread that looks at all of them now and then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_SECONDS: Final = 1.0


class Deadlines:
    """What is to be done to each waiting call when its time is over.

    Noting a call costs as much as putting an item into a dictionary; a timer for each would cost a
    thread for each.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """Watch nothing yet.

        Args:
            seconds: How long a call may wait.
            clock: Seconds.
        """
        self._seconds = seconds
        self._clock = clock
        self._waiting: dict[object, tuple[float, Callable[[], object]]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)

    def start(self) -> None:
        """Watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def note(self, call: object, end: Callable[[], object]) -> None:
        """Note that a call waits from now on, and how to end it."""
        self._waiting[call] = (self._clock() + self._seconds, end)

    def done(self, call: object) -> None:
        """Forget a call, which waits no more."""
        self._waiting.pop(call, None)

    def _run(self) -> None:
        while not self._stopped.wait(min(self._seconds, _LOOK_SECONDS)):
            now = self._clock()
            for call, (deadline, end) in list(self._waiting.items()):
                if deadline <= now and self._waiting.pop(call, None) is not None:
                    end()
