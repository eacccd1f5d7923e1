"""Which sessions to read first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.pages.charts import Listing, Section
from tracekit.pages.listing import listing
from tracekit.reports.reading import worth_reading

if TYPE_CHECKING:
    import duckdb

    from tracekit.reports.query import Selection


def section(con: duckdb.DuckDBPyConnection, selection: Selection) -> Section:
    """Return the sessions worth reading of a selection.

    Raises:
        UsageError: If the selection is wrong.
    """
    return Section("reading", "Which sessions are worth reading?", figures=(table(con, selection),))


def table(con: duckdb.DuckDBPyConnection, selection: Selection) -> Listing:
    """Return one session of each kind of failure, and the one that wasted most."""
    return listing(
        worth_reading(con, selection),
        says="The costliest session of each way to fail, the most frequent way first, and the one "
        "that wasted most without failing; `tracekit session ID` and `tracekit ui` show the steps.",
    )
