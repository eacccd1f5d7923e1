"""`tracekit.llm`: calls of models that no client hook sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from opentelemetry.context import Context, get_current

from tracekit.instrumentation import names
from tracekit.instrumentation.calls import CALL_KEY, LlmCall
from tracekit.instrumentation.decorate import Instrument, is_bare
from tracekit.instrumentation.runtime import failed
from tracekit.instrumentation.steps import cleaned
from tracekit.instrumentation.texts import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AttributeValue

F = TypeVar("F", bound="Callable[..., Any] | type[Any]")


class Llm(Instrument[LlmCall]):
    """See `llm`."""

    def __init__(
        self,
        model: str | None,
        provider: str | None,
        operation: str,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        super().__init__()
        self._model = model
        self._provider = provider
        self._operation = operation
        self._attributes = attributes

    def bind(self, function: Any) -> Self:
        """Return itself: a function's name is no model's."""
        del function
        return self

    def open(
        self, args: tuple[object, ...] = (), kwargs: Mapping[str, object] | None = None
    ) -> LlmCall:
        """Start a call of the model."""
        del args, kwargs
        call = LlmCall(self._provider, self._model, self._operation)
        try:
            return call.begin(self._attributes)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("llm")
            return call


@overload
def llm(function: F, /) -> F: ...


@overload
def llm(
    model: str | None = None,
    *,
    provider: str | None = None,
    operation: str = "chat",
    max_tokens: int | None = None,
    service_tier: str | None = None,
    server_address: str | None = None,
    essential: bool = True,
) -> Llm: ...


def llm(  # noqa: PLR0913 - each is one thing to say about a call
    model: F | str | None = None,
    *,
    provider: str | None = None,
    operation: str = "chat",
    max_tokens: int | None = None,
    service_tier: str | None = None,
    server_address: str | None = None,
    essential: bool = True,
) -> F | Llm:
    """Trace calls of a model that no client hook sees: a decorator and a context manager.

        with tracekit.llm("my-model", provider="vllm") as call:
            answer = generate(prompt)
            call.usage(input_tokens=answer.prompt_tokens, output_tokens=answer.tokens)
            call.stop(answer.finish_reason)

    Args:
        model: Model asked for.
        provider: Provider, by its OpenTelemetry name.
        operation: `chat`, `text_completion`, `generate_content` or `embeddings`.
        max_tokens: Output cap asked for.
        service_tier: Service tier asked for.
        server_address: Host that is called.
        essential: Whether the task needs the call to succeed.
    """
    if is_bare(model, "llm"):
        return Llm(None, None, "chat", {})(model)
    known = {
        names.REQUEST_MAX_TOKENS: max_tokens,
        names.TIER_REQUESTED: as_text(service_tier),
        names.SERVER_ADDRESS: as_text(server_address),
        names.ESSENTIAL: None if essential else False,
    }
    return Llm(as_text(model), as_text(provider), operation, cleaned(known))


_OFF: Final = LlmCall(None, None, "chat")


def current_call(context: Context | None = None) -> LlmCall:
    """Return the model call we are in; outside of one, a step on which every call does nothing.

        tracekit.current_call().usage(input_tokens=120, output_tokens=7)

    Args:
        context: Context to look in; the current one.
    """
    call = (get_current() if context is None else context).get(CALL_KEY)
    return call if isinstance(call, LlmCall) else _OFF
