"""Tool calls and retrievals."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, get_args, overload

from opentelemetry.context import set_value
from opentelemetry.trace import SpanKind

from tracekit.errors import UsageError
from tracekit.instrumentation import names
from tracekit.instrumentation.around import COMPENSATES_KEY, TRY_KEY, Compensated, Try
from tracekit.instrumentation.content import captured
from tracekit.instrumentation.decorate import Instrument, is_bare, name_of
from tracekit.instrumentation.evidence import ToolFacts
from tracekit.instrumentation.fingerprints import named, value_fingerprint
from tracekit.instrumentation.runtime import count, failed
from tracekit.instrumentation.steps import Step, cleaned
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from opentelemetry.util.types import AttributeValue

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")

SideEffect = Literal["none", "read", "idempotent", "write", "external", "irreversible"]
"""What a tool does to the world; see `side_effect` in `tracekit schema spans`."""

SIDE_EFFECTS: Final[tuple[SideEffect, ...]] = get_args(SideEffect)

_SELF: Final = frozenset({"self", "cls"})


class ToolStep(Step):
    """A call of a tool."""

    __slots__ = ("_arguments", "_denied", "_failed", "_known", "_result_hash")

    def __init__(self, known: Mapping[str, Any]) -> None:
        super().__init__()
        self._known = known
        self._arguments: int | None = None
        self._result_hash: int | None = None
        self._denied = False
        self._failed: str | None = None

    def arguments(self, arguments: object) -> None:
        """Note the arguments: their fingerprint, and where content is captured, themselves."""
        if self.span is None:
            return
        settings = self._runtime.settings
        self._arguments = value_fingerprint(arguments, settings.fingerprint_key)
        if self._arguments is None:
            count("arguments_not_fingerprinted")
        else:
            self.attributes[names.ARGUMENTS_HASH] = self._arguments
        text = captured(arguments, settings)
        if text is not None:
            self.attributes[names.TOOL_ARGUMENTS] = text

    def result(self, result: object) -> None:
        """Note the result, as `arguments` does."""
        if self.span is None:
            return
        settings = self._runtime.settings
        self._result_hash = value_fingerprint(result, settings.fingerprint_key)
        if self._result_hash is not None:
            self.attributes[names.RESULT_HASH] = self._result_hash
        text = captured(result, settings)
        if text is not None:
            self.attributes[names.TOOL_RESULT] = text

    def take_marks(self, name: str) -> None:
        """Say what the code around says: which try this is, and what it takes back."""
        if self.span is None:
            return
        mark = self.context.get(TRY_KEY)
        if isinstance(mark, Try):
            self.attributes.update(mark.call(name).attributes())
        undone = self.context.get(COMPENSATES_KEY)
        if isinstance(undone, Compensated):
            undone.mark(self.span)
            self.context = set_value(COMPENSATES_KEY, None, self.context)

    def idempotency_key(self, key: str) -> None:
        """Note the key under which the tool recognises a repeated call."""
        self.attributes[names.IDEMPOTENCY_KEY] = key

    def denied(self) -> None:
        """Say that a person or the permission layer refused the call."""
        self._denied = True
        self.attributes[names.TOOL_STATUS] = "denied"

    def failed(self, error: str) -> None:
        """Say that the call failed though it raised nothing: tools often return their errors.

        Args:
            error: Error type, of few distinct values.
        """
        self._failed = error

    def closing(self, error: str | None, result: object) -> None:
        """Note the result, and tell the task."""
        if error is None and result is not None:
            self.result(result)
        if error is None and self._failed is not None:
            error = self._failed
            self.mark_failed(error)
        unit = self.scope.unit
        if unit is not None:
            attributes = self._known
            unit.tool(
                ToolFacts(
                    name=attributes.get(names.TOOL_NAME),
                    arguments_hash=self._arguments,
                    result_hash=self._result_hash,
                    failed=error is not None,
                    denied=self._denied,
                    error_type=error,
                    side_effect=attributes.get(names.SIDE_EFFECT),
                    start_ns=self.start_ns,
                    end_ns=self.end_ns,
                    call_id=attributes.get(names.TOOL_CALL_ID),
                )
            )


class Tool(Instrument[ToolStep]):
    """See `tool`."""

    def __init__(
        self,
        attributes: Mapping[str, AttributeValue],
        *,
        arguments: object = None,
        idempotency_key: str | None = None,
        volatile: Collection[str] = (),
    ) -> None:
        super().__init__(methods=("__call__", "run", "arun", "invoke", "ainvoke"))
        self._attributes: dict[str, Any] = {names.OPERATION: "execute_tool", **attributes}
        self._arguments = arguments
        self._key = idempotency_key
        self._volatile = tuple(volatile)
        self._parameters: tuple[str, ...] | None = None
        self._bound = False

    def bind(self, function: Any) -> Self:
        """Take name and parameters from the function.

        Raises:
            UsageError: An argument the tool was told of is no parameter of the function.
        """
        other = self.copy()
        other._attributes = {names.TOOL_NAME: name_of(function), **self._attributes}  # noqa: SLF001
        other._parameters = _parameters(function)  # noqa: SLF001 - of the same class
        if not self._bound:
            self._check(function)
            other._bound = True  # noqa: SLF001 - of a class: each method need not take them all
        return other

    def _check(self, function: Any) -> None:
        told = {*self._volatile, *([] if self._key is None else [self._key])}
        if not told:
            return
        work = [function]
        if inspect.isclass(function):
            work = [vars(function)[name] for name in self._methods if name in vars(function)]
        taken = [_taken(getattr(each, "__func__", each)) for each in work]
        if None in taken:
            return
        unknown = told.difference(*(each for each in taken if each))
        if unknown:
            raise UsageError(
                f"tool {name_of(function)!r} has no parameter {', '.join(sorted(unknown))}: "
                "idempotency_key and volatile take names of its parameters"
            )

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> ToolStep:
        """Start a call of the tool."""
        attributes = self._attributes
        name = attributes.get(names.TOOL_NAME, "tool")
        step = ToolStep(attributes)
        step.start(f"execute_tool {name}", attributes)
        if step.span is not None:
            try:
                step.take_marks(name)
                self._describe(step, args, kwargs or {})
            except Exception:  # noqa: BLE001 - arguments are the host's own, of any kind
                failed("tool.arguments")
        return step

    def _describe(
        self, step: ToolStep, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        if self._parameters is None:
            if self._arguments is not None:
                step.arguments(self._arguments)
            return
        arguments = named(self._parameters, args, kwargs, self._volatile)
        if self._key is not None and (key := arguments.pop(self._key, None)) is not None:
            step.idempotency_key(str(key))
        step.arguments(arguments)


def _parameters(function: Any) -> tuple[str, ...]:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = [p.name for p in found if p.kind in positional]
    return tuple("" if n == 0 and name in _SELF else name for n, name in enumerate(given))


def _taken(function: Any) -> set[str] | None:
    """Return the names of all parameters; None where it takes any, or does not tell."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found):
        return None
    return {p.name for p in found}


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    name: str | None = None,
    *,
    side_effect: SideEffect | None = None,
    idempotency_key: str | None = None,
    volatile: Collection[str] = (),
    arguments: object = None,
    call_id: str | None = None,
    essential: bool = True,
    compensates: str | None = None,
) -> Tool: ...


