"""The report: one file that opens anywhere, with no script and nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from tracekit.pages.render import page, style, style_hash
from tracekit.pages.sections import cost, failures, headline, reading, sla, stops

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

    from tracekit.reports.query import Selection

SECTIONS: Final = (headline, stops, cost, failures, sla, reading)
"""Modules of the parts of the report, in order."""


def report(
    con: duckdb.DuckDBPyConnection, selection: Selection, *, lake: str, made: datetime
) -> str:
    """Return the report over a selection, as the text of an HTML file.

    Args:
        con: Connection with the lake's views.
        selection: What to speak of.
        lake: Name of the lake, to be shown.
        made: When the report is made.

    Raises:
        UsageError: If the selection is wrong, or the lake holds a sample that stands for others.
    """
    return page(
        "report.html",
        title="tracekit report",
        says=_about(selection, lake),
        sections=[module.section(con, selection) for module in SECTIONS],
        made=f"{made:%Y-%m-%d %H:%M} UTC",
        style=Markup(style()),  # noqa: S704 - our own file
        style_hash=style_hash(),
    )


def _about(selection: Selection, lake: str) -> str:
    parts = [f"Lake {lake}."]
    if selection.where:
        parts.append(f"Only where {selection.where}.")
    if selection.since:
        parts.append(f"Since {selection.since:%Y-%m-%d %H:%M} UTC.")
    if selection.until:
        parts.append(f"Until {selection.until:%Y-%m-%d %H:%M} UTC.")
    return " ".join(parts)
