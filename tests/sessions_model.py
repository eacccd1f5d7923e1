"""What session assembly must do, as plain Python over lists: the model the kernels are held to.

A session is a set of names (traces and keys) and a list of spans. Nothing here is clever or fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from samplers.sessions import Limits, Verdict

NEVER = 1 << 62


class Sent(NamedTuple):
    """One copy of a span as a test sends it."""

    trace: int
    span: int
    key: str = ""
    is_root: bool = False
    end: int = 1
    is_done: bool = False
    size: int = 0

    @property
    def identity(self) -> tuple[int, int]:
        """What copies of a span have in common."""
        return self.trace, self.span


@dataclass
class Group:
    """A session."""

    first_seen: int
    last_seen: int
    traces: dict[int, bool] = field(default_factory=dict)  # trace -> its root has ended
    keys: set[str] = field(default_factory=set)
    waiting: list[Sent] = field(default_factory=list)
    asked: list[Sent] = field(default_factory=list)
    before: set[tuple[int, int]] = field(default_factory=set)
    gone: set[tuple[int, int, int]] = field(default_factory=set)
    root_at: int = 0
    done_at: int = 0
    asked_at: int = 0
    state: str = "open"
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """The key a session comes out with."""
        return min(self.keys) if self.keys else f"{min(self.traces):032x}"


class Model:
    """Sessions, without the limits on spans and bytes."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.groups: list[Group] = []

    def ingest(self, spans: list[Sent], now: int) -> tuple[int, list[tuple[Sent, Verdict]]]:
        """Return the number of duplicates, and the late spans with what they follow."""
        duplicates = sum(self._take(sent, now) for sent in spans)
        return duplicates, [late for group in self.groups for late in self._drain(group)]

    @staticmethod
    def _drain(group: Group) -> list[tuple[Sent, Verdict]]:
        if group.state != "decided":
            return []
        assert group.verdict is not None
        late = [(sent, group.verdict) for sent in group.waiting]
        group.gone |= {(*sent.identity, sent.end) for sent in group.waiting}
        group.waiting = []
        return late

    def _find(self, sent: Sent, now: int) -> Group:
        of_trace = next((g for g in self.groups if sent.trace in g.traces), None)
        of_key = next((g for g in self.groups if sent.key in g.keys), None) if sent.key else None
        group = of_trace or of_key
        if of_trace and of_key and of_trace is not of_key:
            group = self._merge(of_trace, of_key)
        if group is None:
            group = Group(now, now)
            self.groups.append(group)
        if sent.trace not in group.traces:
            group.traces[sent.trace] = False
            group.done_at = 0
        if sent.key and of_key is None:
            group.keys.add(sent.key)
        return group

    def _merge(self, a: Group, b: Group) -> Group:
        if a.state != "open" and b.state != "open":
            return a
        if b.state != "open":
            a, b = b, a
        self.groups.remove(b)
        a.traces |= b.traces
        a.keys |= b.keys
        a.waiting += b.waiting
        a.before |= b.before
        a.first_seen, a.last_seen = min(a.first_seen, b.first_seen), max(a.last_seen, b.last_seen)
        a.root_at, a.done_at = max(a.root_at, b.root_at), max(a.done_at, b.done_at)
        a.asked_at = max(a.asked_at, b.asked_at)
        return a

    def _take(self, sent: Sent, now: int) -> bool:
        group = self._find(sent, now)
        known = next((s for s in group.waiting if s.identity == sent.identity), None)
        if (*sent.identity, sent.end) in group.gone or (known and sent.end <= known.end):
            return True
        if known is not None:
            group.waiting[group.waiting.index(known)] = sent
            if known in group.asked:
                group.asked.remove(known)
        else:
            group.waiting.append(sent)
        self._note(group, sent, now)
        return known is not None

    @staticmethod
    def _note(group: Group, sent: Sent, now: int) -> None:
        group.last_seen = max(group.last_seen, now)
        if sent.is_done:
            group.done_at = now
        if sent.is_root and sent.end and not group.traces[sent.trace]:
            group.traces[sent.trace] = True
            group.root_at = now

    def _due_at(self, group: Group, now: int) -> tuple[int, str]:
        limits = self.limits
        candidates = [
            (group.last_seen + limits.idle, 2, "idle"),
            (group.first_seen + limits.max_age, 3, "max_age"),
        ]
        if group.root_at and all(group.traces.values()):
            delay = limits.keyed_root_delay if group.keys else limits.root_delay
            candidates.append((group.root_at + delay, 0, "root"))
        if group.done_at:
            candidates.append((group.done_at + limits.done_delay, 1, "done"))
        at, _, trigger = min(candidates)
        if at > now and limits.interim and group.last_seen > group.asked_at:
            interim = (group.asked_at or group.first_seen) + limits.interim
            if interim < at:
                at, trigger = interim, "interim"
        return at, trigger

    def due(self, now: int) -> dict[str, tuple[str, set[Sent], set[tuple[int, int]]]]:
        """Return name -> trigger, spans, spans that were asked about before."""
        out = {}
        for group in self.groups:
            at, trigger = self._due_at(group, now) if group.state == "open" else (NEVER, "")
            if at > now:
                continue
            out[group.name] = (trigger, set(group.waiting), set(group.before))
            if trigger == "interim":
                group.state, group.asked = "asked", list(group.waiting)
            else:
                group.state = "deciding"
                group.gone |= {(*sent.identity, sent.end) for sent in group.waiting}
                group.waiting = []
        return out

    def settle(self, name: str, verdict: Verdict, now: int) -> list[tuple[Sent, Verdict]]:
        """Return the spans that came meanwhile."""
        group = next(g for g in self.groups if g.state in {"asked", "deciding"} and g.name == name)
        if group.state == "asked" and not verdict.kept:
            group.state, group.asked_at = "open", now
            group.before |= {sent.identity for sent in group.asked}
            return []
        if group.state == "asked":
            group.gone |= {(*sent.identity, sent.end) for sent in group.asked}
            group.waiting = [sent for sent in group.waiting if sent not in group.asked]
        group.state, group.verdict = "decided", verdict
        return self._drain(group)
