"""Verdicts that come after the session, from anywhere, and what the ledger makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lake_build import new_lake
from lake_build import rows as lake_rows
from models_build import row, rows
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from traced import Recording, attributes, recorded

import tracekit
from tracekit.importers.detect import open_sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


def session_with_a_task() -> None:
    """Run a session with one task."""
    with tracekit.session("s"), tracekit.task("refund", task_id="t"):
        pass


def event_of(spans: Recording, name: str) -> dict[str, Any]:
    """Return the attributes of the only event of a span."""
    (event,) = spans.one(name).events
    return dict(event.attributes or {})


def test_outcome_is_a_trace_of_its_own(spans: Recording) -> None:
    """A verdict names its session, not the one in which it happens to be written."""
    with tracekit.session("other"), tracekit.agent("reviewer"):
        tracekit.outcome("s", "failure", "regression_test", task="t", score=0.2)

    span = spans.one("evaluation regression_test")
    assert span.parent is None
    assert attributes(span)["tracekit.session.id"] == "s"
    assert attributes(span)["tracekit.task.id"] == "t"
    assert "gen_ai.agent.name" not in attributes(span)
    assert event_of(spans, span.name) == {
        "gen_ai.evaluation.name": "regression_test",
        "gen_ai.evaluation.score.label": "fail",
        "gen_ai.evaluation.score.value": 0.2,
    }


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("success", "success"), ("failure", "failure"), (True, "success"), (False, "failure")],
)
def test_verified_outcome(spans: Recording, verdict: Any, expected: str) -> None:
    """In the ledger it is a verified outcome of the task, with its score."""
    session_with_a_task()
    tracekit.outcome("s", verdict, "regression_test", task="t", score=0.5)

    columns = ("session_id", "task_id", "outcome", "evidence", "source", "score")
    found = row(spans.ledger(), "outcomes", *columns)
    assert found == ("s", "t", expected, "verified", "regression_test", 0.5)


def test_outcome_that_comes_later(spans: Recording, tmp_path: Path) -> None:
    """A verdict that comes in a later file, of another process, is about the task it names."""
    lake = new_lake(tmp_path / "lake")

    def take_in(name: str) -> None:
        path = tmp_path / f"{name}.pb"
        path.write_bytes(encode_spans(spans.all()).SerializeToString())
        spans.exporter.clear()
        lake.ingest(open_sources([str(path)]))

    session_with_a_task()
    take_in("session")
    spans.wait(3 * 86_400)
    tracekit.outcome("s", "failure", "reviewer", task="t")
    take_in("verdict")

    assert lake_rows(lake, "SELECT task_id, outcome, evidence FROM outcomes") == [
        ("t", "failure", "verified")
    ]
    assert lake_rows(lake, "SELECT count(*) FROM sessions") == [1]


def test_outcome_of_a_whole_session(spans: Recording) -> None:
    """Without a task the verdict is on the session."""
    with tracekit.session("s"), tracekit.agent("support"):
        pass
    tracekit.outcome("s", "success", "reviewer")

    assert rows(spans.ledger(), "outcomes", "task_id", "outcome") == [(None, "success")]


@pytest.mark.parametrize(("positive", "outcome"), [(True, "success"), (False, "failure")])
def test_thumbs(spans: Recording, positive: bool, outcome: str) -> None:
    """A thumb up or down is a verdict by the user."""
    session_with_a_task()
    tracekit.feedback("s", positive, task="t", source="button")

    found = row(spans.ledger(), "outcomes", "outcome", "source")
    assert found == (outcome, "user_feedback")
    assert event_of(spans, "evaluation user_feedback")["tracekit.feedback.source"] == "button"


def test_rating_alone_decides_nothing(spans: Recording) -> None:
    """A rating has no scale: the outcome stays undetermined, with the rating beside it."""
    session_with_a_task()
    tracekit.feedback("s", rating=4)

    assert row(spans.ledger(), "outcomes", "outcome", "score") == ("undetermined", 4.0)


@pytest.mark.parametrize("captures", [True, False])
def test_comment_is_content(captures: bool) -> None:
    """What a user wrote is written only where content is captured, and redacted."""
    settings: dict[str, Any] = {"capture_content": captures, "redact": tracekit.Redaction()}
    with recorded(**settings) as spans:
        tracekit.feedback("s", positive=False, comment="ask bob@example.com")
        tracekit.outcome("s", "failure", "reviewer", explanation="bob@example.com is right")

    found = event_of(spans, "evaluation user_feedback").get("gen_ai.evaluation.explanation")
    assert found == ("ask [redacted:email]" if captures else None)
    found = event_of(spans, "evaluation reviewer").get("gen_ai.evaluation.explanation")
    assert found == ("[redacted:email] is right" if captures else None)


def test_mistakes() -> None:
    """A verdict that is neither, and feedback that says nothing, are the developer's mistakes."""
    with pytest.raises(ValueError, match="perhaps"):
        tracekit.outcome("s", "perhaps", "reviewer")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rating"):
        tracekit.feedback("s")


def test_off() -> None:
    """Switched off, a verdict goes nowhere."""
    tracekit.outcome("s", "success", "reviewer")
    tracekit.feedback("s", positive=True)
