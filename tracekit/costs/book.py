"""The price book of the process."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit.costs.genai import GenaiPriceBook
from tracekit.costs.overlay import OverlayPriceBook

if TYPE_CHECKING:
    from tracekit.costs.pricebook import PriceBook

PRICES_VARIABLE = "TRACEKIT_PRICES"
"""Environment variable with the path of the user's price file."""


def default_book(prices: Path | None = None) -> PriceBook:
    """Return the price book of the process: genai-prices, below the user's prices if there are any.

    Args:
        prices: The user's price file; by default the one `TRACEKIT_PRICES` names, if it is set.

    Raises:
        InputError: The price file cannot be read or an entry is wrong.
    """
    named = os.environ.get(PRICES_VARIABLE)
    path = prices or (Path(named) if named else None)
    if path is None:
        return _genai_book()
    changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return _overlaid_book(path, changed_ns)


@lru_cache(maxsize=1)
def _genai_book() -> GenaiPriceBook:
    return GenaiPriceBook()


@lru_cache(maxsize=4)
def _overlaid_book(path: Path, _changed_ns: int) -> OverlayPriceBook:
    return OverlayPriceBook(path, _genai_book())
