"""Where in a session we are: session, task and agent, carried in the OpenTelemetry context.

Threads, executors and processes keep it as they keep the current span; between processes session
and task travel as W3C baggage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar, overload
from urllib.parse import quote_plus
from uuid import uuid4

from opentelemetry import baggage
from opentelemetry.context import Context, create_key, get_current, set_value

from tracekit.instrumentation import names
from tracekit.instrumentation.around import Place
from tracekit.instrumentation.decorate import Instrument, is_bare, is_target
from tracekit.instrumentation.runtime import STATE, Runtime, count, failed, latched, worked
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

    from tracekit.instrumentation.evidence import Unit

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")

SCOPE_KEY: Final = create_key("tracekit-scope")

BAGGAGE: Final = (names.SESSION_ID, names.TASK_ID)
"""What travels as baggage: names of the entries, which are those of the attributes."""

LONGEST: Final = 3600
"""Longest id that travels, quoted: a receiver drops entries of more than 4,096 bytes."""

_QUOTED: Final = 12
"""Most bytes a character takes, quoted."""

_NO_STAMP: Final[Mapping[str, AttributeValue]] = {}


class Scope(NamedTuple):
    """Where a step happens.

    Attributes:
        session_id: The session, where one was opened.
        task_id: The task, where one was opened.
        agent_name: The innermost agent.
        unit: The evidence of the task, for the step that will judge it; None in a process that only
            takes part.
        root: The step that judges it.
        stamp: Attributes every span in this scope gets.
    """

    session_id: str | None = None
    task_id: str | None = None
    agent_name: str | None = None
    unit: Unit | None = None
    root: object | None = None
    stamp: Mapping[str, AttributeValue] = _NO_STAMP

    def with_session(self, session_id: str, stamp: Mapping[str, AttributeValue]) -> Scope:
        """Return the scope of a new session: nothing of another one is left."""
        return Scope(session_id, stamp={names.SESSION_ID: session_id, **stamp})

    def with_task(self, task_id: str, unit: Unit, root: object) -> Scope:
        """Return the scope of a task in this one."""
        stamp = {**self.stamp, names.TASK_ID: task_id}
        return self._replace(task_id=task_id, unit=unit, root=root, stamp=stamp)

    def with_agent(self, agent_name: str | None, unit: Unit | None, root: object | None) -> Scope:
        """Return the scope of an agent in this one."""
        stamp = {**self.stamp, names.AGENT_NAME: agent_name} if agent_name else self.stamp
        return self._replace(agent_name=agent_name, unit=unit, root=root, stamp=stamp)

    def with_stamp(self, stamp: Mapping[str, AttributeValue]) -> Scope:
        """Return this scope, with more that every span in it gets."""
        return self._replace(stamp={**self.stamp, **stamp})


_NOWHERE: Final = Scope()


def scope_of(context: Context) -> Scope:
    """Return the scope of a context; one without anything where none was opened."""
    if not context:
        return _NOWHERE
    scope = context.get(SCOPE_KEY)
    if isinstance(scope, Scope):
        return scope
    session_id = baggage.get_baggage(names.SESSION_ID, context)
    task_id = baggage.get_baggage(names.TASK_ID, context)
    if not isinstance(session_id, str) and not isinstance(task_id, str):
        return _NOWHERE
    found = zip(BAGGAGE, (session_id, task_id), strict=True)
    stamp = {name: value for name, value in found if isinstance(value, str)}
    return Scope(stamp.get(names.SESSION_ID), stamp.get(names.TASK_ID), stamp=stamp)


def into(context: Context, scope: Scope, *, propagate: bool) -> Context:
    """Return a context with a scope, and with what of it travels.

    An id that is too long for baggage stays here, whole, and is counted: a process that is called
    would otherwise have another session than this one.
    """
    if propagate:
        for name, value in zip(BAGGAGE, (scope.session_id, scope.task_id), strict=True):
            if value is not None and _travels(value):
                context = baggage.set_baggage(name, value, context)
            elif baggage.get_baggage(name, context) is not None:
                context = baggage.remove_baggage(name, context)
    return set_value(SCOPE_KEY, scope, context)


def _travels(value: str) -> bool:
    if len(value) * _QUOTED <= LONGEST or len(quote_plus(value, errors="replace")) <= LONGEST:
        return True
    count("id_not_propagated")
    return False


def current_session() -> str | None:
    """Return the id of the session we are in, or None."""
    return scope_of(get_current()).session_id


class SessionScope(Place):
    """A session that is open: `with tracekit.session("chat-42") as session: session.id`.

    Attributes:
        id: The session's key.
    """

    __slots__ = ("id",)

    def __init__(self, session_id: str, context: Context | None) -> None:
        super().__init__(context)
        self.id = session_id


class Session(Instrument[SessionScope]):
    """Everything inside belongs to one session; see `session`."""

    def __init__(
        self, session_id: str | None, *, user: str | None = None, tenant: str | None = None
    ) -> None:
        super().__init__()
        self._id = as_text(session_id)
        stamp = {names.USER_ID: as_text(user), names.TENANT_ID: as_text(tenant)}
        self._stamp = {name: value for name, value in stamp.items() if value is not None}

    def bind(self, function: object) -> Self:
        """Return itself: a session takes nothing from the function it decorates."""
        del function
        return self

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> SessionScope:
        """Open the session in the current context."""
        del args, kwargs
        session_id = uuid4().hex if self._id is None else self._id
        runtime = STATE.runtime
        return SessionScope(session_id, self._context(runtime, session_id) if runtime else None)

    def _context(self, runtime: Runtime, session_id: str) -> Context | None:
        if latched("session"):
            return None
        try:
            scope = _NOWHERE.with_session(session_id, self._stamp)
            context = into(get_current(), scope, propagate=runtime.settings.propagate)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("session")
            return None
        worked("session")
        return context


@overload
def session(function: F, /) -> F: ...


@overload
def session(
    session_id: str | None = None, *, user: str | None = None, tenant: str | None = None
) -> Session: ...


def session(
    session_id: F | str | None = None, *, user: str | None = None, tenant: str | None = None
) -> F | Session:
    """Say which session everything inside belongs to, over any number of traces and processes.

    A context manager and a decorator, for sync and async code:

        with tracekit.session("chat-42", user="u-7"):
            answer(question)

    Args:
        session_id: The session's key; a random one where it is None. Of anything but text, such
            as a UUID, the text form.
        user: User id, as it may be written.
        tenant: Tenant, organisation or customer.
    """
    # Whatever an application identifies its sessions by is a key, if it cannot be decorated.
    if is_target(session_id) and is_bare(session_id, "session"):
        return Session(None)(session_id)
    return Session(as_text(session_id), user=user, tenant=tenant)
