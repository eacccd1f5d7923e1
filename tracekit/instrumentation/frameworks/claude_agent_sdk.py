"""Claude Agent SDK: runs, by the messages the SDK hands to the application.

`query` is a run. Of a client every prompt is one, from `query` to the result message.
"""

from __future__ import annotations

import functools
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakKeyDictionary

from opentelemetry.context import set_value

from tracekit.instrumentation import names
from tracekit.instrumentation.frameworks.claude_messages import Turn
from tracekit.instrumentation.frameworks.runs import Run
from tracekit.instrumentation.runtime import STATE, failed
from tracekit.instrumentation.scope import SCOPE_KEY, Scope, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracekit.instrumentation.clients.patches import Patches

_API_ERROR: Final = "api_error"
_ENDED: Final = (None, "completed")
"""Terminal reasons that say nothing more than the subtype."""


class ClaudeRun(Run):
    """A run of Claude's agent loop."""

    framework = "claude_agent_sdk"
    packages = ("claude_agent_sdk",)

    def __init__(self, before: Any = None) -> None:
        """Make a run.

        Args:
            before: Result of the run before in the same process of the loop, which counts on.
        """
        super().__init__()
        self._turn: Turn | None = None
        self._before = before

    def take(self, message: Any) -> None:
        """Take a message; the result ends the run. Never raises."""
        if self.step is None or self.step.span is None or self.context is None:
            return
        try:
            if self._turn is None:
                self._turn = Turn(self.context, getattr(self._before, "model_usage", None) or {})
            self._belong(message)
            self._turn.take(message)
            if is_result(message):
                self._close(message)
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed(self.framework)

    def _belong(self, message: Any) -> None:
        """Take the conversation's id, which the first messages tell, as the session's."""
        data = getattr(message, "data", None)
        found = data.get("session_id") if isinstance(data, dict) else None
        session = found or getattr(message, "session_id", None)
        step, turn = self.step, self._turn
        if not session or step is None or turn is None or self.context is None:
            return
        scope = scope_of(self.context)
        if scope.session_id is not None or not self._owned:
            return
        step.attributes |= {names.SESSION_ID: session, names.CONVERSATION_ID: session}
        stamp = {**scope.stamp, names.SESSION_ID: session}
        inside = Scope(session, scope.task_id, scope.agent_name, scope.unit, scope.root, stamp)
        self.context = turn.context = set_value(SCOPE_KEY, inside, self.context)

    def _close(self, result: Any) -> None:
        if self._turn is not None:
            self._turn.end(result)
        step = self.step
        if step is not None and self._owned and result.total_cost_usd is not None:
            before_usd = getattr(self._before, "total_cost_usd", None) or 0
            step.set(names.COST_REPORTED, max(result.total_cost_usd - before_usd, 0))
        error = _error_of(result)
        if error is None:
            self.finish(result)
        else:
            self.fail_as(error, _state_of(result))

    def _is_part(self, given: str | None) -> bool:
        """Return False: of a loop in another process nothing else is a part."""
        del given
        return False

    def state(self, result: Any) -> str | None:
        """Return the result's own word for how the run ended."""
        return _state_of(result) if is_result(result) else None

    def fail(self, error: BaseException) -> None:
        """End the run with what it raised, and what was open with it."""
        if self._turn is not None:
            try:
                self._turn.end(None)
            except Exception:  # noqa: BLE001 - the host goes on without us
                failed(self.framework)
        super().fail(error)


def is_result(message: object) -> bool:
    """Return whether a message is the last one of a run."""
    return type(message).__name__ == "ResultMessage"


def _state_of(result: Any) -> str | None:
    """Return the more special of the SDK's two words for how a run ended.

    A failed call of the API ends with `api_error`, whatever failed, or even with the subtype
    `success`: where its status is known, neither is a word for it.
    """
    if result.terminal_reason not in _ENDED:
        is_told = result.terminal_reason == _API_ERROR and result.api_error_status is not None
        return None if is_told else str(result.terminal_reason)
    is_success = result.subtype == "success"
    return None if is_success and result.is_error else str(result.subtype)


