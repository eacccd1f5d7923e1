"""What a report returns: typed rows, and how each column wants to be read.

Rows hold raw numbers in base units (a share is between 0 and 1, a duration in seconds, a cost in
USD); rounding, units and layout are the printer's business (`figures.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | list[str] | None
"""What a cell holds. None is unknown or not applicable."""

Row: TypeAlias = Mapping[str, Value]
"""One row: a value for every column of its table."""


class Kind(StrEnum):
    """What a column's values are, which decides how a terminal shows them."""

    TEXT = "text"
    ID = "id"
    """An identifier: shortened from the right when the terminal is narrow."""
    TIME = "time"
    """UTC time, as ISO 8601 text."""
    COUNT = "count"
    NUMBER = "number"
    FACTOR = "factor"
    """How many times as much, or how many standard deviations: shown with one decimal."""
    USD = "usd"
    SHARE = "share"
    """A share between 0 and 1; terminals show percent."""
    NINES = "nines"
    """A share that is told from 1 by its decimals: terminals show percent with three."""
    SECONDS = "seconds"
    BOOL = "bool"
    LIST = "list"
    PROSE = "prose"
    """Sentences: they wrap where other texts are cut."""


NUMERIC = frozenset(
    {Kind.COUNT, Kind.NUMBER, Kind.FACTOR, Kind.USD, Kind.SHARE, Kind.NINES, Kind.SECONDS}
)
"""Kinds that are aligned to the right."""


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column of a report.

    Attributes:
        name: Key in JSON, header in CSV.
        kind: What the values are.
        title: Header in a terminal, unit included; made from the name and the unit where empty.
        ends: Columns that hold the two ends of this value's interval; a terminal shows them as one.
        bound: Column of a count that, where above 0, makes this value a lower bound (≥).
        rank: The higher, the sooner a narrow terminal leaves the column out; 0 is never left out.
        hidden: Left out of terminals at any width, because another column shows it.
    """

    name: str
    kind: Kind = Kind.TEXT
    title: str = ""
    ends: tuple[str, str] | None = None
    bound: str | None = None
    rank: int = 0
    hidden: bool = False

    @property
    def header(self) -> str:
        """Return the header in a terminal, at most two lines."""
        if self.title:
            return self.title
        units = {Kind.USD: "\nUSD", Kind.SECONDS: "\ns", Kind.SHARE: "\n%", Kind.NINES: "\n%"}
        unit = units.get(self.kind, "")
        return self.name.replace("_", " ") + unit

    @property
    def unit(self) -> str:
        """Return the unit of the values as rows hold them; empty where they have none."""
        units = {Kind.USD: "USD", Kind.SECONDS: "s", Kind.SHARE: "1", Kind.NINES: "1"}
        return units.get(self.kind, "")

    @property
    def align(self) -> str:
        """Return the side the values are aligned to: left or right."""
        return "right" if self.kind in NUMERIC else "left"


@dataclass(frozen=True, slots=True)
class Table:
    """A report.

    Attributes:
        title: What the rows are, in a few words.
        columns: Columns, in order.
        rows: Rows, each with a value for every column.
        total: One row over all rows; not part of the data a program reads.
        notes: What a reader must know to read the numbers right; one sentence each.
    """

    title: str
    columns: tuple[ColumnSpec, ...]
    rows: tuple[Row, ...]
    total: Row | None = None
    notes: tuple[str, ...] = ()
