"""What the demo simulates, as data: `scenarios.yaml`."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stops(_Strict):
    """A provider's words for the ways a model call ends."""

    clean: str
    tools: str
    limit: str
    refusal: str


class Model(_Strict):
    """How a model answers.

    Attributes:
        provider: OTel provider name.
        answers_as: Response model.
        host: Endpoint.
        stops: Its stop values.
        tokens_per_s: Output tokens per second.
        cached: Share of the input of the call before that is read from a cache.
    """

    provider: str
    answers_as: str
    host: str
    stops: Stops
    tokens_per_s: float
    cached: float


class Tool(_Strict):
    """A tool: its side effect, mean duration, tokens of a result, and how often it is called."""

    effect: Literal["none", "read", "write", "external"]
    seconds: float
    result: int
    share: float


class Agent(_Strict):
    """An agent.

    Attributes:
        service: Its service name.
        share: Share of the sessions.
        models: Its models, with shares.
        turns: Least and most model calls before the end.
        context: Input tokens of the first call.
        answer: Least and most output tokens of a call.
        flaky: Probability that a model call fails once before it succeeds.
        tools: Its tools, by name.
        endings: How its sessions end, with shares.
    """

    service: str
    share: float
    models: dict[str, float]
    turns: tuple[int, int]
    context: int
    answer: tuple[int, int]
    flaky: float
    tools: dict[str, Tool]
    endings: dict[str, float]


class Ending(_Strict):
    """How a session ends; the fields are explained in `scenarios.yaml`."""

    last: Literal["clean", "limit", "refusal"] | None = None
    verdict: Literal["pass", "fail"] | None = None
    done: str | None = None
    repeat: int = 0
    tool: str | None = None
    attempts: int = 0
    fails: tuple[int, str] = (429, "rate_limit_error")
    run: str | None = None
    reported: str | None = None
    root: bool = True
    writes: str | None = None


class Scenarios(_Strict):
    """Everything `scenarios.yaml` says."""

    seed: int
    sessions: int
    start: datetime
    days: int
    models: dict[str, Model]
    agents: dict[str, Agent]
    endings: dict[str, Ending]


@cache
def load() -> Scenarios:
    """Return the scenarios."""
    text = resources.files("tracekit.demo").joinpath("scenarios.yaml").read_text("utf-8")
    return Scenarios.model_validate(yaml.safe_load(text))
