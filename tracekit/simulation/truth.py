"""What really happened to a task: told by the script, and not by tracekit's models.

The stop code is the taxonomy's by its definition; cost is the script's own arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

Outcome = Literal["success", "failure", "undetermined"]
Known = Literal["verdict", "declared", "stop", "label", "never"]
"""How an outcome becomes known: an evaluation inside the session, the agent's typed word, the stop
code alone, a label some time later, or not at all."""

Cause = Literal[
    "provider", "rate_limit", "timeout", "tool", "orchestration", "semantic", "human", ""
]
"""What a failed task was lost to; `provider` becomes provider_counted or provider_excluded by what
the provider's contract counts in the scenario."""

WASTE: Final = ("failed_attempt", "duplicate", "cancelled_sibling", "after_done", "amplified")
"""Why money was wasted. Nothing in tracekit's models knows the last one."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of every task of a mode.

    Attributes:
        code: Stop code.
        outcome: Whether the user got what they wanted; undetermined where nobody can know.
        known: How that becomes known.
        fault: Whose fault a failure is: P provider, A application or agent, U user, X policy, -.
        cause: What a failed task was lost to; empty where it did not fail.
        detectors: Detectors of detectors.md that should find it.
        hidden: Why a trace cannot show the code or the cost; empty where it does.
    """

    code: str
    outcome: Outcome
    known: Known
    fault: str = "-"
    cause: Cause = ""
    detectors: tuple[str, ...] = ()
    hidden: str = ""


class Row(NamedTuple):
    """One task, as the truth file tells of it.

    Attributes:
        session_id: The session.
        task_id: The task; the session's id where no task was declared.
        agent: Name of the agent.
        service: Its service.
        provider: OTel name of the provider.
        model: Model that was asked first.
        entry: Name of the entry in the scenario.
        mode: Name of the mode.
        incident: Incident that ended the task; empty where none did.
        start_ns: UTC, ns since 1970.
        end_ns: UTC, ns since 1970.
        code: Stop code.
        outcome: success, failure or undetermined.
        known: How the outcome becomes known.
        label_ns: When the label is given, UTC, ns since 1970; None where there is none.
        fault: Whose fault it is.
        cause: What a failed task was lost to, as in `tracekit/sla/causes.yaml`; empty for others.
        detectors: Names of detectors, joined by `;`.
        calls: Model calls, retries not counted.
        attempts: Attempts, failed ones included.
        tries: What became of them: provider/region/kind=number, joined by `;`; kinds are those of
            `failures.yaml`, ok, and cancelled by the agent.
        input_tokens: Tokens that were billed.
        output_tokens: Tokens that were billed.
        cost_usd: What was billed.
        wasted_usd: What of it helped nobody.
        wasted_failed_attempt_usd: By reason.
        wasted_duplicate_usd: By reason.
        wasted_cancelled_sibling_usd: By reason.
        wasted_after_done_usd: By reason.
        wasted_amplified_usd: By reason.
        hidden: Why the trace does not show all of this; empty where it does.
    """

    session_id: str
    task_id: str
    agent: str
    service: str
    provider: str
    model: str
    entry: str
    mode: str
    incident: str
    start_ns: int
    end_ns: int
    code: str
    outcome: str
    known: str
    label_ns: int | None
    fault: str
    cause: str
    detectors: str
    calls: int
    attempts: int
    tries: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    wasted_usd: float
    wasted_failed_attempt_usd: float
    wasted_duplicate_usd: float
    wasted_cancelled_sibling_usd: float
    wasted_after_done_usd: float
    wasted_amplified_usd: float
    hidden: str


@dataclass(slots=True)
class Bill:
    """What a task has used so far.

    Attributes:
        calls: Model calls, retries not counted.
        attempts: Attempts, failed ones included.
        tries: What became of them, by provider, region and kind.
        input_tokens: Tokens that were billed.
        output_tokens: Tokens that were billed.
        micros: What was billed, in millionths of a USD.
        wasted: What of it helped nobody, by reason.
    """

    calls: int = 0
    attempts: int = 0
    tries: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    micros: float = 0.0
    wasted: dict[str, float] = field(default_factory=dict)

    def add(self, tokens: tuple[int, int, int], price: tuple[float, float, float]) -> float:
        """Add a call, and return what it cost in millionths of a USD.

        Args:
            tokens: Input, what of it was cached, output.
            price: USD per million tokens of input, cached input, output.
        """
        read, cached, written = tokens
        self.input_tokens += read
        self.output_tokens += written
        cost = (read - cached) * price[0] + cached * price[1] + written * price[2]
        self.micros += cost
        return cost

    def waste(self, reason: str, micros: float) -> None:
        """Note that something of what was billed helped nobody."""
        self.wasted[reason] = self.wasted.get(reason, 0.0) + micros
