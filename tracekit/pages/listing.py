"""A report's table as a listing of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.pages.charts import Listing
from tracekit.reports.figures import MISSING, cells, share_range
from tracekit.reports.table import NUMERIC, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tracekit.reports.table import ColumnSpec, Row, Table


def listing(
    table: Table,
    says: str = "",
    link: Callable[[Row], str] | None = None,
    without: Collection[str] = (),
    title: str | None = None,
) -> Listing:
    """Return the columns a terminal would show, written as there.

    Args:
        table: The report.
        says: A sentence to read first.
        link: Where the first cell of a row leads.
        without: Columns to leave out.
        title: What is listed, where that is not the table's own title; its notes stay out then.
    """
    columns = [
        column for column in table.columns if not column.hidden and column.name not in without
    ]
    texts = [_texts(column, table.rows) for column in columns]
    return Listing(
        title=table.title if title is None else title,
        says=says,
        columns=tuple((" ".join(c.header.split("\n")), _look(c.kind)) for c in columns),
        rows=tuple(zip(*texts, strict=True)),
        links=tuple(link(row) for row in table.rows) if link else (),
        notes=table.notes if title is None else (),
    )


def _look(kind: Kind) -> str:
    return "number" if kind in NUMERIC else "time" if kind is Kind.TIME else "text"


def _texts(column: ColumnSpec, rows: tuple[Row, ...]) -> list[str]:
    texts = cells(column, rows)
    if column.ends is None:
        return texts
    low, high = column.ends
    return [
        text if text == MISSING else f"{text} ({share_range(row[low], row[high])})"
        for text, row in zip(texts, rows, strict=True)
    ]
