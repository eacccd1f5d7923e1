"""Session assembly against a plain Python model of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sessions_build import NOW, SECOND, Harness
from sessions_model import Model, Sent

from samplers.sessions import DueSession, LateSpans, Limits, Verdict

LIMITS = Limits(
    root_delay=2 * SECOND,
    keyed_root_delay=5 * SECOND,
    done_delay=3 * SECOND,
    idle=20 * SECOND,
    max_age=100 * SECOND,
    interim=30 * SECOND,
    remembered=10**6 * SECOND,
)

SENT = st.builds(
    Sent,
    trace=st.integers(1, 7),
    span=st.integers(1, 30),
    key=st.sampled_from(["", "", "a", "b", "c"]),
    is_root=st.booleans(),
    end=st.sampled_from([0, 1, 1, 1, 2]),
    is_done=st.sampled_from([False, False, False, True]),
    size=st.just(0),
)

VERDICTS = st.builds(
    Verdict,
    kept=st.booleans(),
    threshold=st.integers(0, 1 << 56),
    weight=st.floats(1, 100),
    rule=st.sampled_from(["errors", "baseline"]),
)


class Assembly(RuleBasedStateMachine):
    """Random spans at random times, decided at random moments."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.real = Harness(LIMITS)
        self.model = Model(LIMITS)
        self.deciding: list[DueSession] = []
        self.received: set[tuple[int, int]] = set()
        self.final: Counter[tuple[int, int, int]] = Counter()

    @rule(spans=st.lists(SENT, min_size=1, max_size=6))
    def send(self, spans: list[Sent]) -> None:
        """A request arrives."""
        # One copy of a span says the same as another, apart from its end.
        spans = [self.real.sent.get((*s.identity, s.end), s) for s in spans]
        unique = {(*sent.identity, sent.end): sent for sent in spans}
        spans = [unique[*sent.identity, sent.end] for sent in spans]
        self.received |= {sent.identity for sent in spans}
        got = self.real.send(spans, self.now)
        duplicates, late = self.model.ingest(spans, self.now)
        assert got.duplicates == duplicates
        self.follow(list(got.late), late)

    def follow(self, got: list[LateSpans], expected: list[tuple[Sent, Verdict]]) -> None:
        """Late spans are those of the model, and follow the same verdict."""
        pairs = [(sent, late.verdict) for late in got for sent in self.real.spans(late.rows)]
        assert sorted(pairs, key=repr) == sorted(expected, key=repr)
        self.final.update((*sent.identity, sent.end) for sent, _ in pairs)

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds * SECOND

    @rule()
    def tick(self) -> None:
        """Sessions that are complete come out, the same as in the model, with the same spans."""
        got = self.real.sessions.due(self.now)
        expected = self.model.due(self.now)
        assert {due.key: due.trigger for due in got} == {
            key: trigger for key, (trigger, _, _) in expected.items()
        }
        for due in got:
            _, spans, before = expected[due.key]
            read = self.real.spans(due.rows)
            assert len(read) == len(spans)
            assert set(read) == spans
            marked = [sent for sent, was in zip(read, due.asked_before, strict=True) if was]
            assert {sent.identity for sent in marked} == before
            if not due.is_interim:
                self.final.update((*sent.identity, sent.end) for sent in read)
        self.deciding += got

    @precondition(lambda self: self.deciding)
    @rule(data=st.data(), verdict=VERDICTS)
    def settle(self, data: Any, verdict: Verdict) -> None:
        """A decision arrives, in any order."""
        due = self.deciding.pop(data.draw(st.integers(0, len(self.deciding) - 1)))
        group = self.model.groups
        name = next(
            g.name
            for g in group
            if g.state in {"asked", "deciding"}
            and min(sent.trace for sent in self.real.spans(due.rows)) in g.traces
        )
        if due.is_interim and verdict.kept:
            asked = next(g.asked for g in group if g.name == name and g.state == "asked")
            self.final.update((*sent.identity, sent.end) for sent in asked)
        got = self.real.sessions.settle(due, verdict, self.now)
        self.follow(got, self.model.settle(name, verdict, self.now))

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every span received waits, or was in one final decision; none was in two."""
        waiting = [sent for group in self.model.groups for sent in group.waiting]
        assert self.real.sessions.stats()["pending_spans"] == len(waiting)
        assert all(count == 1 for count in self.final.values())
        decided = {identity[:2] for identity in self.final}
        assert decided | {sent.identity for sent in waiting} == self.received


Assembly.TestCase.settings = settings(
    deadline=None,
    max_examples=100,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)
TestAssembly = Assembly.TestCase
