"""Rates from genai-prices: its bundled data, read offline.

What its data cannot say, the rates cannot either: DeepSeek's peak hours hold on weekends too (an
upper bound), and its peak prices of before September 2026 are those of after.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import (
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from tracekit.costs import data
from tracekit.costs.names import Place, places
from tracekit.costs.pricebook import DAY_NS, MAX_INT64, MIN_INT64, STANDARD, Rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from genai_prices.types import ModelInfo, Provider

# genai-prices names the same choice differently by provider (`service_tier` of OpenAI,
# `processing` for batches, Anthropic's `speed`); one value for all of them matches whichever is
# there, and no name means two tiers.
_TIER_KEYS = ("service_tier", "processing", "speed")
_TOKEN_KEYS = (
    "input_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "output_mtok",
    "output_reasoning_mtok",
)
# Free offers of OpenRouter are listed without any price.
_FREE_SUFFIX = ":free"
_FREE = ModelPrice(input_mtok=Decimal(0), output_mtok=Decimal(0))
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MIDNIGHT = dt.time(tzinfo=dt.UTC)


class _Cell(NamedTuple):
    """A span of time within which a model's prices do not change."""

    moment: dt.datetime
    valid_from_ns: int
    valid_to_ns: int
    day_from_ns: int
    day_to_ns: int


class GenaiPriceBook:
    """Prices of genai-prices, with the tiers of tiers.yaml where it has none.

    Lookups are cached: their number is that of the distinct models.
    """

    def __init__(self, snapshot: DataSnapshot | None = None) -> None:
        self._snapshot = snapshot or get_snapshot()
        self._sellers = {seller.id: seller for seller in self._snapshot.providers}
        # Bounded, because model names come from outside. For the same reason the snapshot's own
        # search is not used: it remembers every name it was ever asked for.
        self._cached = lru_cache(maxsize=4096)(self._look_up)

    @property
    def version(self) -> str:
        """Version of the price data and of tiers.yaml."""
        updated = (
            f" updated {self._snapshot.timestamp:%Y-%m-%d}"
            if self._snapshot.from_auto_update
            else ""
        )
        return f"genai-prices {version('genai-prices')}{updated}+tiers {data.tiers().version}"

    def rates(
        self, provider: str | None, request_model: str | None, response_model: str | None
    ) -> tuple[Rate, ...]:
        """Return every rate of the model that answered, else of the model asked for."""
        return self._cached(provider, response_model, request_model)

    def _look_up(self, provider: str | None, *names: str | None) -> tuple[Rate, ...]:
        for name in names:
            for place in places(provider, name) if name else ():
                seller = self._seller(place)
                model = seller and seller.find_model(
                    place.model, all_providers=self._snapshot.providers
                )
                if seller and model:
                    return tuple(_model_rates(seller, model))
        return ()

    def _seller(self, place: Place) -> Provider | None:
        if place.seller is not None:
            return self._sellers.get(place.seller)
        matches = (
            seller
            for seller in self._snapshot.providers
            if seller.model_match is not None and seller.model_match.is_match(place.model)
        )
        return next(matches, None)


def _model_rates(seller: Provider, model: ModelInfo) -> Iterator[Rate]:
    # As in genai-prices, variants belong to the seller that lists the model, not to sellers that
    # borrow its price (azure from openai).
    listed = any(model is own for own in seller.models)
    for cell in _cells(model):
        free = model.id.endswith(_FREE_SUFFIX)
        standard = _FREE if free else model.get_prices(cell.moment)
        yield from _price_rates(standard, STANDARD, cell)
        for tier in data.tiers().names:
            if tier == STANDARD:
                continue
            variant = _variant(model, cell.moment, tier) if listed else None
            if variant is not None:
                yield from _price_rates(variant, tier, cell)
            else:
                yield from _multiplied(_price_rates(standard, tier, cell), seller.id, model.id)


