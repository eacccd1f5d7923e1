"""The data files beside this module, checked."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 (pydantic reads annotations when it builds the models)
import re  # noqa: TC003
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Factor = Annotated[float, Field(gt=0, lt=100)]


class Record(BaseModel):
    """A record of a data file: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(Record):
    """A shape of model names that tells their provider."""

    pattern: re.Pattern[str]
    provider: str


class Providers(Record):
    """providers.yaml."""

    sellers: dict[str, str]
    relays: dict[str, tuple[str, ...]]
    prefixes: dict[str, str]
    shapes: tuple[Shape, ...]


class Alias(Record):
    """A model name and the id that has its price."""

    seller: str
    name: str
    target: str = Field(alias="is")
    source: str


class Models(Record):
    """models.yaml."""

    aliases: tuple[Alias, ...]


class Factors(Record):
    """Factors on the standard rates, by kind of token."""

    input: Factor = 1.0
    cache_read: Factor = 1.0
    cache_write: Factor = 1.0
    output: Factor = 1.0


class TierPrice(Record):
    """A tier's price as factors on the standard rates."""

    seller: str
    tier: str
    models: tuple[str, ...] = ("",)
    multiply: Factor | Factors
    source: str
    checked: dt.date
    confidence: Literal["docs", "price_book", "memory"]

    @property
    def factors(self) -> Factors:
        """Factors by kind of token."""
        if isinstance(self.multiply, Factors):
            return self.multiply
        every = self.multiply
        return Factors(input=every, cache_read=every, cache_write=every, output=every)


class Tiers(Record):
    """tiers.yaml."""

    version: int
    names: dict[str, tuple[str, ...]]
    tiers: tuple[TierPrice, ...]


def _read(name: str) -> Any:
    text = resources.files("tracekit.costs").joinpath(name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=yaml.CSafeLoader)


@cache
def providers() -> Providers:
    """Return providers.yaml."""
    return Providers.model_validate(_read("providers.yaml"))


@cache
def models() -> Models:
    """Return models.yaml."""
    return Models.model_validate(_read("models.yaml"))


@cache
def tiers() -> Tiers:
    """Return tiers.yaml."""
    return Tiers.model_validate(_read("tiers.yaml"))
