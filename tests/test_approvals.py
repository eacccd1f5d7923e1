"""Approvals: when they were asked for, seen and decided, in one process and across several."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from models_build import rows
from traced import Recording, attributes, recorded

import tracekit
from tracekit.instrumentation.fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded(fingerprint_key=7) as recording:
        yield recording


def test_wait_in_one_process(spans: Recording) -> None:
    """Request, first look and decision are written, and by whom as a keyed fingerprint."""
    with tracekit.approval("refund", expires_s=3600) as request:
        spans.wait(60)
        request.viewed(by="u-7")
        spans.wait(5)
        request.viewed(by="u-8")
        request.approve(by="u-7")

    found = attributes(spans.one("approval refund"))
    requested = found["tracekit.approval.requested_ns"]
    assert found["tracekit.approval.status"] == "approved"
    assert found["tracekit.approval.viewed_ns"] - requested == pytest.approx(60e9, rel=0.01)
    assert found["tracekit.approval.decided_ns"] - requested == pytest.approx(65e9, rel=0.01)
    assert found["tracekit.approval.expires_ns"] - requested == 3600e9
    assert found["tracekit.approval.by_hash"] == fingerprint(b"u-7", 7)
    assert "u-7" not in str(found)


@pytest.mark.parametrize(
    ("waited_s", "status"), [(10, "requested"), (3600, "expired"), (3 * DAY_S, "expired")]
)
def test_left_without_decision(spans: Recording, waited_s: float, status: str) -> None:
    """What nobody decided is still requested, until it expires; also after days."""
    with tracekit.approval("refund", expires_s=3600):
        spans.wait(waited_s)

    assert spans.values("approval refund", "tracekit.approval.status") == [status]
    assert spans.values("approval refund", "tracekit.approval.decided_ns") == [None]


def test_explicit_ends(spans: Recording) -> None:
    """A request can be denied and can expire."""
    with tracekit.approval("a") as request:
        request.deny(by="u-7")
    with tracekit.approval("b") as request:
        request.expire()

    assert spans.values("approval a", "tracekit.approval.status") == ["denied"]
    assert spans.values("approval b", "tracekit.approval.status") == ["expired"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (True, "approved"),
        (False, "denied"),
        (PermissionError(), "denied"),
        (TimeoutError(), "expired"),
        (OSError(), "requested"),
        ("perhaps", "requested"),
    ],
)
def test_decorated_function(spans: Recording, answer: object, status: str) -> None:
    """What a decorated function returns or raises is the decision."""

    @tracekit.approval
    def ask() -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    if isinstance(answer, Exception):
        with pytest.raises(type(answer)):
            ask()
    else:
        assert ask() == answer

    assert spans.values("approval ask", "tracekit.approval.status") == [status]


def test_async_wait(spans: Recording) -> None:
    """Coroutines wait as well."""

    @tracekit.approval("refund")
    async def ask() -> bool:
        await asyncio.sleep(0)
        return True

    assert asyncio.run(ask())
    assert spans.values("approval refund", "tracekit.approval.status") == ["approved"]


def test_decided_elsewhere(spans: Recording) -> None:
    """A request is written at once; its decision, days later, is another span with its id."""
    with tracekit.session("s"), tracekit.task("refund", task_id="t"):
        approval_id = tracekit.request_approval("refund", expires_s=2 * DAY_S)
        assert spans.values("approval refund", "tracekit.approval.id") == [approval_id]
    spans.wait(3 * DAY_S)
    tracekit.decide_approval(
        approval_id, "approved", by="u-7", session="s", task="t", requested_ns=5, viewed_ns=6
    )

    decided = attributes(spans.one("approval decision"))
    assert decided["tracekit.approval.id"] == approval_id
    assert decided["tracekit.approval.requested_ns"] == 5
    assert decided["tracekit.approval.viewed_ns"] == 6
    assert decided["tracekit.session.id"] == "s"
    assert rows(spans.ledger(), "ledger_spans", "task_id", "approval_status")[-2:] == [
        ("t", "requested"),
        ("t", "approved"),
    ]


def test_decision_in_the_session_we_are_in(spans: Recording) -> None:
    """Where no session is named, it is the current one."""
    with tracekit.session("s"):
        tracekit.decide_approval("a", "denied")

    assert spans.values("approval decision", "tracekit.session.id") == ["s"]


def test_unknown_decision() -> None:
    """A decision nobody knows is a mistake of the developer."""
    with pytest.raises(ValueError, match="maybe"):
        tracekit.decide_approval("a", "maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decision", "stop"), [("denied", "policy.permission_denied"), (None, "waiting.human_input")]
)
def test_stop_of_a_task(spans: Recording, decision: str | None, stop: str) -> None:
    """A task that ends on a denial or on an open request says so, live and in the lake."""
    with tracekit.agent("support"), tracekit.approval("refund") as request:
        if decision is not None:
            request.deny()

    assert spans.stops() == [(stop, stop)]


def test_off() -> None:
    """Switched off, an approval has an id and nothing else."""
    with tracekit.approval("refund") as request:
        request.viewed(by="u")
        request.approve(by="u")
    assert request.status == "approved"
    assert tracekit.request_approval("refund")
    tracekit.decide_approval("a", "approved")
