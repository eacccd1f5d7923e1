"""What a scenario file says: who works, with what, when, and what goes wrong how often.

    tracekit simulate scenario.yaml

The names are explained in docs/simulation.md. `catalogue.yaml` holds the providers and models that
every scenario may use.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from tracekit.errors import InputError, UsageError
from tracekit.simulation.vendors import Model, Provider, Strict, checked_errors, data, known

SHIPPED: Final = ("default", "failures", "incident")
"""Names of the scenarios that come along."""

_HOURS: Final = 24
_SECOND_NS: Final = 1_000_000_000


class Tool(Strict):
    """A tool: its side effect, mean duration, tokens of a result, and how often it is called."""

    effect: Literal["none", "read", "idempotent", "write", "external", "irreversible"]
    seconds: float = Field(ge=0)
    result: int = Field(ge=0)
    share: float = Field(default=1, ge=0)


class Client(Strict):
    """How an agent's client deals with failed attempts.

    Attributes:
        attempts: Most attempts of a call.
        wait_s: Wait before the second one; it doubles.
        layer: Who tries again: the provider's SDK inside of one call, or the application with calls
            of its own.
        fallback: Model that is asked when all attempts failed.
    """

    attempts: int = Field(default=3, ge=1)
    wait_s: float = Field(default=1.0, ge=0)
    layer: Literal["sdk", "app"] = "sdk"
    fallback: str | None = None


class Entry(Strict):
    """How often sessions end in a mode, and its parameters.

    Attributes:
        mode: Name of the mode; that of the entry where it is None.
        share: Share among the entries of the agent.
        parameters: Parameters of the mode.
    """

    mode: str | None = None
    share: float = Field(default=1, ge=0)
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """Take a number as the share, and unknown keys as parameters."""
        if isinstance(value, (int, float)):
            return {"share": value}
        if value is None:
            return {}
        if not isinstance(value, dict):
            return value
        own = {key: item for key, item in value.items() if key in cls.model_fields}
        others = {key: item for key, item in value.items() if key not in cls.model_fields}
        return {**own, "parameters": {**own.get("parameters", {}), **others}}


class Agent(Strict):
    """An agent.

    Attributes:
        service: Its service name.
        share: Share of the sessions.
        models: Its models, with shares.
        turns: Least and most rounds of model and tool before the end.
        tasks: Least and most tasks of a session; above 1 they are declared as tasks, each a trace.
        context: Input tokens of the first call.
        answer: Least and most output tokens of a call.
        max_tokens: Output cap of a call.
        tool_errors: Share of tool calls that fail and are repeated.
        client: How its client deals with failed attempts.
        tools: Its tools, by name.
        modes: How its sessions go, by name.
    """

    service: str
    share: float = Field(default=1, ge=0)
    models: dict[str, float]
    turns: tuple[int, int] = (2, 5)
    tasks: tuple[int, int] = (1, 1)
    context: int = Field(default=3000, gt=0)
    answer: tuple[int, int] = (60, 300)
    max_tokens: int = Field(default=4096, gt=0)
    tool_errors: float = Field(default=0, ge=0, le=1)
    client: Client = Client()
    tools: dict[str, Tool]
    modes: dict[str, Entry]

    @field_validator("turns", "tasks", "answer")
    @classmethod
    def _range(cls, pair: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= pair[0] <= pair[1]:
            raise ValueError("expected [least, most], both 0 or more")
        return pair


class Incident(Strict):
    """A time in which a provider's calls fail or are slow.

    Attributes:
        name: What it is called in the truth.
        provider: Key of the provider.
        region: Only calls to this region; None for all.
        model: Only calls of this model; None for all.
        start: When it begins, UTC.
        hours: How long it lasts.
        errors: Kind of failure -> share of attempts that fail so.
        slow: How many times longer than usual calls take.
    """

    name: str
    provider: str
    region: str | None = None
    model: str | None = None
    start: datetime
    hours: float = Field(gt=0)
    errors: dict[str, float] = Field(default_factory=dict)
    slow: float = Field(default=1, gt=0)

    @field_validator("errors")
    @classmethod
    def _kinds(cls, errors: dict[str, float]) -> dict[str, float]:
        return checked_errors(errors)

    @property
    def start_ns(self) -> int:
        """Return when it begins, UTC, ns since 1970."""
        return nanoseconds(self.start)

    @property
    def end_ns(self) -> int:
        """Return when it ends, UTC, ns since 1970."""
        return self.start_ns + int(self.hours * 3600 * _SECOND_NS)


class Scenario(Strict):
    """A scenario file.

    Attributes:
        name: Its name.
        description: What it is for, one sentence.
        seed: Seed, where none is given.
        sessions: Number of sessions, where none is given.
        start: When the first session may start, UTC.
        days: How long sessions start.
        hours: Weights of the 24 hours of a day; even where absent.
        order: How modes are dealt out: drawn by shares, or each in turn.
        session_id: Format of the session ids: {scenario}, {seed}, {number}, {agent}.
        providers: Providers beside the catalogue's.
        models: Models beside the catalogue's.
        agents: Agents, by name.
        incidents: What happens to providers.
    """

    name: str
    description: str = ""
    seed: int = 1
    sessions: int = Field(default=1000, gt=0)
    start: datetime
    days: float = Field(default=1, gt=0)
    hours: tuple[float, ...] | None = None
    order: Literal["drawn", "in_turn"] = "drawn"
    session_id: str = "{scenario}-{seed}-{number}"
    providers: dict[str, Provider] = Field(default_factory=dict)
    models: dict[str, Model] = Field(default_factory=dict)
    agents: dict[str, Agent]
    incidents: tuple[Incident, ...] = ()

    @field_validator("hours")
    @classmethod
    def _day(cls, hours: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if hours is not None and (len(hours) != _HOURS or min(hours) < 0 or sum(hours) <= 0):
            raise ValueError("expected 24 weights, 0 or more, not all 0")
        return hours

    @field_validator("session_id")
    @classmethod
    def _format(cls, text: str) -> str:
        try:
            text.format(scenario="", seed=0, number=0, agent="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"{text!r} may name {{scenario}}, {{seed}}, {{number}} and {{agent}} only: {error}"
            ) from error
        return text

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Scenario:
        for place, name in self._models_named():
            known(place, name, self.models)
        for name, model in self.models.items():
            known(f"models.{name}.provider", model.provider, self.providers)
        for number, incident in enumerate(self.incidents):
            known(f"incidents.{number}.provider", incident.provider, self.providers)
            if incident.region is not None:
                regions = self.providers[incident.provider].regions
                known(f"incidents.{number}.region", incident.region, regions)
        return self

    def _models_named(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for name, agent in self.agents.items():
            found += [(f"agents.{name}.models", model) for model in agent.models]
            if agent.client.fallback is not None:
                found.append((f"agents.{name}.client.fallback", agent.client.fallback))
        return found

    @property
    def start_ns(self) -> int:
        """Return when the first session may start, UTC, ns since 1970."""
        return nanoseconds(self.start)

    @property
    def digest(self) -> str:
        """Return a digest of everything the scenario says."""
        return sha256(self.model_dump_json().encode()).hexdigest()


def nanoseconds(moment: datetime) -> int:
    """Return a moment as nanoseconds since 1970; UTC where it names no zone."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * _SECOND_NS


def load(source: str) -> Scenario:
    """Return a scenario.

    Args:
        source: Path of a file, or the name of one that comes along.

    Raises:
        UsageError: There is neither.
        InputError: The file is no scenario.
    """
    if source in SHIPPED:
        text = resources.files("tracekit.simulation").joinpath(f"scenarios/{source}.yaml")
        return parse(text.read_text("utf-8"), source)
    path = Path(source)
    try:
        return parse(path.read_text("utf-8"), source)
    except FileNotFoundError:
        raise UsageError(
            f"{source}: no such file, and no scenario of that name: there are {', '.join(SHIPPED)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: cannot be read ({error})") from error


def parse(text: str, name: str) -> Scenario:
    """Return the scenario of a YAML text.

    Args:
        text: The text.
        name: Where it is from, for messages.

    Raises:
        InputError: It is no scenario.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise InputError(f"{name}: not a scenario: expected keys such as `start` and `agents`")
    catalogue = data("catalogue.yaml")
    for part in ("providers", "models"):
        document[part] = {**catalogue[part], **(document.get(part) or {})}
    document.setdefault("name", Path(name).stem)
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{name}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """Return the first mistake, with its place."""
    found = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    message = found["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
