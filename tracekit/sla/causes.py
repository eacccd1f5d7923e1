"""Which stop code is whose loss, as data: `causes.yaml`."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict


class Causes(BaseModel):
    """The causes of lost tasks.

    Attributes:
        version: Changes with any of them.
        causes: Names, in the order losses are told.
        codes: Stop code or category -> cause; `provider` stands for the first two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    causes: tuple[str, ...]
    codes: dict[str, str]

    def of(self, code: str) -> str:
        """Return the cause of a stop code."""
        return self.codes.get(code) or self.codes[code.partition(".")[0]]


@cache
def causes() -> Causes:
    """Return the causes."""
    text = resources.files("tracekit.sla").joinpath("causes.yaml").read_text("utf-8")
    return Causes.model_validate(yaml.load(text, Loader=yaml.CSafeLoader))
