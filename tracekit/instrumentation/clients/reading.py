"""What one answer of a provider says, read from its body or from the events of its stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from tracekit.instrumentation import names
from tracekit.instrumentation.clients.apis import TOKENS, Answer, Api
from tracekit.instrumentation.clients.gather import LIMIT, Gathers, gatherer
from tracekit.instrumentation.clients.paths import first, placed
from tracekit.instrumentation.runtime import count

if TYPE_CHECKING:
    from tracekit.instrumentation.calls import LlmCall

_KINDS: Final = ("type", "event_type")
"""Where the data of an event repeats its name."""

_LISTS: Final = ("choices", "candidates")
"""Lists of alternative answers; other outputs are the parts of one."""

_ERROR: Final = "error"
"""Name of the event that says so."""

UNNAMED: Final = "_OTHER"
"""Error type of an error without a code, as the conventions have it."""


class Reading:
    """Facts about one answer, filled in as it arrives.

    Attributes:
        error: The provider's code of an error the answer holds.
        events: Events seen.
        has_content: An event with content, or one that ends the stream, was seen.
        is_over: The event that ends a stream was seen.
        is_stream: The answer is a stream of events.
    """

    __slots__ = (
        "_api", "_gather", "_known", "_output", "_size", "_stops", "_usage", "error",
        "events", "has_content", "is_over", "is_stream",
    )  # fmt: skip

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, str] = {}
        self._stops: dict[tuple[int, int], str] = {}
        self._usage: dict[str, Any] = {}
        self._output: Any = None
        self._size = 0
        self._gather: Gathers | None = None
        self.error: str | None = None
        self.events = 0
        self.has_content = False
        self.is_over = False
        self.is_stream = False

    @property
    def _answer(self) -> Answer:
        return self._api.stream.answer if self.events else self._api.answer

    @property
    def is_stopped(self) -> bool:
        """Whether the provider has said why it stopped."""
        return bool(self._stops)

    def document(self, data: bytes) -> None:
        """Read a complete body."""
        document = _parsed(data)
        if isinstance(document, list) and len(document) == 1:
            document = document[0]
        if isinstance(document, dict):
            self._read(document, self._api.answer)
            self._size = len(data)
            if document.get("error"):
                self._read_error(document, self._api.answer)

    def event(self, name: str, data: bytes) -> None:
        """Read one event of a stream; its name may be empty."""
        stream = self._api.stream
        self.events += 1
        if not name and data[:1] != b"{":
            self._end_if(data.decode(errors="replace") in stream.ends)
            return
        document = None
        if not name or not stream.events or name in stream.events or name in stream.ends:
            document = _parsed(data)
        if isinstance(document, dict):
            name = name or next((document[k] for k in _KINDS if k in document), "")
            self._event(name, document)
        self.has_content = self.has_content or name not in stream.opens
        self._end_if(name in stream.ends)

    def _end_if(self, is_over: bool) -> None:
        if is_over:
            self.is_over = self.has_content = True

    def _event(self, name: str, document: dict[str, Any]) -> None:
        stream = self._api.stream
        if name == _ERROR or document.get("error"):
            self._read_error(document, stream.answer)
        self._read(document, stream.answer, has_stop=not stream.stops or name in stream.stops)
        if stream.gather is None or self._size > LIMIT:
            return
        if self._gather is None:
            self._gather = gatherer(stream.gather)
        if self._gather is not None:
            self._gather.event(document)
            self._size = self._gather.size

    def _read(self, document: dict[str, Any], answer: Answer, *, has_stop: bool = True) -> None:
        for field, paths in (("id", answer.id), ("model", answer.model), ("tier", answer.tier)):
            value = first(document, paths) if paths and (field not in self._known) else None
            if isinstance(value, str) and value:
                self._known[field] = value
        for group, paths in enumerate(answer.stop if has_stop else ()):
            for place, value in placed(document, paths).items():
                self._stops[group, place] = str(value)
        usage = first(document, answer.usage_at)
        if isinstance(usage, dict):
            self._usage.update((key, value) for key, value in usage.items() if value is not None)
        if self._gather is None and answer.output:
            self._output = first(document, answer.output) or self._output

    def _read_error(self, document: dict[str, Any], answer: Answer) -> None:
        codes = (first(document, (path,)) for path in answer.error)
        known = (str(code) for code in codes if isinstance(code, str | int) and code)
        self.error = next(known, UNNAMED)

    def stops(self) -> tuple[str, ...]:
        """Return the stop values as the provider wrote them, in order."""
        return tuple(self._stops[key] for key in sorted(self._stops))

    def usage(self) -> dict[str, int]:
        """Return the tokens of each class that was counted."""
        found: dict[str, int] = {}
        answer = self._answer
        for kind in TOKENS:
            counts = [first(self._usage, paths) for paths in answer.usage.get(kind, ())]
            known = [tokens for tokens in counts if isinstance(tokens, int)]
            if known:
                found[f"{kind}_tokens"] = sum(known)
        return found

    def tell(self, call: LlmCall, *, is_whole: bool) -> None:
        """Hand what was read to the call.

        Args:
            call: The call.
            is_whole: The answer is all there: how its output ends says something.
        """
        known = self._known
        call.response(
            response_id=known.get("id"), model=known.get("model"), service_tier=known.get("tier")
        )
        call.usage(**self.usage())
        if stops := self.stops():
            call.stop(*stops)
        cost = first(self._usage, self._answer.cost)
        if isinstance(cost, int | float):
            call.set(names.COST_REPORTED, float(cost))
        if is_whole:
            self._tell_output(call)

    def _tell_output(self, call: LlmCall) -> None:
        output = self._gather.output() if self._gather is not None else self._output
        if output and self._size > LIMIT:
            count("content_too_large")
        elif output:
            call.output(_message(self._answer, output))


def _message(answer: Answer, output: Any) -> dict[str, Any]:
    """Return an output in a form that is recognised whatever kinds of parts it has."""
    name = answer.output[0][-1] if answer.output else ""
    return {name: output} if name in _LISTS else {"role": "assistant", "content": output}


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
