"""Counters and gauges in the text format of Prometheus.

A registry of its own instead of the client library: no global state, so that tests and several
collectors in one process do not share counts, and one dependency less for two hundred lines' worth.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})

Labels = tuple[str, ...]


class Value:
    """One number that threads may change."""

    def __init__(self) -> None:
        self._value = 0.0
        self._lock = threading.Lock()

    def add(self, amount: float = 1.0) -> None:
        """Add to it."""
        with self._lock:
            self._value += amount

    def set(self, value: float) -> None:
        """Replace it."""
        self._value = value

    @property
    def value(self) -> float:
        """The number."""
        return self._value


class Family:
    """The values of one name, by their labels."""

    def __init__(self, name: str, kind: str, description: str, labels: Labels) -> None:
        self.name = name
        self.kind = kind
        self.description = description
        self.labels = labels
        self._values: dict[Labels, Value] = {}
        self._functions: dict[Labels, Callable[[], float]] = {}
        self._function: Callable[[], Mapping[Labels, float]] = dict
        self._lock = threading.Lock()

    def of(self, *labels: str) -> Value:
        """Return the value of some labels, 0 at first."""
        self._check(labels)
        with self._lock:
            return self._values.setdefault(labels, Value())

    def ask(self, function: Callable[[], float], *labels: str) -> None:
        """Take the value of some labels from a function, whenever it is looked at."""
        self._check(labels)
        self._functions[labels] = function

    def ask_all(self, function: Callable[[], Mapping[Labels, float]]) -> None:
        """Take all values, by their labels, from a function whenever they are looked at."""
        self._function = function

    def _check(self, labels: Sequence[str]) -> None:
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {labels}")

    def lines(self) -> Iterator[str]:
        """Yield the family as text."""
        yield f"# HELP {self.name} {self.description.translate(_HELP_ESCAPES)}"
        yield f"# TYPE {self.name} {self.kind}"
        with self._lock:
            numbers = {labels: value.value for labels, value in self._values.items()}
        for labels, function in list(self._functions.items()):
            numbers[labels] = function()
        numbers.update(self._function())
        for labels, number in sorted(numbers.items()):
            yield f"{self.name}{self._spelled(labels)} {_number(number)}"

    def _spelled(self, labels: Labels) -> str:
        pairs = zip(self.labels, labels, strict=True)
        inside = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in pairs)
        return f"{{{inside}}}" if inside else ""


class Registry:
    """All metrics of one collector."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._lock = threading.Lock()

    def counter(self, name: str, description: str, labels: Labels = ()) -> Family:
        """Return a counter; its name ends in `_total`."""
        if not name.endswith("_total"):
            raise ValueError(f"{name}: the name of a counter ends in _total")
        return self._family(name, "counter", description, labels)

    def gauge(self, name: str, description: str, labels: Labels = ()) -> Family:
        """Return a gauge."""
        return self._family(name, "gauge", description, labels)

    def text(self) -> str:
        """Return all metrics as Prometheus reads them."""
        with self._lock:
            families = sorted(self._families.items())
        return "".join(f"{line}\n" for _, family in families for line in family.lines())

    def _family(self, name: str, kind: str, description: str, labels: Labels) -> Family:
        if not all(_NAME.fullmatch(word) for word in (name, *labels)):
            raise ValueError(f"{name}, {labels}: no names of metrics and labels")
        with self._lock:
            family = self._families.setdefault(name, Family(name, kind, description, labels))
        if (family.kind, family.labels) != (kind, labels):
            raise ValueError(f"{name} is a {family.kind} with the labels {family.labels} already")
        return family


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