def _cells(model: ModelInfo) -> Iterator[_Cell]:
    """Cut time where a price may change, by date and by time of day.

    Each cell is priced by asking genai-prices at a moment inside it, so that the precedence among
    its constraints stays its own business.
    """
    constraints = (
        [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    )
    constraints += [variant.constraint for variant in model.price_variants or ()]
    dates = sorted({c.start_date for c in constraints if isinstance(c, StartDateConstraint)})
    hours = [c for c in constraints if isinstance(c, TimeOfDateConstraint)]
    times = sorted({_day_ns(t) for c in hours for t in (c.start_time, c.end_time)} | {0})
    before = (dates[0] if dates else _EPOCH.date()) - dt.timedelta(days=1)
    starts = [MIN_INT64, *map(_date_ns, dates)]
    ends = [*starts[1:], MAX_INT64]
    for day, start, end in zip([before, *dates], starts, ends, strict=True):
        midnight = dt.datetime.combine(day, _MIDNIGHT)
        for day_from, day_to in zip(times, [*times[1:], DAY_NS], strict=True):
            moment = midnight + dt.timedelta(microseconds=day_from // 1000)
            yield _Cell(moment, start, end, day_from, day_to)


def _date_ns(day: dt.date) -> int:
    return (dt.datetime.combine(day, _MIDNIGHT) - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def _day_ns(time: dt.time) -> int:
    """Return a time of day in UTC as ns since midnight; naive times are UTC, as in genai-prices."""
    aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    utc = dt.datetime.combine(_EPOCH.date(), aware).astimezone(dt.UTC)
    return (utc - _EPOCH) // dt.timedelta(microseconds=1) * 1000 % DAY_NS


def _variant(model: ModelInfo, moment: dt.datetime, tier: str) -> ModelPrice | None:
    """Return a tier's price at a moment, or None where the price list has none.

    Most variants start on the day somebody read them. Before that day a variant is taken to hold
    as long as the standard price was the one it was read beside.
    """
    context = dict.fromkeys(_TIER_KEYS, tier)
    starts = []
    for variant in model.price_variants or ():
        if not variant.when.items() <= context.items():
            continue
        if variant.constraint is None or variant.constraint.active(moment):
            return model.get_prices(moment, context)
        if isinstance(variant.constraint, StartDateConstraint):
            starts.append(variant.constraint.start_date)
    if not starts:
        return None
    first = dt.datetime.combine(min(starts), _MIDNIGHT)
    if _token_prices(model.get_prices(first)) == _token_prices(model.get_prices(moment)):
        return model.get_prices(first, context)
    return None


def _token_prices(prices: ModelPrice) -> list[Decimal | TieredPrices | None]:
    return [getattr(prices, key) for key in _TOKEN_KEYS]


def _price_rates(prices: ModelPrice, tier: str, cell: _Cell) -> Iterator[Rate]:
    """Yield a rate for each context length the prices distinguish."""
    tiered = [price for price in _token_prices(prices) if isinstance(price, TieredPrices)]
    above = sorted({-1} | {step.start for price in tiered for step in price.tiers})
    per_thousand = getattr(prices, "requests_kcount", None)
    for start, end in zip(above, [*above[1:], MAX_INT64], strict=True):
        uncached, read, write, write_1h, output, reasoning = (
            _price_above(price, start) for price in _token_prices(prices)
        )
        write = uncached if write is None else write
        yield Rate(
            tier=tier,
            valid_from_ns=cell.valid_from_ns,
            valid_to_ns=cell.valid_to_ns,
            day_from_ns=cell.day_from_ns,
            day_to_ns=cell.day_to_ns,
            input_above=start,
            input_upto=end,
            uncached_input=uncached,
            cache_read=uncached if read is None else read,
            cache_write=write,
            cache_write_1h=write if write_1h is None else write_1h,
            output=output,
            reasoning=output if reasoning is None else reasoning,
            request=float(per_thousand) / 1000 if isinstance(per_thousand, Decimal) else 0.0,
        )


def _price_above(price: Decimal | TieredPrices | None, start: int) -> float | None:
    """Return the price of a call with `start + 1` input tokens: the last step it is above.

    As in `genai_prices.types.calc_unit_price`: the step prices the whole call.
    """
    if isinstance(price, TieredPrices):
        passed = [step.price for step in price.tiers if start + 1 > step.start]
        return float(passed[-1] if passed else price.base)
    return None if price is None else float(price)


def _multiplied(rates: Iterable[Rate], seller: str, model: str) -> Iterator[Rate]:
    """Yield standard rates times the factors of tiers.yaml; none where it has no entry."""
    for rate in rates:
        for entry in data.tiers().tiers:
            if (entry.seller, entry.tier) == (seller, rate.tier) and model.startswith(entry.models):
                factors = entry.factors
                yield replace(
                    rate,
                    uncached_input=_times(rate.uncached_input, factors.input),
                    cache_read=_times(rate.cache_read, factors.cache_read),
                    cache_write=_times(rate.cache_write, factors.cache_write),
                    cache_write_1h=_times(rate.cache_write_1h, factors.cache_write),
                    output=_times(rate.output, factors.output),
                    reasoning=_times(rate.reasoning, factors.output),
                )
                break


def _times(rate: float | None, factor: float) -> float | None:
    return None if rate is None else rate * factor