def _error_of(result: Any) -> str | None:
    if not result.is_error:
        return None
    return str(result.api_error_status or result.terminal_reason or result.subtype)


def _begin(options: Any, before: Any = None) -> ClaudeRun:
    resumed = getattr(options, "resume", None)
    return ClaudeRun(before).begin(None, session=resumed if isinstance(resumed, str) else None)


class _Messages:
    """The messages of one run, shown to it while they are handed on.

    No generator around the SDK's own: what is abandoned is cleaned up as without tracekit.
    """

    def __init__(self, inner: Any, options: Any) -> None:
        self._inner = inner
        self._options = options
        self._run: ClaudeRun | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        run = self._run = self._run or _begin(self._options)
        run.enter()
        try:
            message = await self._inner.__anext__()
        except StopAsyncIteration:
            run.leave()
            run.finish()
            raise
        except BaseException as error:
            run.leave()
            run.fail(error)
            raise
        run.leave()
        run.take(message)
        return message

    async def aclose(self) -> None:
        """Close the SDK's generator, as nobody reads on."""
        try:
            await self._inner.aclose()
        finally:
            self.__del__()

    def __del__(self) -> None:
        if self._run is not None:
            self._run.fail(GeneratorExit())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _observed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def process_query(*args: Any, **kwargs: Any) -> Any:
        inner = original(*args, **kwargs)
        if STATE.runtime is None:
            return inner
        return _Messages(inner, kwargs.get("options") or (args[2:3] or (None,))[0])

    return process_query


_runs: Final[WeakKeyDictionary[Any, ClaudeRun]] = WeakKeyDictionary()
"""Clients -> the run that their last prompt began."""
_results: Final[WeakKeyDictionary[Any, Any]] = WeakKeyDictionary()
"""Clients -> the result of the run before: its sums go on counting."""


def _asked(original: Callable[..., Any]) -> Callable[..., Any]:
    """Begin a run with a prompt, unless one is going on."""

    @functools.wraps(original)
    async def query(self: Any, *args: Any, **kwargs: Any) -> Any:
        if STATE.runtime is not None and self not in _runs:
            _runs[self] = _begin(getattr(self, "options", None), _results.get(self))
        try:
            return await original(self, *args, **kwargs)
        except BaseException as error:
            _end(self, error)
            raise

    return query


class _Received:
    """The messages a client hands on; whoever stops reading may go on later."""

    def __init__(self, inner: Any, client: Any) -> None:
        self._inner = inner
        self._client = client

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            message = await self._inner.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException as error:
            _end(self._client, error)
            raise
        run = _runs.get(self._client)
        if run is not None:
            run.take(message)
            if is_result(message):
                _runs.pop(self._client, None)
                _results[self._client] = message
        return message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _received(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def receive_messages(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = original(self, *args, **kwargs)
        return inner if STATE.runtime is None else _Received(inner, self)

    return receive_messages


def _left(original: Callable[..., Any]) -> Callable[..., Any]:
    """End the run of a client that goes away."""

    @functools.wraps(original)
    async def disconnect(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await original(self, *args, **kwargs)
        finally:
            _end(self, CancelledError())

    return disconnect


def _end(client: Any, error: BaseException) -> None:
    _results.pop(client, None)
    run = _runs.pop(client, None)
    if run is not None:
        run.fail(error)


def install(patches: Patches) -> None:
    """Instrument the SDK."""
    from claude_agent_sdk import ClaudeSDKClient  # noqa: PLC0415 - only where it is installed
    from claude_agent_sdk._internal.client import InternalClient  # noqa: PLC0415

    patches.replace(InternalClient, "process_query", _observed)
    patches.replace(ClaudeSDKClient, "query", _asked)
    patches.replace(ClaudeSDKClient, "receive_messages", _received)
    patches.replace(ClaudeSDKClient, "disconnect", _left)
