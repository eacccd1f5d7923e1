"""Objectives as people write them, as models. The words are OpenSLO's, in this project's spelling.

objectives:
- name: support-tasks
service: support
target: 99%
time_window: 28d
indicator: {where: agent_name = 'support-agent'}
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from tracekit.slo.durations import Duration, Lag, parsed, shorthand

MONTH: Final = "month"
"""The time window that is a calendar month."""

_PARTS: Final = 28
"""Slices a window is divided into where an objective names none: of four weeks, days."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise ValueError(f"{value!r} is no name: lower-case letters, digits and - between them")
    return value


def _share(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        # By division: 0.99 and 99% are then the same number.
        return float(value.strip().removesuffix("%")) / 100
    return value


def _below_one(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"{value:g} is no share between 0 and 1: write 0.99 or 99%")
    return value


def _window(value: Any) -> Any:
    if value == MONTH:
        return value
    if isinstance(value, str) and value.strip().endswith(("M", "Q", "Y")):
        raise ValueError(f"{value!r} has no fixed length: write days, or month for calendar months")
    return parsed(value)


Name = Annotated[str, AfterValidator(_name)]
"""What OpenSLO lets be a name: lower-case letters, digits and -, at most 63."""

Predicate = Annotated[str, Field(min_length=1, max_length=10_000)]
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1, allow_inf_nan=False)]
Target = Annotated[float, BeforeValidator(_share), Field(allow_inf_nan=False)]
Window = Annotated[
    Literal["month"] | Annotated[int, Field(ge=3600, le=400 * 86_400, multiple_of=60)],
    BeforeValidator(_window),
    PlainSerializer(lambda value: value if value == MONTH else shorthand(value)),
]
Written = PlainSerializer(shorthand)
Gate = Literal["missed", "indeterminate", "spent", "page", "ticket"]


