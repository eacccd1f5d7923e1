"""Agents and tasks: the steps that have an end to explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, overload
from uuid import uuid4

from opentelemetry.context import get_current

from tracekit.instrumentation import names
from tracekit.instrumentation.decorate import ENTRY_POINTS, Instrument, is_bare, name_of
from tracekit.instrumentation.evidence import FrameFacts, Unit
from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.scope import scope_of
from tracekit.instrumentation.steps import Step, cleaned, event
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")

DoneStatus = Literal["success", "partial", "blocked", "failed", "needs_input", "infeasible"]
"""How a task can end, in its own words (detectors.md, record 2)."""

DONE_STATUSES: Final[tuple[DoneStatus, ...]] = (
    "success",
    "partial",
    "blocked",
    "failed",
    "needs_input",
    "infeasible",
)


class RootStep(Step):
    """A step that has an end to explain: an agent's run or a task."""

    __slots__ = ("_unit",)

    def __init__(self) -> None:
        super().__init__()
        self._unit: Unit | None = None

    def done(
        self, status: DoneStatus, reason: str | None = None, handle: str | None = None
    ) -> None:
        """Sign off: the typed end of the task.

        Args:
            status: How it ended.
            reason: Reason code of the application's own, few distinct values.
            handle: Where the result is: a URL, a ticket, a commit.

        Raises:
            ValueError: The status is none of `DONE_STATUSES`.
        """
        if status not in DONE_STATUSES:
            raise ValueError(f"status {status!r}: expected one of {', '.join(DONE_STATUSES)}")
        if self.span is None:
            return
        reason, handle = as_text(reason), as_text(handle)
        known = {names.TASK_REASON: reason, names.TASK_HANDLE: handle}
        event(
            "done",
            cleaned({names.KIND: "event", names.DONE_STATUS: status, **known}),
            parent=self.context,
        )
        self.attributes.update(cleaned({names.TASK_STATUS: status, **known}))
        unit = self._judged()
        if unit is not None:
            unit.done(status, self._runtime.now_ns())
            unit.status(status, self._said_at())
            if reason is not None:
                unit.declare(reason, self._said_at())

    def stopped(self, code: str) -> None:
        """Say why the task stopped, as a code of the taxonomy, where the application knows."""
        self.attributes[names.STOP_DECLARED] = code
        unit = self._judged()
        if unit is not None:
            unit.declare(code, self._said_at())

    def framework_state(self, state: str) -> None:
        """Note the terminal state an agent framework reported, as it wrote it."""
        self.attributes[names.STOP_FRAMEWORK] = state
        unit = self._judged()
        if unit is not None:
            unit.framework(state, self._said_at())

    def evaluated(self, name: str, *, passed: bool, score: float | None = None) -> None:
        """Note the verdict of an evaluation that ran inside the session.

        Args:
            name: Name of the evaluation.
            passed: Whether it passed.
            score: Its score, in a unit of its own.
        """
        if self.span is None:
            return
        label = "pass" if passed else "fail"
        self.span.add_event(
            names.EVALUATION_EVENT,
            cleaned(
                {
                    names.EVALUATION_NAME: name,
                    names.EVALUATION_LABEL: label,
                    names.EVALUATION_SCORE: score,
                }
            ),
            self._runtime.clock() if self._runtime.clock is not None else None,
        )
        unit = self._judged()
        if unit is not None:
            unit.verdict(label, self._said_at())

    def closing(self, error: str | None, result: object) -> None:
        """Judge the task, if this is the step that it belongs to; else tell the one it is."""
        del result
        unit, deriver = self._unit, self._runtime.deriver
        if unit is None:
            if self.scope.unit is not None:
                self.scope.unit.frame(
                    FrameFacts(
                        agent=True,
                        failed=error is not None,
                        error_type=error,
                        start_ns=self.start_ns,
                        end_ns=self.end_ns,
                    )
                )
        elif deriver is not None:
            evidence = unit.close(error_type=error, end_ns=self.end_ns)
            self.attributes.update(deriver.unit(unit, evidence))

    def _said_at(self) -> int | None:
        # What the root says holds for the whole task, whenever it says so.
        return None if self._unit is not None else self._runtime.now_ns()

    def _judged(self) -> Unit | None:
        return self._unit or (self.scope.unit if self.span is not None else None)


class AgentStep(RootStep):
    """A run of an agent: `invoke_agent` in the conventions."""

    __slots__ = ()

    def begin(self, name: str | None, attributes: Mapping[str, AttributeValue]) -> Self:
        """Start the span and enter the agent's scope."""
        title = f"invoke_agent {name}" if name else "invoke_agent"
        self.start(title, attributes)
        if self.span is not None:
            scope = self.scope
            if scope.session_id is not None:
                self.attributes[names.CONVERSATION_ID] = scope.session_id
            unit, root = scope.unit, scope.root
            if unit is None:
                self._unit = unit = Unit()
                root = self
            self.enter_scope(scope.with_agent(name, unit, root))
        return self


