"""What a provider promises, as data: a YAML file per product, and what each of its fields means.

    schema: tracekit/sla/v1
    id: example-contract-2026
    provider: openai
    source: {url: "contract 4711, annex 2", retrieved: 2026-11, confidence: contract}
    availability:
      objective: 0.999
      method: occurrences
      counted_errors: {http: [500-599]}
    unknown: [credits]

Every field's description is what a mistake in it is told with. What a source does not state is
named in `unknown`; a verdict that would need it is `indeterminate`.
"""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003  pydantic reads the annotation
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SCHEMA: Final = "tracekit/sla/v1"

Confidence = Literal["primary", "contract", "third_party", "memory"]
"""What a fact rests on: the provider's own page, a signed contract, somebody else's page, or memory
alone. The last decides nothing until it is looked up."""

_STATUS: Final = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_MONTH: Final = r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$"
_MINUTE: Final = 60


class Part(BaseModel):
    """A part of the terms: nothing unknown in it, and nothing to change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _statuses(value: Any) -> Any:
    if isinstance(value, tuple):
        return value
    found = _STATUS.fullmatch(str(value))
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        raise ValueError(f"expected an HTTP status such as 503, or a range 500-599, not {value!r}")
    return int(found[1]), int(found[2] or found[1])


Statuses = Annotated[tuple[int, int], BeforeValidator(_statuses)]
"""First and last of a range of HTTP statuses; written 503 or 500-599."""

Share = Annotated[float, Field(gt=0, le=1)]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone such as UTC or America/Los_Angeles") from error
    return name


def _text(value: Any) -> Any:
    """Take dates as YAML reads them as the text they are."""
    return value.isoformat() if hasattr(value, "isoformat") else value


class Source(Part):
    """Where the terms are from."""

    url: str = Field(description="address of the page, or name of the contract")
    retrieved: Annotated[str, BeforeValidator(_text)] = Field(
        pattern=_MONTH, description="when it was read: a day 2026-11-30, or a month 2026-11"
    )
    confidence: Confidence = Field(description="what the terms rest on")
    quoted_hash: str | None = Field(
        default=None, description="SHA-256 of the passage that was read, to see it change"
    )


class Effective(Part):
    """When the terms hold; a day is included whole, UTC."""

    since: date | None = Field(default=None, alias="from", description="first day they hold")
    until: date | None = Field(default=None, alias="to", description="last day they hold")

    @model_validator(mode="after")
    def _in_order(self) -> Effective:
        if self.since and self.until and self.until < self.since:
            raise ValueError("the terms end before they begin")
        return self


class Scope(Part):
    """What calls the terms speak of. A list that is empty or absent admits everything.

    Patterns: `*` any characters, `?` one, `[ab]` one of them.
    """

    models: tuple[str, ...] = Field(default=(), description="patterns of model names")
    endpoints: tuple[str, ...] = Field(default=(), description="patterns of endpoint hosts")
    regions: tuple[str, ...] = Field(default=(), description="patterns of regions")
    service_tier_served: tuple[str, ...] = Field(
        default=(), description="tiers that served the call; of a failed call, that was asked for"
    )
    aggregation: Literal["account", "project", "region", "deployment"] = Field(
        default="account", description="for what the availability is reckoned separately"
    )


class Period(Part):
    """The time one availability is reckoned over."""

    kind: Literal["calendar_month", "billing_cycle", "rolling"] = Field(
        default="calendar_month", description="which periods there are"
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="time zone in which a month begins"
    )
    anchor_day: int = Field(
        default=1, ge=1, le=28, description="day of the month a billing cycle begins"
    )
    days: int = Field(default=30, ge=1, description="length of a rolling period, days")


class SliceBadWhen(Part):
    """When a slice of time counts as down."""

    error_rate_gt: float = Field(
        default=0, ge=0, lt=1, description="share of counted errors above which it is down"
    )
    min_requests: int = Field(
        default=1, ge=1, description="fewest calls that must be in it; with fewer it is up"
    )
    min_consecutive_seconds: int = Field(
        default=0, ge=0, description="how long without a break slices must be down to count, s"
    )


class CountedErrors(Part):
    """Failed calls that count against the provider."""

    http: tuple[Statuses, ...] = Field(default=(), description="HTTP statuses that count")
    stream_cut: bool = Field(
        default=False, description="whether a stream that broke off counts (true or false)"
    )
    timeout_ms: float | None = Field(
        default=None, gt=0, description="duration from which a call counts as failed, ms"
    )
    provider_codes: tuple[str, ...] = Field(
        default=(), description="error names of the provider that count"
    )


class Backoff(Part):
    """Retries that must wait, each twice as long as the one before."""

    min_s: float = Field(gt=0, description="shortest wait before the first retry, s")
    max_s: float = Field(gt=0, description="longest wait that is asked for, s")


class Excluded(Part):
    """Calls that are left out altogether: neither good nor bad."""

    http: tuple[Statuses, ...] = Field(default=(), description="HTTP statuses left out")
    over_quota: bool = Field(
        default=False, description="whether rate-limited calls are left out (true or false)"
    )
    maintenance: bool = Field(
        default=False, description="whether announced maintenance is left out (true or false)"
    )
    preview_models: bool = Field(
        default=False, description="whether preview and beta models are left out (true or false)"
    )
    without_backoff: Backoff | None = Field(
        default=None, description="waits below which a retry is left out"
    )


class Availability(Part):
    """The promise about calls that are answered."""

    objective: Share = Field(description="promised availability, a share: 0.999 is 99.9 %")
    method: Literal["occurrences", "time_slices", "ratio_time_slices", "downtime_minutes"] = Field(
        default="occurrences",
        description="how it is reckoned: good calls of all, good slices of all, mean of the "
        "slices' availabilities, or minutes not down of all",
    )
    period: Period = Field(default=Period(), description="period it is reckoned over")
    slice_seconds: int = Field(
        default=_MINUTE, ge=_MINUTE, le=86_400, description="length of a slice of time, s"
    )
    empty_slice: Literal["good", "excluded"] = Field(
        default="good", description="what a slice without calls is"
    )
    slice_bad_when: SliceBadWhen = Field(default=SliceBadWhen(), description="when a slice is down")
    counted_errors: CountedErrors = Field(
        default=CountedErrors(http=((500, 599),)), description="failed calls that count"
    )
    excluded: Excluded = Field(default=Excluded(), description="calls that are left out")


class LatencyExcludes(Part):
    """Calls a latency term does not speak of."""

    input_tokens_gt: int | None = Field(
        default=None, ge=0, description="input tokens above which a call is left out"
    )


class Latency(Part):
    """A promise about how fast calls are answered."""

    metric: Literal["output_tokens_per_second", "ttft_ms", "inter_token_ms"] = Field(
        description="what is measured"
    )
    models: tuple[str, ...] = Field(
        default=(), description="patterns of model names; all of the scope where absent"
    )
    statistic: Literal["each", "mean", "p50", "p90", "p95", "p99"] = Field(
        default="p50", description="what of a slice is compared; each: every call by itself"
    )
    slice_seconds: int = Field(
        default=300, ge=_MINUTE, le=86_400, description="length of a slice of time, s"
    )
    threshold: float = Field(
        gt=0, description="least tokens per second, or most milliseconds, of the metric"
    )
    attainment: Share = Field(description="share of slices, or calls, that must keep it")
    excludes: LatencyExcludes = Field(
        default=LatencyExcludes(), description="calls it does not speak of"
    )


class CreditTier(Part):
    """A step of the ladder of credits."""

    below: Share = Field(description="availability below which it is due, a share")
    percent: float = Field(gt=0, le=100, description="credit, percent of the base")


class Credits(Part):
    """What is given back where the promise was not kept."""

    base: Literal["monthly_fees", "region_fees"] = Field(
        default="monthly_fees", description="fees that the percentage is of"
    )
    tiers: tuple[CreditTier, ...] = Field(min_length=1, description="steps of the ladder")
    cap_percent: float | None = Field(
        default=None, gt=0, le=100, description="most that is given back, percent"
    )
    min_usd: float | None = Field(
        default=None, ge=0, description="credit below which nothing is given, USD"
    )
    claim_days: int | None = Field(
        default=None, gt=0, description="days after the period in which to claim"
    )
    automatic: bool = Field(
        default=False, description="whether it is given without a claim (true or false)"
    )
    evidence: tuple[Literal["request_id", "utc_time", "region"], ...] = Field(
        default=(), description="what a claim must hold"
    )


class Ramp(Part):
    """Traffic that rises too fast is served in a lower tier."""

    min_tpm: int = Field(gt=0, description="tokens a minute from which the rule holds")
    max_increase: float = Field(gt=0, description="share it may rise by in the window")
    window_s: int = Field(gt=0, description="length of the window, s")
    effect: Literal["served_as_default", "rejected"] = Field(description="what happens")


class Terms(Part):
    """The terms of one product."""

    schema_: Literal["tracekit/sla/v1"] = Field(
        alias="schema", description="name of this kind of file"
    )
    id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        description="name of the terms, with their version; never used again for other terms",
    )
    provider: str = Field(description="provider, as gen_ai.provider.name has it")
    product: str = Field(default="api", description="product")
    plan: str | None = Field(default=None, description="plan")
    eligibility: str | None = Field(default=None, description="who gets these terms")
    source: Source = Field(description="where the terms are from")
    effective: Effective = Field(default=Effective(), description="when they hold")
    scope: Scope = Field(default=Scope(), description="what calls they speak of")
    availability: Availability | None = Field(
        default=None, description="promise about calls that are answered; null: none is made"
    )
    latency: tuple[Latency, ...] = Field(default=(), description="promises about speed")
    credits: Credits | None = Field(default=None, description="what is given back; null: nothing")
    ramp: Ramp | None = Field(default=None, description="rule for traffic that rises fast")
    rate_limit_note: str | None = Field(
        default=None, description="what the source says about rate limits"
    )
    note: str | None = Field(default=None, description="what else a reader must know")
    weaker: dict[str, Confidence] = Field(
        default_factory=dict,
        description="fields that rest on less than the source does, and on what",
    )
    unknown: tuple[str, ...] = Field(
        default=(), description="fields the source does not state, as availability.method"
    )

    def lacks(self, part: str) -> list[str]:
        """Return fields of a part that the source does not state, or that rest on memory alone.

        Args:
            part: `availability`, `latency`, `credits`, `scope`.
        """
        memory = [name for name, sure in self.weaker.items() if sure == "memory"]
        return [name for name in (*self.unknown, *memory) if concerns(name, part)]

    def confidence(self, part: str) -> Confidence:
        """Return the weakest that a part of the terms rests on."""
        order: tuple[Confidence, ...] = ("contract", "primary", "third_party", "memory")
        found = [sure for name, sure in self.weaker.items() if concerns(name, part)]
        return max((self.source.confidence, *found), key=order.index)


def concerns(name: str, part: str) -> bool:
    """Whether a dotted name is a part, or of it."""
    return name == part or name.startswith(f"{part}.")