class Strict(BaseModel):
    """A mapping of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Indicator(Strict):
    """What is counted. Predicates are SQL over the columns of `tasks`; null does not match.

    Attributes:
        where: Tasks the objective is about; all by default.
        good: Which of them count as good.
        bad: Which of them count as bad; wins where both hold.
        not_counted: Which of them are no event at all, whatever else holds.
        undetermined: What becomes of tasks that are neither: left out and told, or bad.
        truth: What an outcome must rest on to count. proxy: anything, the stop code included;
            verified: an evaluation, a test or a human; human: a verdict from one of `sources`.
            An outcome that rests on less is undetermined.
        sources: Who of those that give verdicts (`outcomes.source`) are people.
        label_lag: How long verdicts may take: tasks younger than that are not looked at.
    """

    where: Predicate | None = None
    good: Predicate = "outcome = 'success'"
    bad: Predicate = "outcome = 'failure'"
    not_counted: Predicate | None = None
    undetermined: Literal["excluded", "bad"] = "excluded"
    truth: Literal["proxy", "verified", "human"] = "proxy"
    sources: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    label_lag: Annotated[Lag, Written] = 0

    @model_validator(mode="after")
    def _people(self) -> Self:
        if (self.truth == "human") != bool(self.sources):
            raise ValueError("`sources` names the people of `truth: human`, and of nothing else")
        return self

    def predicates(self) -> dict[str, str]:
        """Return the predicates by key."""
        keys = ("where", "good", "bad", "not_counted")
        return {key: text for key in keys if (text := getattr(self, key)) is not None}


class Alert(Strict):
    """When somebody is told; see `alerts.yaml`.

    Attributes:
        severity: Whom it wakes.
        budget: Share of the error budget that the long window may spend.
        long: The window that shows it matters.
        short: The window that shows it still goes on.
    """

    severity: Literal["page", "ticket"]
    budget: Annotated[float, Field(gt=0, le=1)]
    long: Annotated[Duration, Written]
    short: Annotated[Duration, Written]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.short >= self.long or self.long % 60 or self.short % 60:
            raise ValueError("`short` is shorter than `long`; both are whole minutes")
        return self


@cache
def default_alerts() -> tuple[Alert, ...]:
    """Return the alerts of an objective that names none."""
    text = resources.files("tracekit.slo").joinpath("alerts.yaml").read_text(encoding="utf-8")
    return tuple(Alert.model_validate(row) for row in yaml.safe_load(text)["alerts"])


class Counters(Strict):
    """Prometheus counters of the same events, for `tracekit slo rules`: selectors, without a range.

    Attributes:
        bad: Of bad tasks.
        total: Of good and bad ones.
    """

    bad: Predicate
    total: Predicate


class Objective(Strict):
    """A service level objective.

    Attributes:
        name: Its name, unique in the file.
        service: What it is an objective of.
        description: What it is for.
        indicator: What is counted.
        target: Share that is to be good, between 0 and 1, or as `99.9%`.
        time_window: Period of the error budget: a rolling duration, or `month`.
        time_zone: IANA zone of calendar months.
        budgeting_method: Occurrences: good tasks among tasks. Timeslices: good slices among
            measured ones. RatioTimeslices: the mean of the slices' ratios.
        time_slice_window: Length of a slice; also what coverage is counted in.
        time_slice_target: Share of a slice's tasks that makes it good.
        alerts: When somebody is told; those of `alerts.yaml` where absent.
        gate: What makes `tracekit slo` fail.
        min_events: Tasks a window must have before an alert believes it.
        min_coverage: Share of slices with data below which the verdict is indeterminate.
        max_undetermined: Share of undetermined tasks above which the verdict is indeterminate,
            where they are left out.
        counters: Where Prometheus has the same.
    """

    name: Name
    service: Name
    description: Annotated[str, Field(max_length=1050)] = ""
    indicator: Indicator = Indicator()
    target: Target
    time_window: Window
    time_zone: str = "UTC"
    budgeting_method: Literal["Occurrences", "Timeslices", "RatioTimeslices"] = "Occurrences"
    time_slice_window: Annotated[Duration, Written] | None = None
    time_slice_target: Target | None = None
    alerts: Annotated[tuple[Alert, ...], Field(max_length=20)] | None = None
    gate: tuple[Gate, ...] = ("missed",)
    min_events: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    min_coverage: Share = 0.5
    max_undetermined: Share = 0.5
    counters: Counters | None = None

    @field_validator("target", "time_slice_target")
    @classmethod
    def _shares(cls, value: float | None) -> float | None:
        return None if value is None else _below_one(value)

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no time zone {name!r}; names are like Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        slices = self.budgeting_method != "Occurrences"
        if slices and self.time_slice_window is None:
            raise ValueError(f"{self.budgeting_method} needs a `time_slice_window`")
        if (self.budgeting_method == "Timeslices") != (self.time_slice_target is not None):
            raise ValueError("`time_slice_target` is for Timeslices, which need it")
        if self.time_zone != "UTC" and self.time_window != MONTH:
            raise ValueError("`time_zone` is for `time_window: month`: a rolling window has none")
        if (
            self.time_slice_window is not None
            and self.time_window != MONTH
            and self.time_window % self.time_slice_window
        ):
            raise ValueError("`time_window` is no multiple of `time_slice_window`")
        if slices and (self.time_slice_window or 0) % 60:
            raise ValueError("`time_slice_window` is whole minutes")
        return self

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return 1 - self.target

    @property
    def period_s(self) -> int:
        """Length of the time window, in seconds; a month is taken as 30 days."""
        return 30 * 86_400 if self.time_window == MONTH else self.time_window

    @property
    def slice_s(self) -> int:
        """Length of a slice, in seconds."""
        return self.time_slice_window or max(self.period_s // _PARTS, 1)

    def window(self, at: datetime) -> tuple[datetime, datetime]:
        """Return the time window at a moment: a month begins in its zone and ends now.

        At the very end of a month the window is that month, whole.
        """
        if self.time_window != MONTH:
            return at - timedelta(seconds=self.time_window), at
        zone = ZoneInfo(self.time_zone)
        inside = (at - timedelta(microseconds=1)).astimezone(zone)
        first = inside.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return first.astimezone(UTC), at


class Objectives(Strict):
    """A file of objectives.

    Attributes:
        objectives: The objectives.
    """

    objectives: Annotated[tuple[Objective, ...], Field(max_length=200)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.objectives:
            raise ValueError("there is no objective")
        names = [objective.name for objective in self.objectives]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"two objectives are called {name!r}; rename one")
        return self
