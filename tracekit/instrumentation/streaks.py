"""Streaks and cycles at the end of a row of turns, in constant memory."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

_REPEATS: Final = 3
"""Equal hashes from which on streaks are looked at; see `repeated` in evidence.sql."""
_DISTINCT: Final = 4096
"""Distinct hashes that are counted."""


class Streak:
    """Equal turns and cycles of two or three turns that the last turn ends."""

    __slots__ = ("_last", "_runs")

    def __init__(self) -> None:
        self._last: deque[object] = deque((None, None, None), maxlen=3)
        self._runs = [0, 0, 0]

    def add(self, turn: object) -> None:
        """Add the next turn; None never repeats."""
        last, runs = self._last, self._runs
        for distance in (1, 2, 3):
            same = turn is not None and turn == last[-distance]
            runs[distance - 1] = runs[distance - 1] + 1 if same else 1
        last.append(turn)

    @property
    def equal(self) -> int:
        """Length of the streak of equal turns; 0 without turns."""
        return self._runs[0]

    @property
    def cycles(self) -> int:
        """Repetitions of the cycle of two or three different turns."""
        one, two, three = self._runs
        # Runs at a distance of d are turns less d, plus 1. A streak of one turn is no cycle.
        return 0 if one > 1 or not one else max((two + 1) // 2, (three + 2) // 3)


class ToolStreaks:
    """Streaks of tool calls: by tool and arguments, and by result."""

    __slots__ = ("_calls", "_counts", "_repeated", "_results")

    def __init__(self) -> None:
        self._calls, self._results = Streak(), Streak()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._repeated = False

    def add(self, name: str | None, arguments: int | None, result: int | None) -> None:
        """Add the next call."""
        self._calls.add(None if arguments is None else (name or "", arguments))
        self._results.add(result)
        if not self._repeated:
            self._count("arguments", arguments)
            self._count("result", result)

    def _count(self, kind: str, fingerprint: int | None) -> None:
        key = (kind, fingerprint or 0)
        if fingerprint is None or (len(self._counts) >= _DISTINCT and key not in self._counts):
            return
        self._counts[key] += 1
        if self._counts[key] >= _REPEATS:
            self._repeated = True
            self._counts.clear()

    def evidence(self) -> dict[str, object]:
        """Return the columns of the evidence that tell of repeated calls."""
        equal, cycles, results = self._calls.equal, self._calls.cycles, self._results.equal
        # Where nothing happened three times there is no streak to speak of.
        if not self._repeated and max(equal, cycles, results) < _REPEATS:
            equal = cycles = results = 0
        return {
            "repeat_streak": equal,
            "cycle_streak": cycles,
            "same_result_streak": results,
        }
