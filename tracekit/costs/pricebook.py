"""What a price book answers: the rates of a model, over time, tiers and context length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

DAY_NS = 86_400 * 10**9
"""Nanoseconds of a day."""
MIN_INT64 = -(2**63)
MAX_INT64 = 2**63 - 1
STANDARD = "standard"
"""The tier of a call that names none."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of a rate card: prices that hold for one tier, span of time and context length.

    The rates of a model are disjoint: at most one holds for a call. A rate that is None means
    that tokens of that kind have no known price. Where a price list prices a kind of token
    together with a broader one (cached with uncached input, reasoning with output), the broader
    price is filled in.

    Attributes:
        tier: Service tier: a key of `names` in tiers.yaml.
        valid_from_ns: First start of a call, ns since 1970.
        valid_to_ns: End of that span, exclusive.
        day_from_ns: First time of day (UTC) in ns, for prices that change within a day.
        day_to_ns: End of that time of day, exclusive.
        input_above: Holds for calls with more input tokens than this (-1: all), cached included.
        input_upto: ... and at most that many.
        uncached_input: USD per million input tokens neither read from nor written to a cache.
        cache_read: USD per million input tokens read from a cache.
        cache_write: USD per million input tokens written to a cache.
        cache_write_1h: USD per million input tokens written to a cache of one hour.
        output: USD per million output tokens.
        reasoning: USD per million output tokens spent on reasoning.
        request: USD per call.
    """

    tier: str = STANDARD
    valid_from_ns: int = MIN_INT64
    valid_to_ns: int = MAX_INT64
    day_from_ns: int = 0
    day_to_ns: int = DAY_NS
    input_above: int = -1
    input_upto: int = MAX_INT64
    uncached_input: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    output: float | None = None
    reasoning: float | None = None
    request: float = 0.0


class PriceBook(Protocol):
    """A source of rates."""

    @property
    def version(self) -> str:
        """Name and version of the prices; recorded beside every computed cost."""

    def rates(
        self, provider: str | None, request_model: str | None, response_model: str | None
    ) -> tuple[Rate, ...]:
        """Return every rate of the model that answered; empty where the model is unknown.

        Args:
            provider: OTel `gen_ai.provider.name`, or None where none is named.
            request_model: Model asked for.
            response_model: Model that answered; looked up first.
        """
