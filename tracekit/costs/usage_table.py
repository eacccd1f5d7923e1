"""Costs for a table of usage: one lookup per distinct model, then one SQL statement."""

from __future__ import annotations

import time
from dataclasses import fields
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from tracekit import scripts
from tracekit.costs import data
from tracekit.costs.book import default_book
from tracekit.costs.pricebook import Rate

if TYPE_CHECKING:
    import duckdb

    from tracekit.costs.pricebook import PriceBook

_ARROW = {"str": pa.string(), "int": pa.int64()}
_RATES = {field.name: _ARROW.get(str(field.type), pa.float64()) for field in fields(Rate)}


class _Model(NamedTuple):
    """A distinct model of `usage`; empty texts where nothing was written."""

    provider: str
    request_model: str
    response_model: str


_KEYS = dict.fromkeys(_Model._fields, pa.string())


def attach(
    con: duckdb.DuckDBPyConnection, book: PriceBook | None = None, *, now_ns: int | None = None
) -> None:
    """Make temp table `span_costs` from table `usage`: a row for each row, keyed by `row_id`.

    Reads of `usage`: row_id, provider, request_model, response_model, start_ns (ns since 1970),
    service_tier, service_tier_requested, input_tokens, uncached_tokens, cache_read_tokens,
    cache_write_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_reported (USD).
    Writes: row_id, cost_usd, cost_source, price_version, cost_missing_reason, computed_cost_usd,
    as schema.yaml describes them.

    Tokens only: what providers bill beside them (web searches, storage of caches, regional
    surcharges) is in reported costs and not in computed ones.

    Args:
        con: Connection that has `usage`.
        book: Prices; by default those of `default_book`.
        now_ns: Time assumed for calls without a start; by default the present.

    Raises:
        InputError: The user's price file cannot be read or an entry is wrong.
    """
    book = book or default_book()
    models = [_Model(*row) for row in con.execute(_sql("keys.sql")).fetchall()]
    rates = {model: book.rates(*(name or None for name in model)) for model in models}
    inputs = {
        "rate_cards": _rate_cards(rates),
        "priced_models": _priced_models(rates),
        "service_tiers": _service_tiers(),
        "price_book": pa.table(
            {"version": [book.version], "now_ns": [time.time_ns() if now_ns is None else now_ns]}
        ),
    }
    for name, table in inputs.items():
        con.register(name, table)
    try:
        scripts.run(con, _sql("cost.sql"))
    finally:
        for name in inputs:
            con.unregister(name)


def _sql(name: str) -> str:
    return resources.files("tracekit.costs").joinpath(name).read_text(encoding="utf-8")


def _rate_cards(rates: dict[_Model, tuple[Rate, ...]]) -> pa.Table:
    rows = [
        model._asdict() | {name: getattr(rate, name) for name in _RATES}
        for model, card in rates.items()
        for rate in card
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(_KEYS | _RATES))


def _priced_models(rates: dict[_Model, tuple[Rate, ...]]) -> pa.Table:
    rows = [model._asdict() | {"known": bool(card)} for model, card in rates.items()]
    return pa.Table.from_pylist(rows, schema=pa.schema(_KEYS | {"known": pa.bool_()}))


def _service_tiers() -> pa.Table:
    pairs = [(raw, tier) for tier, names in data.tiers().names.items() for raw in names]
    return pa.table({"raw_tier": [raw for raw, _ in pairs], "tier": [tier for _, tier in pairs]})