def tool(  # noqa: PLR0913 - each is one thing to say about a tool
    name: F | str | None = None,
    *,
    side_effect: SideEffect | None = None,
    idempotency_key: str | None = None,
    volatile: Collection[str] = (),
    arguments: object = None,
    call_id: str | None = None,
    essential: bool = True,
    compensates: str | None = None,
) -> F | Tool:
    """Trace calls of a tool: a decorator and a context manager.

        @tracekit.tool(side_effect="write", volatile=["now"])
        def refund(order: str, now: float) -> str: ...

        with tracekit.tool("search", arguments=arguments, call_id=call.id) as step:
            step.result(search(**arguments))

    Args:
        name: The tool's name; of a decorated function its own.
        side_effect: What the tool does to the world.
        idempotency_key: Name of the argument that carries the idempotency key; calls that
            differ in nothing else are the same call.
        volatile: Names of arguments that differ from call to call without making it another one.
        arguments: The arguments, where a context manager is used.
        call_id: Id by which the model asked for the call.
        essential: Whether the task needs the call to succeed.
        compensates: Name of the tool, or id of the span, whose effect this one takes back.

    Raises:
        UsageError: The side effect is unknown, or `volatile` is a text; when a function is
            decorated, also that it has no parameter of a name given here.
    """
    if is_bare(name, "tool"):
        return Tool({})(name)
    if side_effect is not None and side_effect not in SIDE_EFFECTS:
        raise UsageError(f"side_effect {side_effect!r}: expected one of {', '.join(SIDE_EFFECTS)}")
    if isinstance(volatile, str):
        raise UsageError(f"volatile takes a list of names: write volatile=[{volatile!r}]")
    known = {
        names.TOOL_NAME: as_text(name),
        names.SIDE_EFFECT: side_effect,
        names.TOOL_CALL_ID: as_text(call_id),
        names.ESSENTIAL: None if essential else False,
        names.COMPENSATES: as_text(compensates),
    }
    return Tool(
        cleaned(known), arguments=arguments, idempotency_key=idempotency_key, volatile=volatile
    )


class Retrieval(Instrument[Step]):
    """See `retrieval`."""

    def __init__(self, source: str | None) -> None:
        super().__init__(methods=("__call__", "retrieve", "aretrieve", "invoke", "ainvoke"))
        self._source = source

    def bind(self, function: Any) -> Self:
        """Take the name of the source from the function, where it has none."""
        if self._source:
            return self
        other = self.copy()
        other._source = name_of(function)  # noqa: SLF001 - of the same class
        return other

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> Step:
        """Start a retrieval."""
        del args, kwargs
        step = Step()
        known = {names.OPERATION: "retrieval", names.DATA_SOURCE_ID: self._source}
        name = f"retrieval {self._source}" if self._source else "retrieval"
        step.start(name, cleaned(known), kind=SpanKind.CLIENT)
        return step


@overload
def retrieval(function: F, /) -> F: ...


@overload
def retrieval(source: str | None = None) -> Retrieval: ...


def retrieval(source: F | str | None = None) -> F | Retrieval:
    """Trace a retrieval: a decorator and a context manager.

        @tracekit.retrieval("handbook")
        def passages(question: str) -> list[str]: ...

    Args:
        source: Id of the data source; of a decorated function its name.
    """
    if is_bare(source, "retrieval"):
        return Retrieval(None)(source)
    return Retrieval(as_text(source))
