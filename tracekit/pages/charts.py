"""Charts as data: what is drawn where, what the axes say, and one sentence to read first.

A chart is an HTML table whose cells hold bars as SVG, so that every number is text too, wraps like
text, and is read aloud like text. Places along an axis are percentages: the same chart fits a
telephone and a sheet of paper. What a mark means is told by its pattern and in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from tracekit.pages.scale import scale
from tracekit.reports.figures import MISSING, decimals, figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tracekit.pages.scale import Scale
    from tracekit.reports.table import Kind

LOOKS: Final = (
    "plain",
    "tool",
    "light",
    "rest",
    "success",
    "undetermined",
    "failure",
    "wasted",
    "lost",
)
"""Names of the ways a mark is filled: `templates/charts.css` and `templates/patterns.html`."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar, in the axis' values.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        look: One of `LOOKS`.
    """

    start: float
    end: float
    look: str = "plain"


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled line of a chart of bars.

    Attributes:
        label: What it is about.
        value: The number, as text, unit left to the header.
        parts: Pieces of the bar.
        point: A value marked by a dot.
        interval: Both ends of the value's interval, drawn as a whisker.
        note: More about the line, in small print.
        href: Where the label leads.
    """

    label: str
    value: str
    parts: tuple[Part, ...] = ()
    point: float | None = None
    interval: tuple[float, float] | None = None
    note: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Labelled bars, or dots with whiskers, on one axis.

    Attributes:
        title: What is shown, with its unit.
        says: The sentence to read first.
        header: What the labels are.
        value_header: What the numbers are, with their unit.
        axis: What the axis measures, with its unit.
        scale: The axis.
        lines: The lines, in order.
        legend: Looks that need an explanation.
        notes: What a reader must know to read it right.
    """

    template: ClassVar[str] = "bars.html"
    title: str
    says: str
    header: str
    value_header: str
    axis: str
    scale: Scale
    lines: tuple[Line, ...]
    legend: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Strip:
    """Columns over time of one kind of thing.

    Attributes:
        label: What is counted.
        total: The sum, as text.
        values: One per period.
        look: One of `LOOKS`.
    """

    label: str
    total: str
    values: tuple[float, ...]
    look: str = "plain"


@dataclass(frozen=True, slots=True)
class Strips:
    """Small charts over the same time, one below the other, on the same scale.

    Attributes:
        title: What is shown, with its unit.
        says: The sentence to read first.
        axis: What the height measures, with its unit.
        periods: Starts of the periods, as text.
        period: What a period is: hour, day, week, month.
        scale: Axis of the heights.
        strips: The charts.
        notes: What a reader must know to read it right.
    """

    template: ClassVar[str] = "strips.html"
    title: str
    says: str
    axis: str
    periods: tuple[str, ...]
    period: str
    scale: Scale
    strips: tuple[Strip, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dot:
    """An estimate for one period: value and both ends of its interval; None where there is none."""

    value: float | None
    low: float = 0.0
    high: float = 1.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Dots:
    """Estimates over time, each with its interval.

    Attributes:
        title: What is shown, with its unit.
        says: The sentence to read first.
        axis: What the height measures, with its unit.
        periods: Starts of the periods, as text.
        period: What a period is: hour, day, week, month.
        scale: Axis of the heights.
        dots: One per period.
        level: Value over all periods, drawn as a line.
        notes: What a reader must know to read it right.
    """

    template: ClassVar[str] = "dots.html"
    title: str
    says: str
    axis: str
    periods: tuple[str, ...]
    period: str
    scale: Scale
    dots: tuple[Dot, ...]
    level: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts of one thing against another, shaded by their size, with the sums of the rows.

    Attributes:
        title: What is shown, with its unit.
        says: The sentence to read first.
        header: What the rows are.
        across: What the columns are.
        columns: Headers of the columns.
        rows: Label and counts per row; 0 stays empty.
        notes: What a reader must know to read it right.
    """

    template: ClassVar[str] = "matrix.html"
    title: str
    says: str
    header: str
    across: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    notes: tuple[str, ...] = ()

    def shade(self, count: int) -> int:
        """Return how dark a cell is, from 0 to 4."""
        largest = max((n for _, counts in self.rows for n in counts), default=0)
        return 0 if not count else 1 + int(3 * count / largest)


@dataclass(frozen=True, slots=True)
class Fact:
    """A number to know: its label, its text, and what to know about it."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The numbers to know."""

    template: ClassVar[str] = "facts.html"
    facts: tuple[Fact, ...]


Chart = Bars | Strips | Dots | Matrix | Facts


@dataclass(frozen=True, slots=True)
class Listing:
    """A report's table as it is, its links included.

    Attributes:
        title: What is listed.
        says: The sentence to read first.
        columns: Headers, and what they hold: number, time or text.
        rows: Texts of the cells, in the order of the columns.
        links: Where the first cell of each row leads; empty where nowhere.
        notes: What a reader must know to read it right.
    """

    template: ClassVar[str] = "listing.html"
    title: str
    says: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    links: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: a heading and what is below it."""

    anchor: str
    title: str
    says: str = ""
    figures: tuple[Chart | Listing, ...] = field(default=())


def stacked(values: Mapping[str, float]) -> tuple[Part, ...]:
    """Return the pieces of a bar that shows several amounts end to end, by look."""
    parts: list[Part] = []
    start = 0.0
    for look, value in values.items():
        if value > 0:
            parts.append(Part(start, start + value, look))
            start += value
    return tuple(parts)


def number_of(value: object) -> float:
    """Return a cell of a report as a number, 0 where it is unknown."""
    return float(value) if isinstance(value, int | float) else 0.0


def texts(values: Sequence[object], kind: Kind) -> list[str]:
    """Return numbers of one kind as texts with the same number of decimals."""
    numbers = [value if isinstance(value, int | float) else None for value in values]
    places = decimals(kind, numbers)
    return [MISSING if number is None else figure(number, kind, places) for number in numbers]


def axis_of(values: Iterable[object], kind: Kind) -> Scale:
    """Return an axis from 0 over the known ones of some values."""
    return scale([number_of(value) for value in values], kind)
