"""Consistent probability sampling, written from the text of OTEP-235 alone, to test against.

It shares no code with the product: thresholds are fractions, tracestate is split by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

ALL = Fraction(1)
UNIT = 16**14


def ot_members(header: str) -> dict[str, str]:
    """Return the sub-keys of a tracestate's `ot` member."""
    members = dict(member.strip().split("=", 1) for member in header.split(",") if "=" in member)
    return dict(part.split(":", 1) for part in members.get("ot", "").split(";") if ":" in part)


def rejected_share(th: str) -> Fraction:
    """Return T as a share: the digits of `th` stand behind the point of a hexadecimal fraction."""
    assert 1 <= len(th) <= 14
    assert set(th) <= set("0123456789abcdef")
    return sum((Fraction(int(digit, 16), 16**n) for n, digit in enumerate(th, 1)), Fraction(0))


def written(share: Fraction) -> str:
    """Return `th` of a share that is a multiple of 16^-14: digit by digit, no trailing zeros."""
    digits = ""
    while share:
        share *= 16
        digits += "0123456789abcdef"[int(share)]
        share -= int(share)
    assert len(digits) <= 14
    return digits or "0"


def random_share(header: str, trace_id: int) -> Fraction:
    """Return R as a share: `rv`, else the last seven bytes of the trace id."""
    stated = ot_members(header).get("rv")
    value = int(stated, 16) if stated is not None else trace_id % UNIT
    return Fraction(value, UNIT)


def adjusted_count(header: str) -> Fraction | None:
    """Return for how many a kept span stands; None without `th`."""
    th = ot_members(header).get("th")
    return None if th is None else 1 / (ALL - rejected_share(th))


@dataclass(frozen=True)
class Equalizing:
    """A stage that brings everything to one probability; `th` is only ever raised."""

    rejects: Fraction

    def header(self, header: str, trace_id: int) -> str | None:
        """Return the header a span leaves with, or None where it is dropped."""
        members = ot_members(header)
        before = rejected_share(members["th"]) if "th" in members else Fraction(0)
        after = max(before, self.rejects)
        if random_share(header, trace_id) < after:
            return None
        members["th"] = written(after)
        return "ot=" + ";".join(f"{key}:{value}" for key, value in members.items())
