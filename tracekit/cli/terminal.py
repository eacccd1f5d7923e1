"""Tables for people: they fit the terminal, and leave out or shorten what does not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from tracekit.reports.figures import MISSING, cells, decimals, figure
from tracekit.reports.table import NUMERIC, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

    from tracekit.reports.table import ColumnSpec, Row, Table

GAP = 2
"""Characters between columns."""
MOST_ROWS = 1000
"""Rows of a table that are printed for people; programs get all of them."""
_LEAST = {Kind.TEXT: 8, Kind.ID: 8, Kind.LIST: 8, Kind.PROSE: 30}
"""Characters that columns of these kinds are not made narrower than; others stay as they are."""

_ENOUGH = {Kind.ID: 20, Kind.TEXT: 26, Kind.PROSE: 36}
"""Characters that tell most values apart: texts are cut to these before columns are left out."""

STYLES = {
    "success": "green",
    "failure": "red",
    "error": "red",
    "undetermined": "yellow",
    "look": "yellow",
    MISSING: "dim",
}
"""Colour of some words, in terminals that show colours."""

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What makes a terminal do something other than show a character."""

_RULE = Box("    \n    \n ── \n    \n ── \n ── \n    \n    \n")


@dataclass(slots=True)
class _Column:
    header: str
    cells: list[str]
    right: bool
    rank: int = 0
    least: int | None = None
    """Width the column may be narrowed to; None for one that stays as it is."""
    wraps: bool = False
    enough: int | None = None
    """Width the column is narrowed to before others are left out."""
    width: int = 0

    def __post_init__(self) -> None:
        texts = (part for cell in (self.header, *self.cells) for part in cell.split("\n"))
        self.width = max(map(cell_len, texts))


class _Console(Console):
    """A console that shows what telemetry says and does not obey it."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=_CONTROLS.sub("", segment.text))


def console(*, stderr: bool = False) -> Console:
    """Return the console: plain text when it is no terminal or NO_COLOR is set."""
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)


def show(table: Table) -> None:
    """Print a table with its title and notes, in the width of the terminal (or COLUMNS)."""
    out = console()
    title(out, table.title)
    if table.rows:
        out.print(grid(table, out.width))
    else:
        out.print("nothing to show", style="dim")
    for note in (*_left_out(table, out.width), *table.notes):
        out.print(Text(note, style="dim"))


def title(out: Console, text: str) -> None:
    """Print a heading and the empty line below it."""
    out.print(Text(text, style="bold"))
    out.print()


def _left_out(table: Table, width: int) -> Iterator[str]:
    """Say what is missing that nobody chose to leave out."""
    columns = _columns(table)
    lost = len(columns) - len(_fit(columns, width))
    if lost and not any(column.rank for column in columns):
        yield f"{lost} more columns: --format json prints them."
    if len(table.rows) > MOST_ROWS:
        yield f"{len(table.rows) - MOST_ROWS:,} more rows: --format csv prints them."


def grid(table: Table, width: int) -> RichTable:
    """Return a table laid out in a width, without its title and notes."""
    columns = _fit(_columns(table), width)
    total = table.total is not None
    rich = RichTable(
        box=_RULE,
        show_edge=False,
        show_footer=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),  # and one character of the box between columns
        collapse_padding=True,
        border_style="dim",
        header_style="bold",
    )
    wraps = any(column.wraps for column in columns)
    for column in columns:
        rich.add_column(
            Text(column.header, justify="right" if column.right else "left"),
            justify="right" if column.right else "left",
            width=column.width,
            vertical="top" if wraps else "bottom",
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    rows = list(zip(*(column.cells for column in columns), strict=True))
    for number, row in enumerate(rows):
        last = total and number == len(rows) - 1
        if last:
            rich.add_section()
        rich.add_row(*(_styled(cell) for cell in row), style=Style(bold=True) if last else None)
    return rich


def _styled(cell: str) -> Text:
    return Text(cell, style=STYLES.get(cell, ""))


def _columns(table: Table) -> list[_Column]:
    rows = [*table.rows[:MOST_ROWS], *([table.total] if table.total is not None else [])]
    columns: list[_Column] = []
    for number, spec in enumerate(table.columns):
        if spec.hidden:
            continue
        column = _column(spec, rows)
        if number == 0 and table.total is not None:
            column.cells[-1] = "all"
        columns.append(column)
        if spec.ends:
            columns.append(_Column("95 %\ninterval", _intervals(spec, rows), right=False))
    return columns


def _column(spec: ColumnSpec, rows: Sequence[Row]) -> _Column:
    return _Column(
        header=spec.header,
        cells=[" ".join(cell.split("\n")) for cell in cells(spec, rows)],
        right=spec.kind in NUMERIC,
        rank=spec.rank,
        least=_LEAST.get(spec.kind),
        wraps=spec.kind is Kind.PROSE,
        enough=_ENOUGH.get(spec.kind),
    )


def _intervals(spec: ColumnSpec, rows: Sequence[Row]) -> list[str]:
    low, high = spec.ends or ("", "")
    places = decimals(spec.kind, [row[high] for row in rows])
    ends = [
        tuple(figure(row[end], spec.kind, places) for end in (low, high))
        if row[spec.name] is not None
        else ("", "")
        for row in rows
    ]
    wide = [max((len(pair[side]) for pair in ends), default=0) for side in (0, 1)]
    return [
        f"{pair[0]:>{wide[0]}}{MISSING}{pair[1]:>{wide[1]}}" if pair[0] else "" for pair in ends
    ]


def _fit(columns: list[_Column], width: int) -> list[_Column]:
    """Make columns fit: cut long texts, leave out by rank, cut further, leave out the last ones."""
    kept = list(columns)
    _narrow(kept, width, [column.enough for column in kept])
    while _total(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    _narrow(kept, width, [column.least for column in kept])
    while _total(kept) > width and len(kept) > 1:
        kept.pop()
    return kept


def _narrow(columns: Sequence[_Column], width: int, least: Sequence[int | None]) -> None:
    """Narrow the widest first, none below its least width, until all fit."""
    while _total(columns) > width:
        pairs = zip(columns, least, strict=True)
        wide = [column for column, limit in pairs if limit and column.width > limit]
        if not wide:
            return
        max(wide, key=lambda column: column.width).width -= 1


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def shortened(text: str, width: int) -> str:
    """Return a text cut to a width, with … in place of what is missing."""
    if cell_len(text) <= width:
        return text
    cut = Text(text)
    cut.truncate(width, overflow="ellipsis")
    return cut.plain
