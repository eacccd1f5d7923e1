"""Rows of the table `usage`, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from tracekit.costs import attach

if TYPE_CHECKING:
    import datetime as dt

    from tracekit.costs import PriceBook

TEXTS = ("provider", "request_model", "response_model", "service_tier", "service_tier_requested")
COUNTS = (
    *("input_tokens", "uncached_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_1h_tokens", "output_tokens", "reasoning_tokens"),
)
SCHEMA = pa.schema(
    dict.fromkeys(("row_id", "start_ns", *COUNTS), pa.int64())
    | dict.fromkeys(TEXTS, pa.string())
    | {"cost_reported": pa.float64()}
)


def cost(rows: list[dict[str, Any]], book: PriceBook | None = None) -> list[dict[str, Any]]:
    """Return the rows of span_costs for some rows of usage, columns left out being null."""
    complete = [dict.fromkeys(SCHEMA.names) | {"row_id": i} | row for i, row in enumerate(rows)]
    with duckdb.connect() as con:
        con.register("usage", pa.Table.from_pylist(complete, schema=SCHEMA))
        attach(con, book)
        table = con.sql("FROM span_costs ORDER BY row_id").to_arrow_table()
        found: list[dict[str, Any]] = table.to_pylist()
    return found


def call(provider: str | None, model: str | None, **values: Any) -> dict[str, Any]:
    """Return a row of usage: 100 tokens in, 10 out, unless told otherwise."""
    row = {"provider": provider, "request_model": model, "input_tokens": 100, "output_tokens": 10}
    return row | values


def ns(moment: dt.datetime) -> int:
    """Return a moment as ns since 1970."""
    return int(moment.timestamp()) * 10**9
