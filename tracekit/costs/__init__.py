"""What a step cost: price book, tiers, and the reasons why a price is missing.

attach(con)        table span_costs from table usage
live.price(usage)  the same for one call, in plain Python

Nothing is loaded before it is used: `live` runs in processes being traced.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tracekit.costs.book import PRICES_VARIABLE, default_book
    from tracekit.costs.genai import GenaiPriceBook
    from tracekit.costs.overlay import OverlayPriceBook
    from tracekit.costs.pricebook import PriceBook, Rate
    from tracekit.costs.usage_table import attach

__all__ = [
    "PRICES_VARIABLE",
    "GenaiPriceBook",
    "OverlayPriceBook",
    "PriceBook",
    "Rate",
    "attach",
    "default_book",
]

_MODULES: Final = {
    "PRICES_VARIABLE": "book",
    "GenaiPriceBook": "genai",
    "OverlayPriceBook": "overlay",
    "PriceBook": "pricebook",
    "Rate": "pricebook",
    "attach": "usage_table",
    "default_book": "book",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
