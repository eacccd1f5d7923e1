"""Model calls: what the client hooks and `tracekit.llm` drive."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from opentelemetry.context import Context, create_key, get_current, set_value
from opentelemetry.trace import Span, SpanKind

from tracekit.instrumentation import names
from tracekit.instrumentation.around import FIRST, TRY_KEY, Try, group_of
from tracekit.instrumentation.content import captured
from tracekit.instrumentation.evidence import LlmFacts
from tracekit.instrumentation.fingerprints import canonical
from tracekit.instrumentation.runtime import STATE, count
from tracekit.instrumentation.scope import scope_of
from tracekit.instrumentation.steps import ERROR_STATUS, Step, cleaned
from tracekit.stops.inspection import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

CALL_KEY: Final = create_key("tracekit-call")

INSPECTED: Final = 256 * 1024
"""Longest output whose final state is inspected in process, in characters."""

_BAD_STATUS: Final = 400

_USAGE: Final = (
    names.INPUT_TOKENS,
    names.OUTPUT_TOKENS,
    names.CACHE_READ_TOKENS,
    names.CACHE_WRITE_TOKENS,
    names.CACHE_WRITE_1H_TOKENS,
    names.REASONING_TOKENS,
)

_COUNTS: Final = (
    names.ERROR_TYPE,
    names.FINISH_REASONS,
    names.INPUT_TOKENS,
    names.OUTPUT_TOKENS,
)
"""What a span of a call that ended before its answer did may not know."""


class Attempt(NamedTuple):
    """One try of a call, as the client's HTTP layer saw it.

    Attributes:
        number: From 1.
        start_ns: UTC, ns since 1970.
        end_ns: UTC, ns since 1970.
        wait_s: Wait since the attempt before ended, s.
        http_status: Status of the answer.
        error_type: Provider's error code, else the exception; None where it succeeded.
        request_id: Provider's request id.
    """

    number: int
    start_ns: int
    end_ns: int
    wait_s: float | None = None
    http_status: int | None = None
    error_type: str | None = None
    request_id: str | None = None


class LlmCall(Step):
    """A logical call of a model, whatever number of tries it takes."""

    __slots__ = (
        "_attempts",
        "_cut",
        "_foreign",
        "_raw",
        "_request",
        "_start_ns",
        "_state",
        "_streamed",
        "_try",
        "model",
        "operation",
        "provider",
    )

    def __init__(self, provider: str | None, model: str | None, operation: str) -> None:
        super().__init__()
        self.provider = provider
        self.model = model
        self.operation = operation
        self._foreign = False
        self._raw: tuple[str, ...] = ()
        self._streamed = self._cut = False
        self._state: tuple[str | None, int | None, bool | None] = (None, None, None)
        self._attempts: list[Attempt] = []
        self._start_ns: int | None = None
        self._request: Mapping[str, AttributeValue] = {}
        self._try = FIRST

    def begin(
        self,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        start_ns: int | None = None,
        foreign: Span | None = None,
    ) -> Self:
        """Start the span, or go on with one that another instrumentation made.

        Args:
            attributes: What is known at the start.
            start_ns: When the call was made, UTC, ns since 1970; now.
            foreign: A span to add to; it stays its maker's to end.
        """
        self._start_ns = start_ns
        if foreign is not None:
            self._adopt(foreign, attributes or {})
            return self
        known: dict[str, AttributeValue] = {names.OPERATION: self.operation}
        if self.provider:
            known[names.PROVIDER] = self.provider
        if self.model:
            known[names.REQUEST_MODEL] = self.model
        name = f"{self.operation} {self.model}" if self.model else self.operation
        context = get_current()
        if self._take_try(context):
            known.update(self._try.attributes())
        if attributes:
            self._request = attributes
            known.update(attributes)
        self.start(name, known, kind=SpanKind.CLIENT, start_ns=start_ns, parent=context)
        if self.span is not None:
            self.context = set_value(CALL_KEY, self, self.context)
        return self

    def _take_try(self, context: Context) -> bool:
        mark = context.get(TRY_KEY)
        if not isinstance(mark, Try) or STATE.runtime is None:
            return False
        self._try = mark.call()
        return True

    def _adopt(self, foreign: Span, attributes: Mapping[str, AttributeValue]) -> None:
        runtime = STATE.runtime
        if runtime is None:
            return
        self._foreign, self._runtime, self.span = True, runtime, foreign
        self.context = get_current()
        self.scope = scope_of(self.context)
        self.attributes.update(attributes)
        if self._take_try(self.context):
            self.attributes.update(self._try.attributes())

    def usage(  # noqa: PLR0913 - one per class of tokens
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        cache_write_1h_tokens: int | None = None,
        reasoning_tokens: int | None = None,
    ) -> None:
        """Note what the call used, in tokens; later counts replace earlier ones.

        Args:
            input_tokens: All input, cached input included.
            output_tokens: All output, reasoning included.
            cache_read_tokens: Input read from a cache.
            cache_write_tokens: Input written to a cache.
            cache_write_1h_tokens: What of it was written to a one-hour cache.
            reasoning_tokens: Output spent on reasoning.
        """
        attributes = self.attributes
        if input_tokens is not None:
            attributes[names.INPUT_TOKENS] = input_tokens
        if output_tokens is not None:
            attributes[names.OUTPUT_TOKENS] = output_tokens
        if cache_read_tokens is not None:
            attributes[names.CACHE_READ_TOKENS] = cache_read_tokens
        if cache_write_tokens is not None:
            attributes[names.CACHE_WRITE_TOKENS] = cache_write_tokens
        if cache_write_1h_tokens is not None:
            attributes[names.CACHE_WRITE_1H_TOKENS] = cache_write_1h_tokens
        if reasoning_tokens is not None:
            attributes[names.REASONING_TOKENS] = reasoning_tokens

    def stop(self, *raw: str) -> None:
        """Note the provider's stop values, one per choice, exactly as it wrote them."""
        self._raw = raw
        self.attributes[names.FINISH_REASONS] = raw

    def response(
        self,
        *,
        response_id: str | None = None,
        model: str | None = None,
        service_tier: str | None = None,
        request_id: str | None = None,
        http_status: int | None = None,
    ) -> None:
        """Note what the answer says about itself.

        Args:
            response_id: Provider's id of the response.
            model: Model that answered.
            service_tier: Tier that served the call.
            request_id: Provider's id of the request.
            http_status: HTTP status of the answer.
        """
        known = {
            names.RESPONSE_ID: response_id,
            names.RESPONSE_MODEL: model,
            names.TIER_SERVED: service_tier,
            names.REQUEST_ID: request_id,
            names.HTTP_STATUS: http_status,
        }
        self.attributes.update(cleaned(known))

    def first_chunk(self, time_ns_: int | None = None) -> None:
        """Note that the first chunk of a stream arrived.

        Args:
            time_ns_: When, UTC, ns since 1970; now.
        """
        if self.span is None or self._streamed:
            return
        self._streamed = True
        start_ns = self._start_ns
        if start_ns is None:
            start_ns = getattr(self.span, "start_time", None)
        if start_ns is None:
            return
        clock = self._runtime.clock or time_ns
        now_ns = clock() if time_ns_ is None else time_ns_
        self.attributes[names.TIME_TO_FIRST_CHUNK] = (now_ns - start_ns) / 1e9

    def stream(self, *, complete: bool) -> None:
        """Note whether the stream came to its own end."""
        self._streamed = True
        self._cut = not complete
        self.attributes[names.STREAM_COMPLETE] = complete

    def input(self, messages: object) -> None:
        """Note what was sent; it is written only where content is captured."""
        if self.span is not None:
            text = captured(messages, self._runtime.settings)
            if text is not None:
                self.attributes[names.INPUT_MESSAGES] = text

    def output(self, content: str | list[Any] | dict[str, Any]) -> None:
        """Inspect how the output ends; it is written only where content is captured.

        Args:
            content: Text, or message JSON in any shape that `tracekit.stops.inspection` reads.
        """
        if self.span is None:
            return
        settings = self._runtime.settings
        written = captured(content, settings)
        if written is not None:
            self.attributes[names.OUTPUT_MESSAGES] = written
        if not settings.inspect:
            return
        text = content if isinstance(content, str) else (canonical(content) or b"").decode()
        if len(text) > INSPECTED:
            count("output_not_inspected")
            return
        found = self._state = inspect(text)
        known = {
            names.OUTPUT_STATE: found.state,
            names.PENDING_CALLS: found.pending_calls,
            names.CLAIMS_SUCCESS: found.claims_success,
        }
        self.attributes.update(cleaned(known))

    def attempt(self, attempt: Attempt) -> None:
        """Note one try. Tries become spans of their own where there was more than one."""
        self._attempts.append(attempt)

    def fail_with(self, error: str) -> None:
        """End the call with an error that is known by its type only."""
        self._close(error, None)

    def closing(self, error: str | None, result: object) -> None:
        """Work out what follows, tell the task, and write the tries."""
        if not self._attempts:
            self._settle(error)
            return
        *before, last = self._attempts
        self._describe(last)
        # A cancellation may come between two tries: then that ended the call, no try's error.
        cancelled = isinstance(result, BaseException) and not isinstance(result, Exception)
        if error is not None and last.error_type is not None and not cancelled:
            error = last.error_type
            self.attributes[names.ERROR_TYPE] = error
        earlier = [(tried, self._account(self._tried(tried))) for tried in before]
        self._settle(error)
        if earlier:
            self._write_attempts(earlier, last)

    def _settle(self, error: str | None) -> None:
        """Add what follows from the call as a whole."""
        if self._runtime.deriver is not None or self.scope.unit is not None:
            self.attributes.update(self._account(self._facts(error)))

    def end(self) -> None:
        """Write what is left to write, and end the span if it is ours."""
        if not self._foreign:
            super().end()
        elif self.span is not None and self.span.is_recording():
            self.span.set_attributes(_missing(self.span, self.attributes))
        elif self.span is not None and not self._is_told(self.span):
            self._write_late()

    def mark_failed(self, error: str) -> None:
        """Give the span an error type and, where it is ours, an error status."""
        if self._foreign:
            self.attributes[names.ERROR_TYPE] = error
        else:
            super().mark_failed(error)

    def _describe(self, last: Attempt) -> None:
        known = {names.HTTP_STATUS: last.http_status, names.REQUEST_ID: last.request_id}
        for name, value in cleaned(known).items():
            self.attributes.setdefault(name, value)
        if last.number > 1:
            self.attributes.setdefault("http.request.resend_count", last.number - 1)

    def _facts(self, error: str | None) -> LlmFacts:
        known: dict[str, Any] = self.attributes
        get = known.get
        state, pending, claims = self._state
        status = get(names.HTTP_STATUS)
        return LlmFacts(
            raw=",".join(self._raw) if self._raw else None,
            provider=self.provider,
            request_model=self.model,
            response_model=get(names.RESPONSE_MODEL),
            failed=error is not None or (status is not None and status >= _BAD_STATUS),
            error_type=error,
            http_status=status,
            streamed=self._streamed,
            cut=self._cut,
            input_tokens=get(names.INPUT_TOKENS),
            output_tokens=get(names.OUTPUT_TOKENS),
            cache_read_tokens=get(names.CACHE_READ_TOKENS),
            cache_write_tokens=get(names.CACHE_WRITE_TOKENS),
            cache_write_1h_tokens=get(names.CACHE_WRITE_1H_TOKENS),
            reasoning_tokens=get(names.REASONING_TOKENS),
            tier=get(names.TIER_SERVED),
            tier_requested=get(names.TIER_REQUESTED),
            cost_reported=get(names.COST_REPORTED),
            max_tokens=get(names.REQUEST_MAX_TOKENS),
            state=state,
            pending_calls=pending,
            claims_success=claims,
            gateway=get(names.GATEWAY),
            start_ns=self._start_ns or self.start_ns,
            end_ns=self.end_ns,
            parent_id=None if self.span is None else group_of(self.span, self.context),
        )

    def _tried(self, tried: Attempt) -> LlmFacts:
        return LlmFacts(
            provider=self.provider,
            request_model=self.model,
            failed=True,
            error_type=tried.error_type,
            http_status=tried.http_status,
            start_ns=tried.start_ns,
            end_ns=tried.end_ns,
        )

    def _account(self, facts: LlmFacts) -> Mapping[str, AttributeValue]:
        """Tell the task of a call, and return what follows for its span."""
        derived: Mapping[str, AttributeValue] = {}
        cost = None
        if self._runtime.deriver is not None:
            derived, cost = self._runtime.deriver.llm(facts)
        if self.scope.unit is not None:
            self.scope.unit.llm(facts, cost)
        return derived

    def _write_attempts(
        self, earlier: list[tuple[Attempt, Mapping[str, AttributeValue]]], last: Attempt
    ) -> None:
        around = self._try
        around.tried(len(earlier) + 1)
        first = around.id
        for tried, derived in [*earlier, (last, self.attributes)]:
            known = {
                names.OPERATION: self.operation,
                names.PROVIDER: self.provider,
                names.REQUEST_MODEL: self.model,
                names.ATTEMPT: around.earlier + tried.number,
                names.RETRY_OF: first,
                names.RETRY_WAIT: around.wait_s if tried.number == 1 else tried.wait_s,
                names.HTTP_STATUS: tried.http_status,
                names.REQUEST_ID: tried.request_id,
                names.ERROR_TYPE: tried.error_type,
            }
            span = self._child({**self._request, **derived, **cleaned(known)}, tried)
            if first == around.id:
                first = f"{span.get_span_context().span_id:016x}"

    def _is_told(self, span: Span) -> bool:
        """Return whether all that counts stands on a span that ended before us, or below it."""
        there: Mapping[str, AttributeValue] = getattr(span, "attributes", None) or {}
        return len(self._attempts) > 1 or all(
            name in there for name in _COUNTS if name in self.attributes
        )

    def _write_late(self) -> None:
        """Write what its maker's span no longer takes on one below it, which then is the call."""
        there: Mapping[str, AttributeValue] = getattr(self.span, "attributes", None) or {}
        known = {
            names.OPERATION: self.operation,
            names.PROVIDER: self.provider,
            names.REQUEST_MODEL: self.model,
            # Where only the outer span knows the usage the models count that one.
            **{name: there[name] for name in _USAGE if name in there},
        }
        start_ns = self._start_ns or self.start_ns
        self._child({**cleaned(known), **self.attributes}, Attempt(1, start_ns, self.end_ns))

    def _child(self, attributes: Mapping[str, AttributeValue], tried: Attempt) -> Span:
        name = f"{self.operation} {self.model}" if self.model else self.operation
        span = self._runtime.tracer.start_span(
            name,
            self.context,
            SpanKind.CLIENT,
            {**self.scope.stamp, **attributes},
            start_time=tried.start_ns,
        )
        if names.ERROR_TYPE in attributes:
            span.set_status(ERROR_STATUS)
        span.end(tried.end_ns)
        return span


def _missing(span: Span, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return the attributes a span of another instrumentation lacks.

    It may rewrite the stop values, also after us: the provider's own go beside them.
    """
    there: Mapping[str, AttributeValue] = getattr(span, "attributes", None) or {}
    found = {name: value for name, value in attributes.items() if name not in there}
    raw = attributes.get(names.FINISH_REASONS)
    if raw is not None:
        found[names.STOP_PROVIDER] = ",".join(raw)  # type: ignore[arg-type]
    return found
