"""What is asked of the lake, one question at a time per request, and what is remembered."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

import duckdb

from tracekit import detectors
from tracekit.errors import TracekitError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from tracekit.lake.lake import Lake

T = TypeVar("T")

LONGEST_S: Final = 30.0
"""A question that takes longer is given up."""
_AT_ONCE: Final = 3
"""Questions that run at the same time; others wait."""
_FRESH_S: Final = 3600.0
"""Baselines speak of whole days: an hour makes them no worse."""
_PATIENCE_S: Final = 1.0
"""How long a page waits for the baselines; it does without until they are there."""


class State:
    """A lake that is looked at.

    Attributes:
        lake: The lake.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._turn = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._baselines: pa.Table | None = None
        self._made = float("-inf")
        self._maker: threading.Thread | None = None

    def ask(self, question: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Return the answer of a function that is given a connection with the lake's views.

        Raises:
            TracekitError: If it takes too long, or is wrong, or the lake cannot be read.
        """
        with self._turn:
            try:
                return self.lake.read(lambda con: _within(con, LONGEST_S, question))
            except duckdb.InterruptException as error:
                raise TracekitError(
                    f"this took longer than {LONGEST_S:.0f} s and was given up: narrow it down"
                ) from error

    def baselines(self) -> pa.Table | None:
        """Return the cohorts that detectors compare with; None while they are still being made."""
        with self._lock:
            stale = time.monotonic() - self._made > _FRESH_S
            if stale and (self._maker is None or not self._maker.is_alive()):
                self._maker = threading.Thread(target=self._make, daemon=True)
                self._maker.start()
            maker = self._maker
        if self._baselines is None and maker is not None:
            maker.join(_PATIENCE_S)
        return self._baselines

    def _make(self) -> None:
        try:
            made = self.lake.read(_frozen)
        except (TracekitError, duckdb.Error):
            made = None  # the page that asks for them meets the same error, and tells it
        with self._lock:
            self._baselines = made
            self._made = time.monotonic()


def _frozen(con: duckdb.DuckDBPyConnection) -> pa.Table:
    detectors.register(con)
    detectors.freeze(con)
    return con.sql("FROM baselines").to_arrow_table()


def _within(
    con: duckdb.DuckDBPyConnection,
    seconds: float,
    question: Callable[[duckdb.DuckDBPyConnection], T],
) -> T:
    clock = threading.Timer(seconds, con.interrupt)
    clock.daemon = True
    clock.start()
    try:
        return question(con)
    finally:
        clock.cancel()
