"""Sessions as an instrumented agent would have sent them: OTLP with the GenAI conventions."""

from __future__ import annotations

from datetime import UTC
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from tracekit.demo.scenarios import load
from tracekit.importers.recording import SECOND_NS, Recording, output_messages, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tracekit.demo.scenarios import Agent, Ending, Model, Tool

T = TypeVar("T")

_MAX_TOKENS = 4096
_WAIT_S = 2.0
"""First wait before a retry; it doubles."""


def simulate() -> Iterator[bytes]:
    """Yield sessions, each as one OTLP `ExportTraceServiceRequest`; always the same ones."""
    plan = load()
    random = Random(plan.seed)  # noqa: S311 - nothing secret is drawn
    first = int(plan.start.replace(tzinfo=UTC).timestamp())
    for number in range(plan.sessions):
        name, agent = _drawn(random, {k: (a.share, a) for k, a in plan.agents.items()})
        model_name, _ = _drawn(random, {k: (share, k) for k, share in agent.models.items()})
        ending, _ = _drawn(random, {k: (share, k) for k, share in agent.endings.items()})
        start_s = first + (number + random.random()) / plan.sessions * plan.days * 86_400
        session = _Session(random, f"sim-{number + 1:03d}-{name.split('-')[0]}", start_s)
        session.cast(name, agent, model_name, plan.models[model_name])
        yield session.play(plan.endings[ending])


def _drawn(random: Random, options: Mapping[str, tuple[float, T]]) -> tuple[str, T]:
    """Return one of some options, drawn by their shares."""
    shares = [share for share, _ in options.values()]
    name = random.choices(list(options), shares)[0]
    return name, options[name][1]


class _Session:
    """One session while it is played: a clock, a context that grows, and the spans so far."""

    def __init__(self, random: Random, session_id: str, start_s: float) -> None:
        self._random = random
        self._id = session_id
        self._start_ns = self._now_ns = int(start_s * SECOND_NS)
        self._input = self._cached = self._calls = 0

    def cast(self, name: str, agent: Agent, model_name: str, model: Model) -> None:
        """Say who plays."""
        self._name, self._agent = name, agent
        self._model_name, self._model = model_name, model
        self._input = int(agent.context * self._random.uniform(0.8, 1.3))
        resource = {"service.name": agent.service, "deployment.environment.name": "production"}
        self._recording = Recording("simulation", self._id, self._id, resource)

    def play(self, ending: Ending) -> bytes:
        """Run the session to an ending, and return its spans."""
        for _ in range(self._random.randint(*self._agent.turns)):
            self._retries()
            self._answer("tools")
            self._call_tool(self._any_tool())
        self._end(ending)
        if ending.root:
            self._root(ending)
        return self._recording.encode()

    def _end(self, ending: Ending) -> None:
        if ending.tool or ending.repeat:
            name, tool = self._any_tool()
            for _ in range(max(1, ending.repeat)):
                self._answer("tools")
                self._call_tool((name, tool), arguments='{"again": true}', error=ending.tool)
        for attempt in range(ending.attempts):
            self._fail(ending.fails)
            self._pass(_WAIT_S * 2**attempt)
        if ending.last:
            self._answer(ending.last, ending)

    def _root(self, ending: Ending) -> None:
        time_ns = (self._start_ns, self._now_ns + SECOND_NS // 20)
        passed = ending.verdict == "pass"
        label = verdict("session_review", float(passed), passed=passed, time_ns=time_ns[1])
        self._recording.add(
            "root",
            f"invoke_agent {self._name}",
            time_ns,
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": self._name,
                "tracekit.done.status": ending.done,
                "tracekit.stop.framework_raw": ending.reported,
            },
            parent=None,
            error=ending.run,
            events=[label] if ending.verdict else [],
        )

    def _retries(self) -> None:
        """Sometimes let a call fail before it succeeds; some failures come after paid tokens."""
        if self._random.random() < self._agent.flaky:
            if self._random.random() < 0.5:  # noqa: PLR2004 - even odds
                self._fail((429, "rate_limit_error"))
            else:
                self._fail((529, "overloaded_error"), output=self._random.randint(40, 300))
            self._pass(_WAIT_S)

    def _fail(self, failure: tuple[int, str], output: int | None = None) -> None:
        status, error = failure
        usage = self._usage(output) if output else {}
        attributes = {"http.response.status_code": status, **usage}
        self._model_call(attributes, 0.4 + (output or 0) / self._model.tokens_per_s, error)

    def _answer(self, stop: str, ending: Ending | None = None) -> None:
        output = _MAX_TOKENS if stop == "limit" else self._random.randint(*self._agent.answer)
        text = ending.writes if ending else None
        attributes = {
            "gen_ai.response.model": self._model.answers_as,
            "gen_ai.response.id": f"{self._id}-{self._calls}",
            "gen_ai.response.finish_reasons": [getattr(self._model.stops, stop)],
            "gen_ai.output.messages": output_messages(text) if text else None,
            **self._usage(output),
        }
        self._model_call(attributes, 0.5 + output / self._model.tokens_per_s)
        self._cached = int(self._input * self._model.cached)
        self._input += output

    def _usage(self, output: int) -> dict[str, Any]:
        return {
            "gen_ai.usage.input_tokens": self._input,
            "gen_ai.usage.output_tokens": output,
            "gen_ai.usage.cache_read.input_tokens": self._cached or None,
        }

    def _model_call(
        self, attributes: dict[str, Any], seconds: float, error: str | None = None
    ) -> None:
        known = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._model.provider,
            "gen_ai.request.model": self._model_name,
            "gen_ai.request.max_tokens": _MAX_TOKENS,
            "server.address": self._model.host,
        }
        self._add(f"chat {self._model_name}", known | attributes, seconds, error, client=True)

    def _any_tool(self) -> tuple[str, Tool]:
        return _drawn(self._random, {k: (t.share, t) for k, t in self._agent.tools.items()})

    def _call_tool(
        self, named: tuple[str, Tool], arguments: str | None = None, error: str | None = None
    ) -> None:
        name, tool = named
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.arguments": arguments or f'{{"id": {self._random.randint(1, 9999)}}}',
            "tracekit.side_effect": tool.effect,
        }
        self._add(f"execute_tool {name}", attributes, tool.seconds, error)
        self._input += int(tool.result * self._random.uniform(0.5, 1.6))

    def _add(
        self,
        name: str,
        attributes: dict[str, Any],
        seconds: float,
        error: str | None,
        *,
        client: bool = False,
    ) -> None:
        self._calls += 1
        self._pass(0.03)
        start_ns = self._now_ns
        self._pass(seconds)
        key = f"{self._calls}"
        self._recording.add(
            key, name, (start_ns, self._now_ns), attributes, error=error, client=client
        )

    def _pass(self, seconds: float) -> None:
        self._now_ns += int(seconds * self._random.uniform(0.6, 1.8) * SECOND_NS)
