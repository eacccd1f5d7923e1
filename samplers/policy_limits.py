"""What a policy says of limits: units, budgets, the degrade ladder, when a session is over."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from samplers.pacing import Limit

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)


def _measured(value: Any, units: dict[str, float], example: str) -> Any:
    if not isinstance(value, str):
        return value
    found = _AMOUNT.fullmatch(value.strip())
    if not found or found[2].lower() not in units:
        raise ValueError(f"{value!r} is no amount like {example}; units are {', '.join(units)}")
    return float(found[1]) * units[found[2].lower()]


Seconds = Annotated[
    float,
    BeforeValidator(lambda value: _measured(value, dict(_SECONDS), "30s")),
    Field(gt=0, le=31_536_000),
]
"""A duration: `30s`, `5m`, `1h`, or a number of seconds."""

Bytes = Annotated[
    float,
    BeforeValidator(lambda value: _measured(value, dict(_BYTES), "20GB")),
    Field(gt=0, le=1 << 60),
]
"""A size: `20GB`, `512MiB`, or a number of bytes."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Key = Annotated[str, Field(min_length=1, max_length=256)]


class Strict(BaseModel):
    """A mapping of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Budget(Strict):
    """How much may be kept.

    Attributes:
        spans_per_second: Spans, on average over a minute.
        bytes_per_day: Bytes as received, per UTC day, spread over what is left of it.
    """

    spans_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    bytes_per_day: Bytes | None = None

    def limits(self) -> tuple[tuple[str, Limit], ...]:
        """Return the limits by unit."""
        spans, size = self.spans_per_second, self.bytes_per_day
        return (
            *([("spans", Limit(spans, daily=False))] if spans else []),
            *([("bytes", Limit(size, daily=True))] if size else []),
        )


class Budgets(Budget):
    """Budgets of all together, of each tenant, and of tenants by name.

    Attributes:
        per_tenant: Of each tenant that is not named; sessions without tenant count as one.
        tenants: Of some tenants, in place of that.
    """

    per_tenant: Budget = Budget()
    tenants: dict[str, Budget] = {}


class Truncate(Strict):
    """Cut long texts.

    Attributes:
        attributes: Attribute keys; a final `*` stands for any end.
        bytes: Length that is left.
    """

    attributes: tuple[Key, ...]
    bytes: Annotated[int, Field(ge=0)] = 1024


class Step(Strict):
    """One way to make a kept session smaller; exactly one key.

    Attributes:
        redact: Attribute keys whose value is replaced by a mark.
        remove: Attribute keys that are left out.
        remove_events: Names of span events that are left out.
        truncate: Texts that are cut.
        skeleton: Only ids, times, names, kinds, status and `tracekit.*` stay.
    """

    redact: tuple[Key, ...] | None = None
    remove: tuple[Key, ...] | None = None
    remove_events: tuple[Key, ...] | None = None
    truncate: Truncate | None = None
    skeleton: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(f"a step has exactly one of {', '.join(type(self).model_fields)}")
        return self


class DegradeLevel(Strict):
    """A level of the degrade ladder.

    Attributes:
        name: Its name.
        above: Pressure from which on it applies: demand in bytes over the allowance.
        ratio: Share of the bytes that is expected to remain.
        steps: What is done, in order.
    """

    name: Name
    above: Annotated[float, Field(ge=1)]
    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Sessions(Strict):
    """When a session is over.

    Attributes:
        after_root: Time after the end of the root span, for what comes late.
        idle: Time without a span.
        max_age: Time after the first span.
        max_spans: Spans; a session with more is cut to its head and tail.
        max_bytes: Bytes, likewise.
        interim: Time between interim decisions on a session that goes on; none by default.
    """

    after_root: Seconds = 10
    idle: Seconds = 300
    max_age: Seconds = 21_600
    max_spans: Annotated[int, Field(gt=0)] = 20_000
    max_bytes: Bytes = 64 << 20
    interim: Seconds | None = None
