"""Terms as SQL conditions over attempts: which calls they speak of, and what a failed one is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from tracekit.sla.terms import Backoff, Statuses, Terms

    Windows = Sequence[tuple[int, int]]

TIER: Final = "coalesce(service_tier, service_tier_requested)"
"""A call that failed was served by nobody: it has the tier that was asked for."""

PREVIEW: Final = ("*preview*", "*beta*", "*experimental*", "*-exp", "*-exp-*")
"""Patterns of models that are not generally available."""


def text(value: str) -> str:
    """Return a text in SQL quotes."""
    return "'" + value.replace("'", "''") + "'"


def in_scope(terms: Terms) -> str:
    """Return whether terms speak of an attempt; NULL where the attempt does not say enough."""
    scope = terms.scope
    parts = [f"provider = {text(terms.provider)}"]
    for column, patterns in (
        ("model", scope.models),
        ("server_address", scope.endpoints),
        ("region", scope.regions),
    ):
        if patterns:
            parts.append(matches(column, patterns))
    if scope.service_tier_served:
        tiers = ", ".join(map(text, scope.service_tier_served))
        parts.append(f"{TIER} IN ({tiers})")
    since, until = terms.effective.since, terms.effective.until
    if since is not None:
        parts.append(f"start_ns >= {_midnight_ns(since)}")
    if until is not None:
        parts.append(f"start_ns < {_midnight_ns(until + timedelta(days=1))}")
    return _all(parts)


def matches(column: str, patterns: Iterable[str]) -> str:
    """Return whether a column matches one of some patterns."""
    return "(" + " OR ".join(f"{column} GLOB {text(pattern)}" for pattern in patterns) + ")"


def in_class(terms: Terms, maintenance: Windows = ()) -> str:
    """Return what an attempt is to the terms.

    good; counted, a failure that counts; uncounted, one that the terms do not speak of, and that is
    among the good; excluded, left out altogether. Where the source does not state what counts, a
    failure is unstated. Whatever is left out is left out, also where it would count.

    Args:
        terms: The terms.
        maintenance: Times of announced maintenance, first and first later ns.
    """
    left_out = _any(["is_aborted", *_excluded(terms, maintenance)])
    failed = _failed(terms)
    if not states_errors(terms):
        cases = [(left_out, "excluded"), (failed, "unstated")]
        return _case(cases, "good")
    cases = [(left_out, "excluded"), (f"NOT {failed}", "good"), (_any(_counted(terms)), "counted")]
    return _case(cases, "uncounted")


def states_errors(terms: Terms) -> bool:
    """Whether terms say which failures count."""
    unstated = {"availability", "availability.counted_errors", "availability.counted_errors.http"}
    return terms.availability is not None and unstated.isdisjoint(terms.unknown)


def _failed(terms: Terms) -> str:
    counted = terms.availability.counted_errors if terms.availability else None
    late = [] if counted is None or counted.timeout_ms is None else [_late(counted.timeout_ms)]
    return _any(["failure_class IS NOT NULL", *late])


def _late(timeout_ms: float) -> str:
    return f"duration_s >= {timeout_ms / 1e3!r}"


def _counted(terms: Terms) -> list[str]:
    assert terms.availability is not None  # noqa: S101  asked for only where errors are stated
    counted = terms.availability.counted_errors
    parts = _statuses(counted.http)
    if counted.stream_cut:
        parts.append("failure_class = 'truncated.stream_cut'")
    if counted.timeout_ms is not None:
        parts.append(_late(counted.timeout_ms))
    if counted.provider_codes:
        parts.append(f"error_type IN ({', '.join(map(text, counted.provider_codes))})")
    return parts


def _excluded(terms: Terms, maintenance: Windows) -> list[str]:
    if terms.availability is None:
        return []
    excluded = terms.availability.excluded
    parts = _statuses(excluded.http)
    if excluded.over_quota:
        parts.append("failure_class = 'provider.rate_limited'")
    if excluded.maintenance:
        parts += [f"(start_ns >= {since} AND start_ns < {until})" for since, until in maintenance]
    if excluded.preview_models:
        parts.append(matches("model", PREVIEW))
    if excluded.without_backoff is not None:
        parts.append(_hasty(excluded.without_backoff))
    return parts


def _hasty(wait: Backoff) -> str:
    """Return whether a retry waited less than it must; unknown waits are not held against it."""
    asked = f"least({wait.min_s!r} * 2 ** (attempt - 2), {wait.max_s!r})"
    return f"(attempt > 1 AND retry_wait_s < {asked})"


def _statuses(ranges: Iterable[Statuses]) -> list[str]:
    return [f"http_status BETWEEN {first} AND {last}" for first, last in ranges]


def _any(parts: Sequence[str]) -> str:
    return f"coalesce({' OR '.join(parts)}, FALSE)" if parts else "FALSE"


def _all(parts: Sequence[str]) -> str:
    return "(" + " AND ".join(parts) + ")"


def _case(cases: Iterable[tuple[str, str]], otherwise: str) -> str:
    whens = " ".join(f"WHEN {condition} THEN {text(name)}" for condition, name in cases)
    return f"CASE {whens} ELSE {text(otherwise)} END"


def _midnight_ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000
