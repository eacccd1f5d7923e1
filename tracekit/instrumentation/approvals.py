"""Approvals: what a person, or a policy, was asked before the work went on.

Waiting is a queue: when it was asked for, first looked at and decided tells where the time went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, overload
from uuid import uuid4

from opentelemetry.context import get_current

from tracekit.instrumentation import names
from tracekit.instrumentation.decorate import Instrument, is_bare, name_of
from tracekit.instrumentation.fingerprints import fingerprint
from tracekit.instrumentation.runtime import STATE, failed
from tracekit.instrumentation.scope import Scope, into, scope_of
from tracekit.instrumentation.steps import Step, cleaned
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")

Decision = Literal["approved", "denied", "expired"]

DECISIONS: Final[tuple[Decision, ...]] = ("approved", "denied", "expired")

_ENDED_BY: Final[tuple[tuple[type[BaseException], Decision], ...]] = (
    (PermissionError, "denied"),
    (TimeoutError, "expired"),
)
"""What an exception that ends the wait means."""


class ApprovalStep(Step):
    """One wait for an approval.

    Attributes:
        id: Its id, the same on the request and on the decision.
        status: How it stands: requested, approved, denied, expired.
    """

    __slots__ = ("_expires_ns", "id", "status")

    def __init__(self, approval_id: str) -> None:
        super().__init__()
        self.id = approval_id
        self.status: str = "requested"
        self._expires_ns: int | None = None

    def begin(
        self, name: str, *, expires_s: float | None = None, parent: Context | None = None
    ) -> Self:
        """Start the span: the approval is asked for now.

        Args:
            name: What is to be approved.
            expires_s: Time after which the request lapses, s.
            parent: Context it happens in; the current one.
        """
        runtime = STATE.runtime
        if runtime is None:
            return self
        now_ns = runtime.now_ns()
        known: dict[str, AttributeValue] = {
            names.KIND: "approval",
            names.APPROVAL_ID: self.id,
            names.APPROVAL_REQUESTED: now_ns,
        }
        if expires_s is not None:
            self._expires_ns = known[names.APPROVAL_EXPIRES] = now_ns + round(expires_s * 1e9)
        self.start(f"approval {name}", known, parent=parent)
        return self

    def viewed(self, *, by: str | None = None) -> None:
        """Note that somebody looks at the request; the first time counts.

        Args:
            by: Who; written as a keyed fingerprint.
        """
        if self.span is not None:
            self.attributes.setdefault(names.APPROVAL_VIEWED, self._runtime.now_ns())
            self._by(by)

    def approve(self, *, by: str | None = None) -> None:
        """Note that it was approved, by whom; written as a keyed fingerprint."""
        self._decide("approved", by)

    def deny(self, *, by: str | None = None) -> None:
        """Note that it was denied, by whom; written as a keyed fingerprint."""
        self._decide("denied", by)

    def expire(self) -> None:
        """Note that nobody decided in time."""
        self._decide("expired", None)

    def closing(self, error: str | None, result: object) -> None:
        """Say how it stands, and tell the task."""
        del error
        if self.status == "requested":
            self._infer(result)
        self.attributes[names.APPROVAL_STATUS] = self.status
        if self.scope.unit is not None:
            self.scope.unit.approval(self.status, self.end_ns)

    def _infer(self, result: object) -> None:
        ended = next((status for kind, status in _ENDED_BY if isinstance(result, kind)), None)
        if isinstance(result, bool):
            self._decide("approved" if result else "denied", None)
        elif ended is not None:
            self._decide(ended, None)
        elif self._expires_ns is not None and self._runtime.now_ns() >= self._expires_ns:
            self.status = "expired"

    def _decide(self, status: Decision, by: str | None) -> None:
        self.status = status
        if self.span is not None:
            self.attributes[names.APPROVAL_DECIDED] = self._runtime.now_ns()
            self._by(by)

    def _by(self, by: str | None) -> None:
        if by is not None:
            self.attributes[names.APPROVAL_BY] = _who(by)


class Approval(Instrument[ApprovalStep]):
    """See `approval`."""

    def __init__(self, name: str | None, expires_s: float | None) -> None:
        super().__init__()
        self._name = name
        self._expires_s = expires_s

    def bind(self, function: Any) -> Self:
        """Take the name from the function, where it has none."""
        if self._name:
            return self
        other = self.copy()
        other._name = name_of(function)  # noqa: SLF001 - of the same class
        return other

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> ApprovalStep:
        """Ask for the approval."""
        del args, kwargs
        step = ApprovalStep(uuid4().hex)
        try:
            return step.begin(self._name or "approval", expires_s=self._expires_s)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("approval")
            return step


@overload
def approval(function: F, /) -> F: ...


@overload
def approval(name: str | None = None, *, expires_s: float | None = None) -> Approval: ...


def approval(name: F | str | None = None, *, expires_s: float | None = None) -> F | Approval:
    """Trace a wait for an approval: a context manager, and a decorator of a function that decides.

        with tracekit.approval("refund", expires_s=3600) as request:
            request.approve(by=ask_somebody())

    What is left without a decision is still requested, or expired. Of a decorated function True
    approves, False and PermissionError deny, and TimeoutError lets the request expire. For a wait
    that outlives the process see `request_approval`.

    Args:
        name: What is to be approved; of a decorated function its name.
        expires_s: Time after which the request lapses, s.
    """
    if is_bare(name, "approval"):
        return Approval(None, None)(name)
    return Approval(as_text(name), expires_s)


def request_approval(name: str, *, expires_s: float | None = None) -> str:
    """Ask for an approval that is decided later, or elsewhere; it is written at once.

        approval_id = tracekit.request_approval("refund", expires_s=86400)

    Args:
        name: What is to be approved.
        expires_s: Time after which the request lapses, s.

    Returns:
        The approval's id, for `decide_approval`.
    """
    step = ApprovalStep(uuid4().hex)
    try:
        step.begin(name, expires_s=expires_s).finish()
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("approval")
    return step.id


def decide_approval(  # noqa: PLR0913 - what is known of a decision
    approval_id: str,
    decision: Decision,
    *,
    by: str | None = None,
    name: str = "decision",
    session: str | None = None,
    task: str | None = None,
    requested_ns: int | None = None,
    viewed_ns: int | None = None,
    decided_ns: int | None = None,
    expires_ns: int | None = None,
) -> None:
    """Write the decision on an approval that was asked for before, in any process.

        tracekit.decide_approval(approval_id, "approved", by="u-7", session="chat-42")

    Args:
        approval_id: Id that `request_approval` returned.
        decision: `approved`, `denied` or `expired`.
        by: Who decided; written as a keyed fingerprint.
        name: What was to be approved.
        session: Session it belongs to; the current one.
        task: Task it belongs to; the current one.
        requested_ns: When it was asked for, UTC, ns since 1970.
        viewed_ns: When somebody first looked at it.
        decided_ns: When it was decided; now.
        expires_ns: When the request lapses.

    Raises:
        ValueError: The decision is none of `DECISIONS`.
    """
    if decision not in DECISIONS:
        raise ValueError(f"decision {decision!r}: expected one of {', '.join(DECISIONS)}")
    runtime = STATE.runtime
    if runtime is None:
        return
    now_ns = runtime.now_ns()
    known = {
        names.KIND: "approval",
        names.APPROVAL_ID: as_text(approval_id),
        names.APPROVAL_STATUS: decision,
        names.APPROVAL_REQUESTED: requested_ns,
        names.APPROVAL_VIEWED: viewed_ns,
        names.APPROVAL_DECIDED: decided_ns or now_ns,
        names.APPROVAL_EXPIRES: expires_ns,
        names.APPROVAL_BY: None if by is None else _who(by),
    }
    try:
        step = Step()
        step.start(
            f"approval {name}", cleaned(known), parent=_place(as_text(session), as_text(task))
        )
        if step.span is not None and step.scope.unit is not None:
            step.scope.unit.approval(decision, now_ns)
        step.finish()
    except Exception:  # noqa: BLE001 - the host goes on without us
        failed("approval")


def _place(session: str | None, task: str | None) -> Context:
    """Return the current context, moved to another session or task where one is named."""
    context = get_current()
    scope = scope_of(context)
    if session is not None and session != scope.session_id:
        scope = Scope().with_session(session, {})
    if task is not None and task != scope.task_id:
        stamp = {**scope.stamp, names.TASK_ID: task}
        scope = Scope(scope.session_id, task, stamp=stamp)
    return into(context, scope, propagate=False)


def _who(by: str) -> int:
    runtime = STATE.runtime
    return fingerprint(
        (as_text(by) or "").encode(), runtime.settings.fingerprint_key if runtime else 0
    )
