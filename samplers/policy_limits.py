"""What a policy says of limits: units, budgets, the degrade ladder, when a session is over."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from samplers.pacing import Limit
from tracekit.errors import UsageError
from tracekit.instrumentation.redaction import Redaction

if TYPE_CHECKING:
    from samplers.session_types import Limits

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


def _head_or_whole(name: str) -> str:
    if "*" in name[:-1]:
        raise ValueError(f"{name!r}: a `*` stands for any end, so nothing can follow it")
    return name


Pattern = Annotated[Key, AfterValidator(_head_or_whole)]
"""A name, or with a final `*` the beginning of names."""

Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=1000)]


class Truncate(Strict):
    """Cut long texts, on a character's boundary, also those inside lists and maps.

    Attributes:
        attributes: Attribute keys.
        bytes: Length that is left, in UTF-8.
    """

    attributes: Patterns
    bytes: Annotated[int, Field(ge=0)] = 1024


class Scrub(Strict):
    """Take secrets and identities out of texts, each replaced by `[redacted:name]`.

    Attributes:
        attributes: Attribute keys; the message of a status is always among them.
        patterns: Regular expressions by name, beside those tracekit knows.
        keys: Names of JSON fields whose values are taken out, likewise.
        without: Names of patterns and fields that tracekit knows and that are to stay.
    """

    attributes: Patterns = ("*",)
    patterns: dict[Key, str] = {}
    keys: tuple[Key, ...] = ()
    without: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            self.redaction()
        except UsageError as error:
            raise ValueError(str(error).removeprefix("Redaction: ")) from error
        return self

    def redaction(self) -> Redaction:
        """Return what takes them out."""
        return Redaction(self.patterns, self.keys, without=self.without)


class Step(Strict):
    """One way to take something out of a kept session; exactly one key.

    Attributes:
        redact: Attribute keys whose value is replaced by `[redacted]`.
        scrub: Texts that secrets and identities are taken out of.
        remove: Attribute keys that are left out.
        remove_events: Names of span events that are left out.
        truncate: Texts that are cut.
        skeleton: Structure, times, status, tokens, stop and cost stay; no payload does.
    """

    redact: Patterns | None = None
    scrub: Scrub | None = None
    remove: Patterns | None = None
    remove_events: Patterns | None = None
    truncate: Truncate | None = None
    skeleton: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError(f"a step has exactly one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Attribute keys that it speaks of."""
        inside = (self.truncate, self.scrub)
        named = next((one.attributes for one in inside if one is not None), ())
        return self.redact or self.remove or named


class DegradeLevel(Strict):
    """A level of the degrade ladder; it includes the steps of those before it.

    Attributes:
        name: Its name.
        above: Pressure from which on it applies: demand in bytes over the allowance.
        ratio: Share of the bytes that is expected to remain.
        steps: What is done beside that, in order.
    """

    name: Name
    above: Annotated[float, Field(ge=1)]
    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Sessions(Strict):
    """When a session is over: what is said here wins over the settings of whoever decides.

    The names are those of `samplers.session_types.Limits`, which says what they mean.
    """

    root_delay: Seconds | None = None
    keyed_root_delay: Seconds | None = None
    done_delay: Seconds | None = None
    idle: Seconds | None = None
    max_age: Seconds | None = None
    interim: Seconds | None = None
    max_spans: Annotated[int, Field(gt=0)] | None = None
    max_bytes: Bytes | None = None
    tail_spans: Annotated[int, Field(gt=0)] | None = None

    def over(self, limits: Limits) -> Limits:
        """Return limits, with what is said here in place of what they say."""
        said = self.model_dump(exclude_none=True)
        counts = {name: int(said[name]) for name in _COUNTS & said.keys()}
        times = {name: round(said[name] * 1e9) for name in said.keys() - _COUNTS}
        return replace(limits, **counts, **times)


_COUNTS: Final = frozenset({"max_spans", "max_bytes", "tail_spans"})
