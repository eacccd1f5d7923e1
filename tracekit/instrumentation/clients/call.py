"""One logical call of an SDK, and the HTTP requests it makes."""

from __future__ import annotations

from contextvars import ContextVar
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.context import get_value

from tracekit.instrumentation import calls, names
from tracekit.instrumentation.clients import foreign
from tracekit.instrumentation.clients.apis import Api, find, gateway_at, provider_at
from tracekit.instrumentation.clients.attempt import SITE, Attempt
from tracekit.instrumentation.clients.paths import first
from tracekit.instrumentation.llm import current_call
from tracekit.instrumentation.runtime import Runtime, active, failed, latched, worked
from tracekit.instrumentation.steps import error_type

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

CURRENT: Final[ContextVar[Call | None]] = ContextVar("tracekit_client_call", default=None)
"""The call whose requests are being made in this context."""

_SUPPRESSED: Final = ("suppress_instrumentation", "suppress_language_model_instrumentation")
"""Keys of the context by which other instrumentations say that this is theirs."""


class Target(NamedTuple):
    """Where a request goes.

    Attributes:
        method: HTTP method in capitals.
        host: Name of the host.
        path: Path of the URL.
    """

    method: str
    host: str
    path: str


class Call:
    """A logical call: opened when the SDK is asked, started when it first sends something.

    Nothing in here raises, apart from what is the host's own.

    Attributes:
        owner: The SDK's client object.
        is_streaming: The answer is still being read by the host.
    """

    __slots__ = (
        "_api", "_attempts", "_body", "_is_done", "_is_ignored", "_is_lent", "_is_ours", "_last",
        "_llm", "_provider", "_runtime", "_sdk", "_start_ns", "is_streaming", "owner",
    )  # fmt: skip

    def __init__(
        self, runtime: Runtime, sdk: str, owner: object, body: object, provider: str | None = None
    ) -> None:
        """Open a call.

        Args:
            runtime: What is switched on.
            sdk: Whose APIs it speaks.
            owner: The SDK's client object.
            body: Body of the request, before the SDK works on it.
            provider: Who answers, where the client object knows better than the host's name.
        """
        self.owner = owner
        self.is_streaming = False
        self._runtime = runtime
        self._sdk = sdk
        self._body = body
        self._provider = provider
        self._start_ns = self.now()
        self._api: Api | None = None
        self._llm: calls.LlmCall | None = None
        self._attempts = 0
        self._last: Attempt | None = None
        self._is_done = self._is_ignored = self._is_lent = False
        self._is_ours = True

    @property
    def pending(self) -> Attempt | None:
        """The request whose answer is still to be read, or None."""
        return None if self._last is None or self._last.is_ended else self._last

    def now(self) -> int:
        """Return the time, UTC, ns since 1970."""
        clock = self._runtime.clock
        return time_ns() if clock is None else clock()

    def attempt(self, target: Target) -> Attempt | None:
        """Note that a request is about to be sent; None where it is no part of a model call."""
        try:
            return self._attempt(target)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(SITE)
            return None

    def _attempt(self, target: Target) -> Attempt | None:
        if self._llm is None and not self._is_ignored:
            self._start(target)
        if self._llm is None or self._api is None or self._is_done:
            return None
        self._attempts += 1
        before = self._last
        now_ns = self.now()
        wait_s = None if before is None else (now_ns - before.end_ns) / 1e9
        self._last = Attempt(
            self, self._llm, self._api, number=self._attempts, start_ns=now_ns, wait_s=wait_s
        )
        return self._last

    def _start(self, target: Target) -> None:
        api = find(self._sdk, target.path) if target.method == "POST" else None
        there = foreign.current_call()
        # Logfire suppresses all others inside its own call: that call can still be added to.
        if api is None or (there is None and any(get_value(key) for key in _SUPPRESSED)):
            self._is_ignored = True
            return
        around = current_call()
        self._api = api
        if around.span is not None and around.span is there:
            # Somebody says `tracekit.llm` around the client: what we see belongs to that.
            self._llm, self._is_lent = around, True
            around.attributes.update(self._attributes(api, target))
            return
        provider = provider_at(target.host, target.path) or self._provider or api.provider
        llm = calls.LlmCall(provider, self._model(api, target), api.operation)
        llm.begin(self._attributes(api, target), start_ns=self._start_ns, foreign=there)
        if self._asked(api, "input") is not None:
            llm.input(self._asked(api, "input"))
        self._body = None
        self._is_ours = there is None
        self._llm = llm

    def _model(self, api: Api, target: Target) -> str | None:
        model = self._asked(api, "model")
        if not isinstance(model, str) and api.model is not None:
            found = api.model.fullmatch(target.path)
            model = found[1] if found else None
        return model if isinstance(model, str) else None

    def _asked(self, api: Api, field: str) -> Any:
        return first(self._body, api.request.get(field, ()))

    def _attributes(self, api: Api, target: Target) -> dict[str, AttributeValue]:
        known: dict[str, AttributeValue] = {names.SERVER_ADDRESS: target.host}
        if gateway := gateway_at(target.host):
            known[names.GATEWAY] = gateway
        max_tokens = self._asked(api, "max_tokens")
        if isinstance(max_tokens, int):
            known[names.REQUEST_MAX_TOKENS] = max_tokens
        tier = self._asked(api, "tier")
        if isinstance(tier, str):
            known[names.TIER_REQUESTED] = tier
        if isinstance(self._body, dict) and self._body.get("stream") is True:
            known[names.REQUEST_STREAM] = True
        return known

    def answered(self) -> None:
        """End the call well, unless the host is still reading the answer."""
        if self._llm is None or self.is_streaming or self._is_done:
            return
        self._end(None if self._last is None else self._last.error)

    def raised(self, error: BaseException, target: Target) -> None:
        """End the call with what the SDK raised."""
        try:
            if self._llm is None and not self._is_ignored:
                self._start(target)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(SITE)
        if self._llm is not None and not self._is_done:
            last = self._last.error if self._last is not None else None
            self._end(last or error_type(error), error)

    def settle(self) -> None:
        """End the call as soon as its answer is known, where the span is somebody else's.

        He may end it before we hear of the SDK again.
        """
        if not self._is_ours and not self.is_streaming:
            self.answered()

    def fail_with(self, error: str) -> None:
        """End the call with an error known by its type."""
        if self._llm is not None and not self._is_done:
            self._end(error)

    def _end(self, error: str | None, raised: BaseException | None = None) -> None:
        llm, self._is_done = self._llm, True
        if llm is None or self._is_lent:
            return
        try:
            if error is None:
                llm.finish()
            elif raised is not None and error == error_type(raised):
                llm.fail(raised)
            else:
                llm.fail_with(error)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(SITE)
        else:
            worked(SITE)


def opened(sdk: str, owner: object, body: object, provider: str | None = None) -> Call | None:
    """Open a call, or return None where nothing is to be seen of it."""
    runtime = active()
    if runtime is None or latched(SITE):
        return None
    around = CURRENT.get()
    if around is not None and around.owner is owner:
        return None
    return Call(runtime, sdk, owner, body, provider)
