"""Run an agent of a framework against a scripted provider, and judge what it exported.

    with playing("langgraph", asks(("weather", {"city": "Oslo"})), says("4 degrees")) as play:
        run_the_agent(play.url)
    play.session().stop_reason

The framework and the client are the real packages; what they export goes through the encoder, the
scanner and the models, and what was derived in process must say the same.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from tracekit.instrumentation import clients
from tracekit.instrumentation.frameworks import INTEGRATIONS
from tracekit.models import run
from tracekit.otlp.scan import scan
from tracekit.otlp.span_encoder import encode
from tracekit.testing import capture
from tracekit.testing.provider import Reply, ScriptedProvider, error_reply, json_reply, sse_reply
from tracekit.testing.stage import Captured, Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

MODEL = "gpt-4o-mini"
USED = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
"""What every answer says it used."""

_LEAVE = {"connection": "close"}
"""An event loop that ends leaves the connections of its clients open."""

_numbers = count(1)
_COLUMNS = (
    "session_id, agent_name, model, llm_calls, tool_calls, tool_errors, input_tokens, "
    "output_tokens, cost_usd, handoffs, approvals, stop_reason, stop_outcome, stop_contributing, "
    "stop_raw, stop_framework_raw"
)


class Session(NamedTuple):
    """What the models say of the one session."""

    session_id: str
    agent_name: str | None
    model: str | None
    llm_calls: int
    tool_calls: int
    tool_errors: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    handoffs: int
    approvals: int
    stop_reason: str
    stop_outcome: str
    stop_contributing: str | None
    stop_raw: str | None
    stop_framework_raw: str | None


class Play(NamedTuple):
    """A play, in progress or over: then `lost` says what tracekit failed at."""

    provider: ScriptedProvider
    captured: Captured
    lost: dict[str, int]

    @property
    def url(self) -> str:
        """Base address for clients of OpenAI."""
        return f"{self.provider.url}/v1"

    @property
    def spans(self) -> list[ReadableSpan]:
        """Ended spans."""
        return self.captured.spans

    def sessions(self) -> list[Session]:
        """Return what the models make of the exported spans."""
        con = duckdb.connect()
        run(con, scan(encode(self.spans)).table, recorded_ns=self.captured.clock())
        found = con.execute(f"SELECT {_COLUMNS} FROM sessions ORDER BY start_ns").fetchall()
        return [Session(*row) for row in found]

    def session(self) -> Session:
        """Return the only session; what was derived in process says the same of it."""
        (found,) = self.sessions()
        derived = self.root().get("tracekit.stop.reason")
        assert derived in (None, found.stop_reason), (derived, found, self.captured.tree())
        assert self.lost == {}
        return found

    def root(self) -> dict[str, Any]:
        """Return the attributes of the only span without a parent."""
        (found,) = [span for span in self.spans if span.parent is None]
        return dict(found.attributes or {})

    def of(self, operation: str) -> list[dict[str, Any]]:
        """Return the attributes of the spans of an operation, by start, their names as `name`."""
        spans = sorted(self.spans, key=lambda span: span.start_time or 0)
        known = [{**(span.attributes or {}), "name": span.name} for span in spans]
        keys = ("gen_ai.operation.name", "tracekit.operation")
        return [span for span in known if any(span.get(key) == operation for key in keys)]


@contextmanager
def playing(framework: str, *replies: Reply) -> Iterator[Play]:
    """Instrument a framework and OpenAI's client, and answer with some replies."""
    integration = INTEGRATIONS[framework]
    with ScriptedProvider(*replies) as provider, capture(clock=Clock.real()) as captured:
        clients.instrument("openai")
        integration.install()
        try:
            yield (play := Play(provider, captured, {}))
            play.lost.update(captured.lost)
        finally:
            integration.uninstall()
            clients.uninstrument()


def says(text: str, reason: str = "stop", *, stream: bool = False) -> Reply:
    """Answer with a text."""
    return _answer({"content": text}, reason, stream=stream)


def asks(*calls: tuple[str, dict[str, Any] | str], stream: bool = False) -> Reply:
    """Answer with calls of tools."""
    made = [
        {
            "id": f"call_{next(_numbers)}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else json.dumps(given),
            },
        }
        for name, given in calls
    ]
    return _answer({"content": None, "tool_calls": made}, "tool_calls", stream=stream)


def refuses(text: str) -> Reply:
    """Answer with a refusal."""
    return _answer({"content": None, "refusal": text}, "stop")


def limited() -> Reply:
    """Refuse because of the rate limit; a client that tries again need not wait."""
    error = {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}
    return error_reply(429, {"error": error}, {"retry-after-ms": "1", **_LEAVE})


def _answer(message: dict[str, Any], reason: str, *, stream: bool = False) -> Reply:
    answer = {"id": f"chatcmpl-{next(_numbers)}", "created": 1_790_000_000, "model": MODEL}
    message = {"role": "assistant", **message}
    if not stream:
        choice = {"index": 0, "finish_reason": reason, "logprobs": None, "message": message}
        whole = {"object": "chat.completion", "choices": [choice], "usage": USED}
        return json_reply({**answer, **whole}, headers=_LEAVE)
    calls = [{**call, "index": n} for n, call in enumerate(message.pop("tool_calls", ()))]
    deltas = [({**message, **({"tool_calls": calls} if calls else {})}, None), ({}, reason)]
    choices = [[{"index": 0, "delta": delta, "finish_reason": end}] for delta, end in deltas]
    chunk = {**answer, "object": "chat.completion.chunk"}
    chunks = [{**chunk, "choices": choice, "usage": None} for choice in choices]
    return sse_reply(
        [*chunks, {**chunk, "choices": [], "usage": USED}], done="[DONE]", headers=_LEAVE
    )
