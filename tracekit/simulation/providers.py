"""The scripted providers: what becomes of an attempt, and how long it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from tracekit.instrumentation import names
from tracekit.instrumentation.llm import Llm
from tracekit.simulation.vendors import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from opentelemetry.util.types import AttributeValue

    from tracekit.simulation.scenario import Incident, Scenario
    from tracekit.simulation.vendors import Failure, Model, Provider

REGION: Final = "tracekit.region"


class SimulatedError(Exception):
    """Ends a scripted run, as an exception of an SDK, a framework or the application would."""


class CallFailedError(SimulatedError):
    """A model call failed for good.

    Attributes:
        kind: Kind of the last failure, see `failures.yaml`.
        incident: Incident it happened in; empty where it was an ordinary day.
        counted: Whether the provider's contract counts it.
    """

    kind = ""
    incident = ""
    counted = False


class VanishedError(Exception):
    """The process is gone: what was open never ends."""


@cache
def error_class(module: str, name: str, base: type[SimulatedError]) -> type[SimulatedError]:
    """Return an exception class that calls itself as one of an SDK does.

    Args:
        module: Module it says it is from.
        name: Its name.
        base: What it is caught as.
    """
    return type(name, (base,), {"__module__": module})


class Fate(NamedTuple):
    """What becomes of an attempt.

    Attributes:
        kind: Kind of the failure; None where it succeeds.
        incident: Name of the incident that has a part in it.
        slow: How many times longer than usual it takes.
    """

    kind: str | None = None
    incident: str = ""
    slow: float = 1.0


_FINE: Final = Fate()


@dataclass(frozen=True, slots=True)
class Asked:
    """A model as an agent's client asks it.

    Attributes:
        name: Request model.
        key: Key of its provider in the scenario.
        model: How it answers.
        provider: Where.
        title: OTel name of the provider.
        call: What traces a call of it, by region.
        price: USD per million tokens of input, cached input, output.
    """

    name: str
    key: str
    model: Model
    provider: Provider
    title: str
    call: Mapping[str, Llm]
    price: tuple[float, float, float]

    def error(self, kind: str) -> CallFailedError:
        """Return the exception its client raises for a kind of failure."""
        name = failures()[kind].error
        found = error_class(
            self.key.replace("gemini", "google.genai.errors"), name, CallFailedError
        )
        error = found()
        assert isinstance(error, CallFailedError)  # noqa: S101 - for the type checker
        error.kind = kind
        error.counted = kind in self.provider.counts
        return error

    def error_type(self, kind: str, failure: Failure) -> str:
        """Return what the provider calls a kind of failure."""
        return self.provider.failures.get(kind, failure.type)


class World:
    """What is around the agents of a scenario: providers over its time, processes.

    Attributes:
        enter: Goes on in the process of a service.
    """

    def __init__(self, scenario: Scenario, enter: Callable[[str], None]) -> None:
        self._scenario = scenario
        self.enter = enter
        self._ordinary = {
            name: _steps(provider.errors) for name, provider in scenario.providers.items()
        }
        self._incidents = [
            (incident, incident.start_ns, incident.end_ns, _steps(incident.errors))
            for incident in scenario.incidents
        ]

    def fate(self, asked: Asked, region: str, at_ns: int, random: Random) -> Fate:
        """Return what becomes of an attempt made now."""
        steps, incident, slow = self._ordinary[asked.key], "", 1.0
        for found, start_ns, end_ns, errors in self._incidents:
            if start_ns <= at_ns < end_ns and _hits(found, asked, region):
                steps, incident, slow = errors, found.name, found.slow
                break
        if steps:
            drawn = random.random()
            for bound, kind in steps:
                if drawn < bound:
                    return Fate(kind, incident, slow)
        return Fate(None, incident, slow) if incident else _FINE

    def asked(self, name: str, max_tokens: int) -> Asked:
        """Return a model as it is asked with an output cap."""
        model = self._scenario.models[name]
        provider = self._scenario.providers[model.provider]
        title = provider.provider or model.provider
        calls: dict[str, Llm] = {}
        for region in provider.regions or {"": 1.0}:
            host = provider.host.format(region=region)
            request: dict[str, AttributeValue] = {
                names.REQUEST_MAX_TOKENS: max_tokens,
                names.SERVER_ADDRESS: host,
            }
            if region:
                request[REGION] = region
            calls[region] = Llm(name, title, "chat", request)
        price = model.price
        prices = (price.input, price.cached, price.output)
        return Asked(name, model.provider, model, provider, title, calls, prices)


def _hits(incident: Incident, asked: Asked, region: str) -> bool:
    return (
        incident.provider == asked.key
        and incident.region in (None, region)
        and incident.model in (None, asked.name)
    )


def _steps(shares: Mapping[str, float]) -> list[tuple[float, str]]:
    """Return shares as steps from 0 to 1."""
    return list(zip(accumulate(shares.values()), shares, strict=True))


def first_token_s(provider: Provider, random: Random) -> float:
    """Return how long a first token takes on an ordinary day."""
    return provider.slow_s * math.exp(random.gauss(0.0, provider.spread))
