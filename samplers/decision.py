"""A decision about a session as the decision log holds it: all that a later export must repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

ABANDONED: Final = (1 << 63) - 1
"""The watermark of a target that is no longer waited for."""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """What was decided about a session, and why.

    Attributes:
        session: 128-bit fingerprint of the session key.
        keep: Whether it is kept.
        threshold: The rejection threshold T; None where the probability is not known.
        policy: Name of the policy.
        rule: What gave T.
        stratum: Name of the stratum.
        probability: Of inclusion; None where it is not known.
        trigger: Why it was decided now: the root ended, it was idle, ...
        reasons: Names of the rules that matched.
        decided_ns: When.
        spans: How many spans it had by then.
        segments: Segments of the journal that hold them.
        traces: The 16 bytes of each of its trace ids.
        targets: Where it is to be exported; empty for a dropped session.
        inclusion: Probability over all stages; None where it is not known.
        th_out: `th` its spans leave with; None for none.
        erase: Whether an incoming `th` is erased.
        degrade: Level of the degrade ladder; 0 for none.
        randomness: R; None in records of earlier versions.
        bytes: Bytes of the spans.
        overruled_ns: When it was kept by hand after it was dropped; None otherwise.
    """

    session: int
    keep: bool
    threshold: int | None
    policy: str
    rule: str
    stratum: str
    probability: float | None
    trigger: str
    reasons: tuple[str, ...]
    decided_ns: int
    spans: int
    segments: tuple[int, ...]
    traces: tuple[bytes, ...]
    targets: tuple[str, ...] = ()
    inclusion: float | None = None
    th_out: int | None = None
    erase: bool = False
    degrade: int = 0
    randomness: int | None = None
    bytes: int | None = None
    overruled_ns: int | None = None


@dataclass(slots=True)
class Entry:
    """What memory holds of a decision.

    Attributes:
        file: Number of the log file it is in.
        offset: Where its frame's payload begins.
        segments: Segments that hold its spans, late ones included.
        upto: Per target, the sequence up to which its spans are exported.
    """

    file: int
    offset: int
    segments: tuple[int, ...]
    upto: dict[str, int] = field(default_factory=dict)


def to_row(decision: DecisionRecord, entry: Entry | None = None) -> list[Any]:
    """Return a decision as JSON values, with what is known since if it is written again."""
    return [
        f"{decision.session:032x}",
        decision.keep,
        decision.threshold,
        decision.policy,
        decision.rule,
        decision.stratum,
        decision.probability,
        decision.trigger,
        decision.reasons,
        decision.decided_ns,
        decision.spans,
        entry.segments if entry else decision.segments,
        [trace.hex() for trace in decision.traces],
        decision.targets,
        entry.upto if entry else {},
        decision.inclusion,
        decision.th_out,
        decision.erase,
        decision.degrade,
        decision.randomness,
        decision.bytes,
        decision.overruled_ns,
    ]


KEEP, SEGMENTS, TARGETS, UPTO = 1, 11, 13, 14
"""Where the index of the log finds what it needs in a row; `UPTO` is how far it was exported."""


def from_row(row: list[Any]) -> DecisionRecord:
    """Return the decision of a row."""
    session, keep, threshold, policy, rule, stratum, probability, trigger, *rest = row
    reasons, decided_ns, spans, segments, traces, targets, _, inclusion, th_out, *rest = rest
    erase, degrade, *newer = rest
    return DecisionRecord(
        session=int(session, 16),
        keep=keep,
        threshold=threshold,
        policy=policy,
        rule=rule,
        stratum=stratum,
        probability=probability,
        trigger=trigger,
        reasons=tuple(reasons),
        decided_ns=decided_ns,
        spans=spans,
        segments=tuple(segments),
        traces=tuple(map(bytes.fromhex, traces)),
        targets=tuple(targets),
        inclusion=inclusion,
        th_out=th_out,
        erase=erase,
        degrade=degrade,
        **dict(zip(("randomness", "bytes", "overruled_ns"), newer, strict=False)),
    )
