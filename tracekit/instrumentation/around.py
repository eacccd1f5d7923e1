"""What code around a step says about it: which try it is, what it takes back, that it is replayed.

It stands in the context, so that steps find it however deep inside they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import (
    _RUNTIME_CONTEXT,  # its public `detach` logs an error where the code moved elsewhere
    Context,
    attach,
    create_key,
)
from opentelemetry.trace import SpanContext, format_span_id

from tracekit.instrumentation import names
from tracekit.instrumentation.runtime import log

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

TRY_KEY: Final = create_key("tracekit-try")
COMPENSATES_KEY: Final = create_key("tracekit-compensates")
MEMBER_KEY: Final = create_key("tracekit-member")
"""Span ids of a member of a fan-out, and of its fan-out."""


class Try:
    """One try of a retried piece of work, for the calls inside.

    The nth model call of a try repeats the nth of the try before; of a tool, the nth call of that
    tool. A call is numbered by how often it itself was tried, also where loops are nested.
    """

    __slots__ = ("_id", "_seen", "_tries", "_wait_s")

    def __init__(self, retry_id: str, tries: dict[str, int], wait_s: float | None) -> None:
        """Begin a try.

        Args:
            retry_id: Id of what is retried.
            tries: How often each call was tried so far; shared by all tries.
            wait_s: Wait since the try before, s.
        """
        self._id = retry_id
        self._tries = tries
        self._wait_s = wait_s
        self._seen: dict[str, int] = {}

    def logical_id(self, kind: str) -> str:
        """Return the id of the next call of a kind, the same in every try."""
        n = self._seen[kind] = self._seen.get(kind, 0) + 1
        parts = [self._id, *([kind] if kind else []), *([str(n)] if n > 1 else [])]
        return ".".join(parts)

    def retry(self) -> tuple[str, dict[str, int]]:
        """Return the id of a retry loop inside, and the numbers it shares with this one."""
        return self.logical_id("retry"), self._tries

    def call(self, tool: str = "") -> TriedCall:
        """Return what the next call inside says of itself.

        Args:
            tool: Name of the tool; empty for a model.
        """
        is_first = not self._seen
        logical_id = self.logical_id(tool)
        return TriedCall(logical_id, self._tries, self._wait_s if is_first else None)


class TriedCall:
    """One call of a model or a tool that a loop around it may repeat.

    Attributes:
        id: Id of the logical call; None where nothing repeats it.
        earlier: How often it was tried before.
        wait_s: Wait before this try, s.
    """

    __slots__ = ("_tries", "earlier", "id", "wait_s")

    def __init__(self, logical_id: str | None, tries: dict[str, int], wait_s: float | None) -> None:
        self.id = logical_id
        self._tries = tries
        self.earlier = 0
        self.wait_s = wait_s
        if logical_id is not None:
            self.earlier = tries.get(logical_id, 0)
            tries[logical_id] = self.earlier + 1

    def attributes(self) -> dict[str, AttributeValue]:
        """Return the attributes of its span."""
        known: dict[str, AttributeValue] = {names.ATTEMPT: self.earlier + 1}
        if self.id is not None:
            known[names.RETRY_OF] = self.id
        if self.wait_s is not None:
            known[names.RETRY_WAIT] = self.wait_s
        return known

    def tried(self, times: int) -> None:
        """Note that the client itself tried several times."""
        if self.id is not None:
            self._tries[self.id] = self.earlier + times


FIRST: Final = TriedCall(None, {}, None)
"""A call that no loop around it repeats."""


def group_of(span: Span, context: Context) -> int | None:
    """Return what a call shares with those beside it: its parent, or the fan-out that is in."""
    parent_id: int | None = getattr(getattr(span, "parent", None), "span_id", None)
    member = context.get(MEMBER_KEY)
    if isinstance(member, tuple) and member[0] == parent_id:
        parent_id = member[1]
    return parent_id


class Compensated:
    """What a step takes back.

    Attributes:
        name: Span id in hex, or the name of a tool.
        link: The span, where it is known.
    """

    __slots__ = ("link", "name")

    def __init__(self, name: str, link: SpanContext | None) -> None:
        self.name = name
        self.link = link

    @classmethod
    def of(cls, span: Span) -> Compensated:
        """Return what takes back the effect of a span."""
        context = span.get_span_context()
        return cls(format_span_id(context.span_id), context)

    def mark(self, span: Span) -> None:
        """Say so on the span of the step that takes it back."""
        span.set_attribute(names.COMPENSATES, self.name)
        if self.link is not None:
            span.add_link(self.link)


def detach(token: Token[Context]) -> None:
    """Make what was current before current again; never raises.

    A generator may be closed in another thread or task than it began in. There nothing of ours is
    current, and the place it began in cannot be reached.
    """
    try:
        _RUNTIME_CONTEXT.detach(token)
    except Exception:  # noqa: BLE001 - the runtime context may be another than that of contextvars
        log.debug("a step was left in another context than it was entered in", exc_info=True)


class Place:
    """A context code runs in, without a span of its own: what `with` gives for a mark.

    Attributes:
        context: The context, or None where nothing is to be said.
    """

    __slots__ = ("_token", "context")

    def __init__(self, context: Context | None) -> None:
        self.context = context
        self._token: Token[Context] | None = None

    def enter(self) -> None:
        """Make it current."""
        if self.context is not None:
            self._token = attach(self.context)

    def leave(self) -> None:
        """Make what was current before current again."""
        if self._token is not None:
            detach(self._token)
            self._token = None

    def finish(self, result: object = None) -> None:
        """Do nothing: a mark has no end of its own."""

    def fail(self, error: BaseException) -> None:
        """Do nothing: a mark has no end of its own."""
