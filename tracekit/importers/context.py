"""What importers are told about a file, and what files tell beside their spans."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

_MOST_STEPS: Final = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """What is needed to add spans to a recorded session later.

    Attributes:
        fmt: Name of the format.
        identity: What tells the session from all others of the format.
        session_id: Session key.
        keys: Keys of the spans it has.
    """

    fmt: str
    identity: str
    session_id: str
    keys: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Annotation:
    """What somebody found at a step of a session.

    Attributes:
        name: What kind of finding by whom; the name of the evaluation.
        category: Category of the finding; None where none is given.
        agent: Agent that is said to be at fault, as written.
        step: Index of the message it is about, from 0.
    """

    name: str
    category: str | None
    agent: str | None
    step: int

    def __post_init__(self) -> None:
        """Check the step.

        Raises:
            ValueError: No session has that many.
        """
        if not 0 <= self.step < _MOST_STEPS:
            raise ValueError(f"an annotation of step {self.step}")


@dataclasses.dataclass(slots=True)
class Beside:
    """What the files of one archive tell of each other, so that their order does not matter.

    Attributes:
        sessions: Sessions by the name that other files use for them, and by session key.
        annotations: Where it is said, the name of the session, and what was found.
    """

    sessions: dict[str, dict[str, Steps]] = dataclasses.field(default_factory=dict)
    annotations: list[tuple[str, str, list[Annotation]]] = dataclasses.field(default_factory=list)

    def offer(self, name: str, steps: Steps) -> None:
        """Let other files name a session."""
        self.sessions.setdefault(name, {})[steps.session_id] = steps


@dataclasses.dataclass(slots=True)
class Context:
    """What an importer is told about a file, and what it tells besides spans.

    Attributes:
        name: The file, or `archive: member`, for messages.
        stem: Name of the file without its ending; benchmarks name runs by file or by folder.
        folder: Name of the folder or archive the file is in; empty for standard input.
        beside: What the files of its archive tell of each other.
        skipped: What was passed over, and why.
        outcomes: Rows of the table `outcomes`, without `recorded_ns`.
    """

    name: str
    stem: str
    folder: str
    beside: Beside = dataclasses.field(default_factory=Beside)
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    outcomes: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def skip(self, what: str, why: str) -> None:
        """Note that a part of the file was passed over."""
        self.skipped.append((f"{self.name}: {what}" if what else self.name, why))

    def judge(
        self, session_id: str, source: str, *, solved: bool, score: float | None = None
    ) -> None:
        """Note a verdict on a session, which may be in this file, in another, or not here yet."""
        self.outcomes.append(
            {
                "session_id": session_id,
                "task_id": None,
                "outcome": "success" if solved else "failure",
                "evidence": "verified",
                "source": source,
                "score": score,
                "decided_ns": None,
            }
        )
