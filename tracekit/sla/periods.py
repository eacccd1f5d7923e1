"""The periods an availability is reckoned over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.sla.terms import Period

_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_DECEMBER = 12


@dataclass(frozen=True, slots=True)
class Span:
    """One period.

    Attributes:
        name: What it is called: 2026-03, or its first day.
        start_ns: When it begins, UTC, ns since 1970.
        end_ns: When it is over.
    """

    name: str
    start_ns: int
    end_ns: int


def periods(period: Period, from_ns: int, to_ns: int) -> Iterator[Span]:
    """Yield the periods that have a part in a time, first one first.

    A rolling period is the one that ends with the time.

    Args:
        period: What the terms say.
        from_ns: First moment, UTC, ns since 1970.
        to_ns: First moment after it.
    """
    if period.kind == "rolling":
        start_ns = to_ns - period.days * _DAY_NS
        yield Span(f"{period.days} d to {_utc(to_ns):%Y-%m-%d}", start_ns, to_ns)
        return
    day = period.anchor_day if period.kind == "billing_cycle" else 1
    zone = ZoneInfo(period.timezone)
    first = _utc(from_ns).astimezone(zone)
    start = datetime(first.year, first.month, day, tzinfo=zone)
    if start > first:
        start = _before(start, day)
    while _ns(start) < to_ns:
        end = _next(start, day)
        name = f"{start:%Y-%m}" if day == 1 else f"{start:%Y-%m-%d}"
        yield Span(name, _ns(start), _ns(end))
        start = end


def _next(start: datetime, day: int) -> datetime:
    later = start.month == _DECEMBER
    return datetime(start.year + later, 1 if later else start.month + 1, day, tzinfo=start.tzinfo)


def _before(start: datetime, day: int) -> datetime:
    earlier = start.month == 1
    month = _DECEMBER if earlier else start.month - 1
    return datetime(start.year - earlier, month, day, tzinfo=start.tzinfo)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _SECOND_NS


def _utc(moment_ns: int) -> datetime:
    return datetime.fromtimestamp(moment_ns / _SECOND_NS, UTC)
