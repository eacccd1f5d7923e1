"""Prices of the user's own: a YAML file that adds models or overrides the price book."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from tracekit.costs.data import Record, tiers
from tracekit.costs.pricebook import MAX_INT64, MIN_INT64, STANDARD, PriceBook, Rate
from tracekit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Prices(Record):
    """Prices in USD per million tokens; a kind left out costs what the broader kind costs."""

    input: Price
    output: Price | None = None
    cache_read: Price | None = None
    cache_write: Price | None = None
    cache_write_1h: Price | None = None
    reasoning: Price | None = None
    request: Price = 0.0


class Entry(Prices):
    """One entry of the file: a model's prices from a day on.

    Attributes:
        model: Model name in full, or its beginning and a final `*`. The first entry that fits a
            model decides which entries price it: those of the same model and provider.
        provider: OTel provider name the entry is limited to.
        since: First day (UTC); before it the price book's own price holds.
        above: Prices of calls with more input tokens than the key.
        tiers: Factors on these prices by service tier.
    """

    model: Annotated[str, Field(min_length=1)]
    provider: str | None = None
    since: dt.date | None = Field(default=None, alias="from")
    above: dict[Annotated[int, Field(ge=0)], Prices] = Field(default={})
    tiers: dict[str, Annotated[float, Field(gt=0)]] = Field(default={})

    @model_validator(mode="after")
    def _known_tiers(self) -> Entry:
        unknown = sorted(self.tiers.keys() - (tiers().names.keys() - {STANDARD}))
        if unknown:
            raise ValueError(
                f"tiers: unknown tier {unknown[0]!r}, use one of "
                f"{', '.join(name for name in tiers().names if name != STANDARD)}"
            )
        return self

    def fits(self, provider: str | None, model: str) -> bool:
        """Whether the entry prices a model of a provider."""
        if self.provider is not None and self.provider.lower() != (provider or "").lower():
            return False
        wanted, name = self.model.lower(), model.lower()
        return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted

    @property
    def pattern(self) -> tuple[str | None, str]:
        """What the entry is for; entries of one pattern are one series in time."""
        return self.provider, self.model.lower()

    @property
    def since_ns(self) -> int:
        """First moment, ns since 1970."""
        if self.since is None:
            return MIN_INT64
        return int(dt.datetime.combine(self.since, dt.time(), dt.UTC).timestamp()) * 10**9


class OverlayPriceBook:
    """A price file over another price book; an entry that fits hides the book below it."""

    def __init__(self, path: Path, base: PriceBook) -> None:
        """Read a price file.

        Raises:
            InputError: The file cannot be read or an entry is wrong; names file and entry.
        """
        content, self._entries = read_price_file(path)
        self._base = base
        self._name = f"{path.name} {sha256(content).hexdigest()[:8]}"

    @property
    def version(self) -> str:
        """Version of the book below, and the file's name and fingerprint."""
        return f"{self._base.version}+{self._name}"

    def rates(
        self, provider: str | None, request_model: str | None, response_model: str | None
    ) -> tuple[Rate, ...]:
        """Return the rates of the entries for the model that answered, else the one asked for."""
        base = self._base.rates(provider, request_model, response_model)
        for model in filter(None, (response_model, request_model)):
            series = self._series(provider, model)
            if series:
                ends = [*(entry.since_ns for entry in series[1:]), MAX_INT64]
                own = (
                    rate
                    for entry, end in zip(series, ends, strict=True)
                    for rate in _entry_rates(entry, end)
                )
                return (*_until(base, series[0].since_ns), *own)
        return base

    def _series(self, provider: str | None, model: str) -> list[Entry]:
        """Return the first fitting pattern's entries in order of time.

        Patterns do not mix: a wildcard that starts later must not take over from an exact name.
        """
        fitting = [entry for entry in self._entries if entry.fits(provider, model)]
        same = [entry for entry in fitting if entry.pattern == fitting[0].pattern]
        return sorted(same, key=lambda entry: entry.since_ns)


def _until(rates: tuple[Rate, ...], end: int) -> Iterator[Rate]:
    for rate in rates:
        if rate.valid_from_ns < end:
            yield replace(rate, valid_to_ns=min(rate.valid_to_ns, end))


def _entry_rates(entry: Entry, end: int) -> Iterator[Rate]:
    steps: dict[int, Prices] = {-1: entry, **entry.above}
    above = sorted(steps)
    for low, high in zip(above, [*above[1:], MAX_INT64], strict=True):
        for tier, factor in {STANDARD: 1.0, **entry.tiers}.items():
            frame = Rate(tier, entry.since_ns, end, input_above=low, input_upto=high)
            yield _rate(steps[low], factor, frame)


def _rate(prices: Prices, factor: float, frame: Rate) -> Rate:
    def first(*options: float | None) -> float | None:
        return next((price * factor for price in options if price is not None), None)

    return replace(
        frame,
        uncached_input=first(prices.input),
        cache_read=first(prices.cache_read, prices.input),
        cache_write=first(prices.cache_write, prices.input),
        cache_write_1h=first(prices.cache_write_1h, prices.cache_write, prices.input),
        output=first(prices.output),
        reasoning=first(prices.reasoning, prices.output),
        request=prices.request,
    )


def read_price_file(path: Path) -> tuple[bytes, tuple[Entry, ...]]:
    """Return a price file's bytes and entries.

    Raises:
        InputError: The file cannot be read or an entry is wrong; names file and entry.
    """
    try:
        content = path.read_bytes()
        document = yaml.safe_load(content)
    except OSError as error:
        raise InputError(f"{path}: cannot read the price file: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: the price file is not valid YAML: {reason}") from error
    rows = document.get("models") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise InputError(f"{path}: a price file is a mapping with a list `models`")
    entries = tuple(_entry(path, number, row) for number, row in enumerate(rows, start=1))
    _refuse_repeats(path, entries)
    return content, entries


def _entry(path: Path, number: int, row: Any) -> Entry:
    try:
        return Entry.model_validate(row)
    except ValidationError as error:
        name = row.get("model") if isinstance(row, dict) else None
        reasons = "; ".join(
            ": ".join(filter(None, [".".join(map(str, item["loc"])), item["msg"]]))
            for item in error.errors()
        )
        raise InputError(f"{path}: entry {number} ({name or 'no model'}): {reasons}") from error


def _refuse_repeats(path: Path, entries: tuple[Entry, ...]) -> None:
    seen: dict[tuple[tuple[str | None, str], int], int] = {}
    for number, entry in enumerate(entries, start=1):
        first = seen.setdefault((entry.pattern, entry.since_ns), number)
        if first != number:
            raise InputError(
                f"{path}: entries {first} and {number} ({entry.model}) price the same model from "
                "the same day: keep one or give them different `from` days"
            )
