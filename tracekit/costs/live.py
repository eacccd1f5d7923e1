"""The cost of one call, in plain Python: what `cost.sql` says, inside a running process."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from tracekit.costs import data
from tracekit.costs.book import default_book
from tracekit.costs.pricebook import DAY_NS, MAX_INT64, MIN_INT64, STANDARD

if TYPE_CHECKING:
    from tracekit.costs.pricebook import PriceBook, Rate

_MODELS: Final = 4096
"""Models whose rates are remembered: their names come from outside."""
_LARGEST_REPORTED: Final = 1e9
_MILLION: Final = 1e6


class Usage(NamedTuple):
    """What a call used, and who said what it cost; see `cost.sql` for how the counts overlap.

    Attributes:
        provider: OTel `gen_ai.provider.name`.
        request_model: Model asked for.
        response_model: Model that answered.
        start_ns: Start, UTC, ns since 1970.
        service_tier: Tier that served it.
        service_tier_requested: Tier asked for.
        input_tokens: All input tokens.
        uncached_tokens: Input neither read from nor written to a cache.
        cache_read_tokens: Input read from a cache.
        cache_write_tokens: Input written to a cache.
        cache_write_1h_tokens: Of those, written for an hour.
        output_tokens: All output tokens.
        reasoning_tokens: Of those, spent on reasoning.
        cost_reported: USD the provider or a gateway reported.
    """

    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    start_ns: int | None = None
    service_tier: str | None = None
    service_tier_requested: str | None = None
    input_tokens: int | None = None
    uncached_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_reported: float | None = None


class Price(NamedTuple):
    """What a call cost.

    Attributes:
        usd: USD; None where unknown.
        source: reported or computed.
        price_version: Version of the prices a computed cost rests on.
        missing_reason: Why it is unknown.
    """

    usd: float | None
    source: str | None = None
    price_version: str | None = None
    missing_reason: str | None = None


class _Card(NamedTuple):
    """The rates of one model and tier."""

    known: bool
    tier: str | None
    rates: tuple[Rate, ...]
    plain: Rate | None
    """The only rate, where it holds for every time and length."""


class _Counts(NamedTuple):
    """The kinds of token of one call; they do not overlap but for the two that include another."""

    uncached: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int


class Pricer:
    """Prices calls by one price book; safe to use from several threads."""

    def __init__(self, book: PriceBook | None = None) -> None:
        """Take the prices.

        Args:
            book: Prices; by default those of `default_book`.

        Raises:
            InputError: The user's price file cannot be read or an entry is wrong.
        """
        self._book = book or default_book()
        # Read once: it is looked up in the metadata of a distribution.
        self._version = self._book.version
        self._tiers = {raw: tier for tier, names in data.tiers().names.items() for raw in names}
        self._card = lru_cache(_MODELS)(self._look_up)

    def price(self, usage: Usage) -> Price:
        """Return what a call cost."""
        reported = usage.cost_reported
        if reported is not None and not 0 <= reported <= _LARGEST_REPORTED:
            reported = None
        if reported:
            return Price(reported, "reported")
        computed, reason = self._computed(usage)
        # See cost.sql: a reported 0 is believed where nothing was generated or the price is 0.
        if reported is not None and (not usage.output_tokens or computed == 0):
            return Price(reported, "reported")
        if computed is None:
            return Price(None, None, None, reason)
        return Price(computed, "computed", self._version)

    def _computed(self, usage: Usage) -> tuple[float | None, str | None]:
        counts, n_input = _counted(usage)
        if counts is None or (n_input == 0 and counts.output == 0):
            return None, "no_usage"
        if not (usage.request_model or usage.response_model):
            return None, "no_model"
        if _contradictory(counts):
            return None, "unpriced_tokens"
        card = self._card(
            usage.provider,
            usage.request_model,
            usage.response_model,
            usage.service_tier,
            usage.service_tier_requested,
        )
        rate = card.plain
        if rate is None or n_input < 0:
            rate = _fitting(card.rates, usage.start_ns, n_input)
        if rate is None:
            unknown = not card.known or card.tier == STANDARD
            return None, "unknown_model" if unknown else "unpriced_tier"
        micro = _micro_usd(counts, rate)
        if micro is None:
            return None, "unpriced_tokens"
        return micro / _MILLION + rate.request, None

    def _look_up(
        self,
        provider: str | None,
        request_model: str | None,
        response_model: str | None,
        served: str | None,
        requested: str | None,
    ) -> _Card:
        # What served is what bills; what was asked for counts only where nothing else is known.
        names = ((name or "").strip(" ").lower() for name in (served, requested))
        tier = self._tiers.get(next(filter(None, names), STANDARD))
        every = self._book.rates(provider or None, request_model or None, response_model or None)
        rates = tuple(rate for rate in every if rate.tier == tier)
        plain = rates[0] if len(rates) == 1 and _holds_always(rates[0]) else None
        return _Card(bool(every), tier, rates, plain)


def _counted(usage: Usage) -> tuple[_Counts | None, int]:
    cache_read = usage.cache_read_tokens or 0
    cache_write_1h = usage.cache_write_1h_tokens or 0
    cache_write = usage.cache_write_tokens
    if cache_write is None:
        cache_write = cache_write_1h
    uncached, n_input = usage.uncached_tokens, usage.input_tokens
    if n_input is None:
        if uncached is None:
            return None, 0
        n_input = uncached + cache_read + cache_write
    if uncached is None:
        uncached = n_input - cache_read - cache_write
    output, reasoning = usage.output_tokens or 0, usage.reasoning_tokens or 0
    return _Counts(uncached, cache_read, cache_write, cache_write_1h, output, reasoning), n_input


def _contradictory(counts: _Counts) -> bool:
    uncached, cache_read, cache_write, cache_write_1h, output, reasoning = counts
    return (
        uncached < 0
        or cache_read < 0
        or cache_write < cache_write_1h
        or cache_write_1h < 0
        or output < reasoning
        or reasoning < 0
    )


def _holds_always(rate: Rate) -> bool:
    return (rate.valid_from_ns, rate.valid_to_ns) == (MIN_INT64, MAX_INT64) and (
        (rate.day_from_ns, rate.day_to_ns, rate.input_above, rate.input_upto)
        == (0, DAY_NS, -1, MAX_INT64)
    )


def _fitting(rates: tuple[Rate, ...], start_ns: int | None, n_input: int) -> Rate | None:
    if not rates:
        return None
    at_ns = start_ns if start_ns is not None and start_ns > 0 else time.time_ns()
    day_ns = at_ns % DAY_NS
    for rate in rates:
        if (
            rate.input_above < n_input <= rate.input_upto
            and rate.valid_from_ns <= at_ns < rate.valid_to_ns
            and rate.day_from_ns <= day_ns < rate.day_to_ns
        ):
            return rate
    return None


def _micro_usd(counts: _Counts, rate: Rate) -> float | None:
    uncached, cache_read, cache_write, cache_write_1h, output, reasoning = counts
    total = 0.0
    # In the order of cost.sql, so that sums are the same to the last bit. A count of 0 costs
    # nothing, also where its kind has no price.
    for count, price in (
        (uncached, rate.uncached_input),
        (cache_read, rate.cache_read),
        (cache_write - cache_write_1h, rate.cache_write),
        (cache_write_1h, rate.cache_write_1h),
        (output - reasoning, rate.output),
        (reasoning, rate.reasoning),
    ):
        if count:
            if price is None:
                return None
            total += count * price
    return total


@lru_cache(1)
def _default() -> Pricer:
    return Pricer()


def warm() -> None:
    """Load the prices, which the first call would do otherwise; anew if they were loaded before.

    Raises:
        InputError: The user's price file cannot be read or an entry is wrong.
    """
    _default.cache_clear()
    _default()


def price(usage: Usage) -> Price:
    """Return what a call cost, by the prices of the process."""
    return _default().price(usage)
