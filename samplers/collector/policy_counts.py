"""What each policy would have kept, live or watching, as metrics: so that they can be compared."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from samplers.collector.metrics import Labels, Registry
    from samplers.pacing import Pace
    from samplers.session_types import DueSession
    from samplers.terms import Decision, State

_LIVE, _SHADOW = "live", "shadow"
_OVERALL: Final = "overall/"


class PolicyCounts:
    """Sessions, spans and bytes by policy and by what it said.

    A session counts once, at its final decision, for the live policy and for every shadow.

    Attributes:
        sessions: By policy, role (`live`, `shadow`), what gave T, and decision.
        spans: By policy, role and decision.
        bytes: The same of the bytes as received.
    """

    def __init__(self) -> None:
        self.sessions: Counter[Labels] = Counter()
        self.spans: Counter[Labels] = Counter()
        self.bytes: Counter[Labels] = Counter()

    def note(self, decision: Decision, session: DueSession) -> None:
        """Count a session.

        Args:
            decision: Final decision, with those of the shadow policies.
            session: The session.
        """
        self._note((decision.policy, _LIVE), decision.rule, session, keep=decision.keep)
        for shadow in decision.shadows:
            self._note((shadow.policy, _SHADOW), shadow.rule, session, keep=shadow.keep)

    def _note(self, policy: Labels, rule: str, session: DueSession, *, keep: bool) -> None:
        said = "keep" if keep else "drop"
        self.sessions[*policy, rule, said] += 1
        self.spans[*policy, said] += session.spans
        self.bytes[*policy, said] += session.bytes

    def describe(self, registry: Registry) -> None:
        """Declare the metrics."""
        labels = ("policy", "role", "decision")
        registry.counter(
            "tracekit_policy_sessions_total",
            "Sessions by what each policy decides, by what gave T; shadow policies keep nothing.",
            ("policy", "role", "rule", "decision"),
        ).ask_all(lambda: dict(self.sessions))
        registry.counter("tracekit_policy_spans_total", "Spans of these sessions.", labels).ask_all(
            lambda: dict(self.spans)
        )
        registry.counter(
            "tracekit_policy_bytes_total", "Bytes of them as received.", labels
        ).ask_all(lambda: dict(self.bytes))


def describe_budgets(registry: Registry, states: Mapping[str, State]) -> None:
    """Declare the metrics of the budgets of all together; those of tenants are only counted.

    Args:
        registry: The metrics.
        states: State of each policy by name.
    """
    for name, meaning in (
        ("pressure", "Demand over allowance when the last step began."),
        ("level", "Level of the degrade ladder that is announced; 0 for none."),
        ("spent", "Spans or bytes kept on this UTC day."),
    ):
        family = registry.gauge(f"tracekit_budget_{name}", meaning, ("policy", "budget"))
        family.ask_all(partial(_overall, states, name))
    registry.gauge(
        "tracekit_tenant_budgets_short",
        "Budgets of tenants whose demand is above their allowance.",
        ("policy",),
    ).ask_all(partial(_short, states))


def _paces(states: Mapping[str, State]) -> Iterator[tuple[str, str, Pace]]:
    for policy, state in list(states.items()):
        for budget, pace in list(state.paces.items()):
            yield policy, budget, pace


def _overall(states: Mapping[str, State], what: str) -> dict[Labels, float]:
    return {
        (policy, budget.removeprefix(_OVERALL)): float(getattr(pace, what))
        for policy, budget, pace in _paces(states)
        if budget.startswith(_OVERALL)
    }


def _short(states: Mapping[str, State]) -> dict[Labels, float]:
    short = Counter({(policy,): 0 for policy in list(states)})
    for policy, budget, pace in _paces(states):
        short[policy,] += not budget.startswith(_OVERALL) and pace.pressure > 1
    return {labels: float(number) for labels, number in short.items()}