class TaskStep(RootStep):
    """A task.

    Attributes:
        id: Its id.
    """

    __slots__ = ("id",)

    def begin(self, task_id: str, name: str, attributes: Mapping[str, AttributeValue]) -> Self:
        """Start the span and enter the task's scope."""
        self.id = task_id
        self.start(f"task {name}", {**attributes, names.TASK_ID: task_id, names.TASK_NAME: name})
        if self.span is not None:
            if self.scope.session_id is not None:
                self.attributes[names.CONVERSATION_ID] = self.scope.session_id
            self._unit = Unit()
            self.enter_scope(self.scope.with_task(task_id, self._unit, self))
        return self


class Agent(Instrument[AgentStep]):
    """See `agent`."""

    def __init__(
        self,
        name: str | None,
        attributes: Mapping[str, AttributeValue],
        methods: tuple[str, ...],
    ) -> None:
        super().__init__(methods=methods)
        self._name = name
        self._attributes = {names.OPERATION: "invoke_agent", **attributes}
        if name:
            self._attributes[names.AGENT_NAME] = name

    def bind(self, function: Any) -> Self:
        """Take the agent's name from the function, where it has none."""
        if self._name:
            return self
        other = self.copy()
        other._name = name = name_of(function)  # noqa: SLF001 - of the same class
        other._attributes = {**self._attributes, names.AGENT_NAME: name}  # noqa: SLF001
        return other

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> AgentStep:
        """Start a run of the agent."""
        del args, kwargs
        step = AgentStep()
        try:
            return step.begin(self._name, self._attributes)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("agent")
            return step


class Task(Instrument[TaskStep]):
    """See `task`."""

    def __init__(self, name: str | None, task_id: str | None, *, essential: bool) -> None:
        super().__init__()
        self._name = name
        self._id = task_id
        self._attributes: dict[str, AttributeValue] = {names.KIND: "task"}
        if not essential:
            self._attributes[names.ESSENTIAL] = False

    def bind(self, function: Any) -> Self:
        """Take the task's name from the function, where it has none."""
        if self._name:
            return self
        other = self.copy()
        other._name = name_of(function)  # noqa: SLF001 - of the same class
        return other

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> TaskStep:
        """Start the task."""
        del args, kwargs
        step = TaskStep()
        try:
            return step.begin(
                uuid4().hex if self._id is None else self._id,
                self._name or "task",
                self._attributes,
            )
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("task")
            return step


@overload
def agent(function: F, /) -> F: ...


@overload
def agent(
    name: str | None = None,
    *,
    agent_id: str | None = None,
    version: str | None = None,
    workflow: str | None = None,
    methods: tuple[str, ...] = ENTRY_POINTS,
) -> Agent: ...


def agent(
    name: F | str | None = None,
    *,
    agent_id: str | None = None,
    version: str | None = None,
    workflow: str | None = None,
    methods: tuple[str, ...] = ENTRY_POINTS,
) -> F | Agent:
    """Trace a run of an agent: a decorator for functions and classes, and a context manager.

        @tracekit.agent
        def support(question: str) -> str: ...

        with tracekit.agent("support") as run:
            run.done("success", handle="ticket/7")

    Args:
        name: The agent's name; of a decorated function its own.
        agent_id: Id of the agent.
        version: Version of the agent.
        workflow: Workflow it takes part in.
        methods: Methods that are runs, where a class is decorated: those of these that it has.
    """
    if is_bare(name, "agent"):
        return Agent(None, {}, methods)(name)
    known = {
        names.AGENT_ID: as_text(agent_id),
        "gen_ai.agent.version": as_text(version),
        names.WORKFLOW_NAME: as_text(workflow),
    }
    return Agent(as_text(name), cleaned(known), methods)


@overload
def task(function: F, /) -> F: ...


@overload
def task(
    name: str | None = None, *, task_id: str | None = None, essential: bool = True
) -> Task: ...


def task(
    name: F | str | None = None, *, task_id: str | None = None, essential: bool = True
) -> F | Task:
    """Trace one thing a user wanted: a decorator and a context manager.

        with tracekit.task("refund") as task:
            task.done("success", handle="refund/12")

    Args:
        name: The task's name, of few distinct values; of a decorated function its own.
        task_id: The task's id; a random one where it is None.
        essential: Whether the session needs it to succeed.
    """
    if is_bare(name, "task"):
        return Task(None, None, essential=True)(name)
    return Task(as_text(name), as_text(task_id), essential=essential)


_OFF: Final = RootStep()


def current_task() -> RootStep:
    """Return the task we are in, or the run of the agent where no task was opened.

        tracekit.current_task().stopped("limit.steps")

    Outside of both, and when tracekit is off, it is a step on which every call does nothing.
    """
    root = scope_of(get_current()).root
    return root if isinstance(root, RootStep) else _OFF


def done(status: DoneStatus, reason: str | None = None, handle: str | None = None) -> None:
    """Sign off the task we are in.

        tracekit.done("success", handle="refund/12")

    Args:
        status: How it ended.
        reason: Reason code of the application's own, few distinct values.
        handle: Where the result is: a URL, a ticket, a commit.

    Raises:
        ValueError: The status is none of `DONE_STATUSES`.
    """
    current_task().done(status, reason, handle)
