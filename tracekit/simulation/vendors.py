"""Providers and models of `catalogue.yaml`, and the ways of `failures.yaml` an attempt can fail."""

from __future__ import annotations

from collections.abc import Collection  # noqa: TC003 - pydantic reads the annotations
from functools import cache
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tracekit.simulation.truth import Cause  # noqa: TC001 - as above


class Strict(BaseModel):
    """A part of a scenario file: nothing unknown in it, and nothing to change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(Strict):
    """USD per million tokens."""

    input: float = Field(ge=0)
    cached: float = Field(ge=0)
    output: float = Field(ge=0)


class Provider(Strict):
    """A provider; see `catalogue.yaml`."""

    provider: str | None = None
    host: str
    stops: dict[str, str]
    refuses: dict[str, Any] | None = None
    failures: dict[str, str] = Field(default_factory=dict)
    regions: dict[str, float] = Field(default_factory=dict)
    errors: dict[str, float] = Field(default_factory=dict)
    slow_s: float = Field(default=0.5, gt=0)
    spread: float = Field(default=0.35, ge=0)
    counts: tuple[str, ...] = ()

    @field_validator("stops")
    @classmethod
    def _words(cls, stops: dict[str, str]) -> dict[str, str]:
        if missing := {"clean", "tools", "limit"} - stops.keys():
            raise ValueError(f"stops lacks {', '.join(sorted(missing))}")
        return stops

    @field_validator("counts")
    @classmethod
    def _counted(cls, counts: tuple[str, ...]) -> tuple[str, ...]:
        for kind in counts:
            known("counts", kind, failures())
        return counts

    @field_validator("errors")
    @classmethod
    def _kinds(cls, errors: dict[str, float]) -> dict[str, float]:
        return checked_errors(errors)


class Model(Strict):
    """A model; see `catalogue.yaml`."""

    provider: str
    answers_as: str
    tokens_per_s: float = Field(gt=0)
    cached: float = Field(ge=0, le=1)
    price: Price


class Failure(Strict):
    """How an attempt can fail; see `failures.yaml`."""

    error: str
    type: str
    status: int | None = None
    seconds: float
    retried: bool
    code: str
    fault: str
    cause: Cause


@cache
def failures() -> dict[str, Failure]:
    """Return the ways an attempt can fail, by kind."""
    return {name: Failure.model_validate(item) for name, item in data("failures.yaml").items()}


def checked_errors(errors: dict[str, float]) -> dict[str, float]:
    """Return shares of failures, if they are kinds that exist and no more than all."""
    for kind in errors:
        known("errors", kind, failures())
    if min(errors.values(), default=0) < 0 or sum(errors.values()) > 1:
        raise ValueError("shares of failures must be 0 or more, and 1 at most together")
    return errors


def known(place: str, name: str, there: Collection[str]) -> None:
    """Refuse a name that is none of those there are.

    Raises:
        ValueError: It is none of them.
    """
    if name not in there:
        raise ValueError(f"{place}: no {name!r}; there are {', '.join(sorted(there)) or 'none'}")


@cache
def _read(name: str) -> Any:
    return yaml.safe_load(resources.files("tracekit.simulation").joinpath(name).read_text("utf-8"))


def data(name: str) -> dict[str, Any]:
    """Return what a data file beside this module says."""
    found: dict[str, Any] = _read(name)
    return found
