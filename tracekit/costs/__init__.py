"""What a step cost: price book, tiers, and the reasons why a price is missing."""

from tracekit.costs.attach import PRICES_VARIABLE, attach, default_book
from tracekit.costs.genai import GenaiPriceBook
from tracekit.costs.overlay import OverlayPriceBook
from tracekit.costs.pricebook import PriceBook, Rate

__all__ = [
    "PRICES_VARIABLE",
    "GenaiPriceBook",
    "OverlayPriceBook",
    "PriceBook",
    "Rate",
    "attach",
    "default_book",
]
