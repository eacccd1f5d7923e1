"""The failed calls behind a verdict, one by one, as a claim needs them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, TextIO

from tracekit.reports import query
from tracekit.sla import conditions
from tracekit.sla.contract import judged_periods
from tracekit.sla.relations import prepare, sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb

    from tracekit.sla.terms import Terms
    from tracekit.sla.verdict import Window

COLUMNS = (
    "utc_time",
    "terms",
    "period",
    "class",
    "provider",
    "endpoint",
    "region",
    "model",
    "service_tier",
    "http_status",
    "error_type",
    "failure_class",
    "request_id",
    "trace_id",
    "span_id",
    "duration_s",
)
"""Columns of the file. `class` is what the terms say of the call: counted, excluded, uncounted or
unstated; times are UTC, ISO 8601."""


def evidence(
    con: duckdb.DuckDBPyConnection, terms: Iterable[Terms], window: Window
) -> Iterator[dict[str, Any]]:
    """Yield every failed or left-out call in the scope of terms, by terms, period and time.

    Args:
        con: Connection with the lake's views.
        terms: The terms.
        window: The time to look at.

    Yields:
        Rows with `COLUMNS`; what the ledger does not have is None.
    """
    prepare(con)
    for one in terms:
        for period in judged_periods(con, one, window):
            since, until = window.bounds(period)
            yield from query.fetch(
                con,
                sql("evidence").format(
                    terms=conditions.text(one.id),
                    period=conditions.text(period.name),
                    scope=conditions.in_scope(one),
                    class_=conditions.in_class(one, window.maintenance),
                    tier=conditions.TIER,
                    since_ns=since,
                    until_ns=until,
                ),
            )


def write_csv(rows: Iterable[dict[str, Any]], file: TextIO) -> int:
    """Write evidence as CSV with a header, and return the number of calls.

    Args:
        rows: What `evidence` yields.
        file: Opened with `newline=""`.
    """
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    number = 0
    for row in rows:
        writer.writerow({name: "" if row[name] is None else row[name] for name in COLUMNS})
        number += 1
    return number
