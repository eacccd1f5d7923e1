"""What other backends would have to work out, as attributes: stop, class of the stop value, cost.

tracekit's own lake derives all of it anew and reads none of it back.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import yaml

from tracekit.costs.live import Price, Pricer, Usage
from tracekit.instrumentation import names
from tracekit.instrumentation.tally import has_failed
from tracekit.stops import live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.costs.pricebook import PriceBook
    from tracekit.instrumentation.evidence import Unit
    from tracekit.instrumentation.facts import LlmFacts

Attributes = dict[str, "str | int | float"]
"""Attributes of a span."""

_UNBILLED = Price(0.0, "unbilled")


@cache
def unbilled_failures() -> frozenset[str]:
    """Return the stop codes of failures that come before the model runs and cost nothing."""
    # Read without importing the models, which need DuckDB.
    file = resources.files("tracekit").joinpath("models", "facts.yaml")
    facts = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return frozenset(facts["unbilled_failures"])


class Deriver:
    """Derives attributes before a span ends. Everything is loaded when it is made."""

    __slots__ = ("_pricer", "_unbilled")

    def __init__(self, book: PriceBook | None = None) -> None:
        """Load rules, values and prices.

        Args:
            book: Prices; by default those of `tracekit.costs.default_book`.

        Raises:
            InputError: The user's price file cannot be read or an entry is wrong.
        """
        self._pricer = Pricer(book)
        self._unbilled = unbilled_failures()
        live.warm()

    def llm(self, facts: LlmFacts) -> tuple[Attributes, Price]:
        """Return the attributes that follow from a model call, and what it cost."""
        found: Attributes = {}
        meaning = live.stop_class(facts.provider, facts.raw)
        if meaning is not None:
            found[names.STOP_CLASS] = meaning
        price = self._price(facts, meaning)
        if price.usd is not None and price.source is not None:
            found[names.COST_USD] = price.usd
            found[names.COST_SOURCE] = price.source
            if price.price_version is not None:
                found[names.COST_PRICE_VERSION] = price.price_version
        elif price.missing_reason is not None:
            found[names.COST_MISSING_REASON] = price.missing_reason
        return found, price

    def unit(self, unit: Unit, evidence: Mapping[str, object]) -> Attributes:
        """Return the attributes that follow from a whole task.

        Args:
            unit: The task, closed.
            evidence: What closing it returned.
        """
        stop = live.judge(evidence)
        found: Attributes = {
            names.STOP_REASON: stop.reason,
            names.STOP_CATEGORY: stop.category,
            names.STOP_OUTCOME: stop.outcome,
            names.STOP_FAULT: stop.fault,
            names.STOP_RULE: stop.rule,
            names.STOP_RULE_VERSION: stop.rule_version,
            names.STOP_CONFIDENCE: stop.evidence,
        }
        if stop.contributing:
            found[names.STOP_CONTRIBUTING] = ",".join(stop.contributing)
        if unit.priced:
            found[names.COST_USD] = unit.cost_usd
        if unit.cost_missing is not None:
            found[names.COST_MISSING_REASON] = unit.cost_missing
        return found

    def _price(self, facts: LlmFacts, meaning: str | None) -> Price:
        price = self._pricer.price(
            Usage(
                facts.provider,
                facts.request_model,
                facts.response_model,
                facts.start_ns,
                facts.tier,
                facts.tier_requested,
                facts.input_tokens,
                None,
                facts.cache_read_tokens,
                facts.cache_write_tokens,
                facts.cache_write_1h_tokens,
                facts.output_tokens,
                facts.reasoning_tokens,
                facts.cost_reported,
            )
        )
        if price.missing_reason != "no_usage" or not has_failed(facts):
            return price
        # A call refused before the model ran has no usage because there was none.
        code = live.error_code(facts.error_type, facts.http_status, "inference") or meaning
        return _UNBILLED if code in self._unbilled else price
