"""Verdicts that come after the session: of a test, a reviewer, a user.

Each is a trace of its own that names the session, so that it can come days later, from any process
and through any exporter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from opentelemetry.context import Context

from tracekit.instrumentation import names
from tracekit.instrumentation.content import captured
from tracekit.instrumentation.runtime import STATE, failed
from tracekit.instrumentation.steps import Step, cleaned
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

Verdict = Literal["success", "failure"]

FEEDBACK: Final = "user_feedback"
"""Name of the evaluation a user's feedback is."""

_LABELS: Final = {"success": "pass", "failure": "fail", True: "pass", False: "fail"}


def outcome(  # noqa: PLR0913 - what is known of a verdict
    session: str,
    verdict: Verdict | bool,
    source: str,
    *,
    task: str | None = None,
    score: float | None = None,
    explanation: str | None = None,
) -> None:
    """Say whether a session or one of its tasks succeeded, when that is known.

        tracekit.outcome("chat-42", "failure", "regression_test", task=task_id)

    Args:
        session: The session's key.
        verdict: `success` or `failure`, or whether it succeeded.
        source: Who says so: name of the test or evaluation, of few distinct values.
        task: The task's id; the verdict is on the whole session where it is None.
        score: Its score, in a unit of its own.
        explanation: Why; written only where content is captured.

    Raises:
        ValueError: The verdict is neither.
    """
    if verdict not in _LABELS:
        raise ValueError(f"verdict {verdict!r}: expected 'success' or 'failure'")
    result = {names.EVALUATION_NAME: source, names.EVALUATION_LABEL: _LABELS[verdict]}
    _write(session, task, {**result, names.EVALUATION_SCORE: score}, explanation)


def feedback(  # noqa: PLR0913 - what is known of it
    session: str,
    positive: bool | None = None,
    *,
    rating: float | None = None,
    source: str = "user",
    comment: str | None = None,
    task: str | None = None,
) -> None:
    """Note what a user thought of a session.

        tracekit.feedback("chat-42", positive=False, comment=form["comment"])

    Args:
        session: The session's key.
        positive: Whether they were content.
        rating: Their rating, in a unit of its own; alone it decides nothing.
        source: Where it came from: a button, a survey, support.
        comment: What they wrote; written only where content is captured.
        task: The task's id.

    Raises:
        ValueError: Neither `positive` nor `rating` is given.
    """
    if positive is None and rating is None:
        raise ValueError("feedback takes positive=True or False, or rating=<a number>")
    result: dict[str, AttributeValue | None] = {
        names.EVALUATION_NAME: FEEDBACK,
        names.EVALUATION_LABEL: None if positive is None else _LABELS[positive],
        names.EVALUATION_SCORE: rating,
        names.FEEDBACK_SOURCE: source,
    }
    _write(session, task, result, comment)


def _write(
    session: str,
    task: str | None,
    result: dict[str, AttributeValue | None],
    explanation: str | None,
) -> None:
    runtime = STATE.runtime
    if runtime is None:
        return
    try:
        name = result[names.EVALUATION_NAME]
        known = {
            names.KIND: "evaluation",
            names.SESSION_ID: as_text(session),
            names.TASK_ID: as_text(task),
        }
        step = Step()
        # An empty context: neither the trace nor the session we happen to be in.
        step.start(f"evaluation {name!s}", cleaned(known), parent=Context())
        if step.span is None:
            return
        if explanation is not None:
            text = captured(explanation, runtime.settings)
            result = {**result, names.EVALUATION_EXPLANATION: text}
        time_ns = None if runtime.clock is None else runtime.clock()
        step.span.add_event(names.EVALUATION_EVENT, cleaned(result), time_ns)
        step.finish()
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("verdict")
