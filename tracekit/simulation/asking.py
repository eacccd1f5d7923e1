"""How a scripted agent asks its model: tries, failures, fallbacks, and what they cost."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tracekit.instrumentation import names
from tracekit.instrumentation.calls import Attempt
from tracekit.instrumentation.retries import retry
from tracekit.simulation.providers import (
    CallFailedError,
    Fate,
    SimulatedError,
    error_class,
    first_token_s,
)
from tracekit.simulation.truth import Bill
from tracekit.simulation.vendors import failures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from tracekit.instrumentation.calls import LlmCall
    from tracekit.instrumentation.llm import Llm
    from tracekit.simulation.clock import Clock
    from tracekit.simulation.providers import Asked, World
    from tracekit.simulation.scenario import Agent

BETWEEN_S: Final = 0.03
"""Time an agent's own code takes between two steps."""

_OK: Final = 200

_ASKS: Final = {"role": "model", "parts": [{"functionCall": {"name": "tool", "args": {}}}]}
"""An answer that asks for a tool."""


class Cast(NamedTuple):
    """Who plays a session.

    Attributes:
        name: Name of the agent.
        agent: The agent.
        asked: The model it asks, and the one it falls back to.
        regions: Region that serves its calls, by key of the provider; empty where it has none.
    """

    name: str
    agent: Agent
    asked: tuple[Asked, ...]
    regions: Mapping[str, str]

    def region(self, asked: Asked) -> str:
        """Return the region that serves calls of a model."""
        return self.regions[asked.key]


class _Answer(NamedTuple):
    """What a call is to come to; see `Play.ask`."""

    stop: str
    tokens: int
    says: str | dict[str, Any] | None
    through: str | None


class Asking:
    """An agent with its model.

    Attributes:
        random: Randomness of the session.
        clock: Its time.
        cast: Who plays.
        bill: What was used.
    """

    def __init__(self, cast: Cast, world: World, random: Random, clock: Clock) -> None:
        self.random = random
        self.clock = clock
        self.cast = cast
        self.bill = Bill()
        self._world = world
        self._waste: str | None = None
        self._script: list[str | None] = []
        self._input = int(cast.agent.context * random.uniform(0.8, 1.3))
        self._cached = 0

    def ask(
        self,
        stop: str = "tools",
        *,
        output: int | None = None,
        says: str | dict[str, Any] | None = None,
        through: str | None = None,
    ) -> None:
        """Call the model, as often as its client tries.

        Args:
            stop: How it ends, by the names of the catalogue.
            output: Output tokens; by default as many as the agent's calls usually have.
            says: What it says; looked at by tracekit, written only where content is captured.
            through: Gateway that hands the call on, and writes its own word for the stop.

        Raises:
            CallFailedError: All attempts failed, those of the fallback model too.
        """
        self.bill.calls += 1
        tokens = self.random.randint(*self.cast.agent.answer) if output is None else output
        answer = _Answer(stop, tokens, says, through)
        failed: CallFailedError | None = None
        for asked in self.cast.asked:
            try:
                self._call(asked, answer)
            except CallFailedError as error:
                failed = error
                self._cached = 0
                if not failures()[error.kind].retried:
                    break
            else:
                return
        assert failed is not None  # noqa: S101 - there is a model
        raise failed

    def cut(self, *, share: float = 0.5, usage: bool = True) -> None:
        """Let the connection break while the model answers.

        Args:
            share: Part of the answer that was streamed.
            usage: Whether the counts of tokens arrived.

        Raises:
            CallFailedError: Always.
        """
        self.bill.calls += 1
        asked = self.cast.asked[0]
        self._tried(asked, "stream_cut")
        tokens = int(self.random.randint(*self.cast.agent.answer) * share)
        self.clock.wait(BETWEEN_S)
        with self._open(asked) as call:
            self.clock.wait(first_token_s(asked.provider, self.random))
            call.first_chunk()
            self.clock.wait(tokens / asked.model.tokens_per_s)
            call.stream(complete=False)
            self._pay(call if usage else None, asked, tokens, "failed_attempt")
            raise asked.error("stream_cut")

    def script(self, kind: str, times: int, *, then: bool = False) -> None:
        """Say what becomes of the next attempts.

        Args:
            kind: Kind of failure, see `failures.yaml`.
            times: How many attempts fail so.
            then: Whether the one after them succeeds for sure.
        """
        self._script += [kind] * times + ([None] if then else [])

    @contextmanager
    def wasting(self, reason: str) -> Iterator[None]:
        """Note that model calls inside help nobody.

        Args:
            reason: One of `truth.WASTE`.
        """
        before, self._waste = self._waste, reason
        try:
            yield
        finally:
            self._waste = before

    def error(self, name: str, module: str = "builtins") -> SimulatedError:
        """Return an exception to end the run with.

        Args:
            name: Name of its class.
            module: Module it is from.
        """
        return error_class(module, name, SimulatedError)()

    def grow(self, tokens: int) -> None:
        """Add tokens to what the model is sent from now on."""
        self._input += tokens

    def shrink(self, share: float) -> None:
        """Keep a share of what the model is sent, as a compaction does."""
        self._input = int(self._input * share)
        self._cached = 0

    def _call(self, asked: Asked, answer: _Answer) -> None:
        if self.cast.agent.client.layer == "app":
            self._tries(asked, answer)
            return
        self.clock.wait(BETWEEN_S)
        with self._open(asked) as call:
            self._attempts(call, asked, answer)
            self._answered(call, asked, answer)

    def _attempts(self, call: LlmCall, asked: Asked, answer: _Answer) -> None:
        """Let the provider's SDK try until it succeeds."""
        client = self.cast.agent.client
        wait_s: float | None = None
        for number in range(1, client.attempts + 1):
            fate = self._fate(asked)
            start_ns = self.clock.ns
            if fate.kind is None:
                self._generate(asked, answer, fate.slow)
                call.attempt(Attempt(number, start_ns, self.clock.ns, wait_s, _OK))
                return
            failure = failures()[fate.kind]
            self.clock.wait(failure.seconds * self.random.uniform(0.6, 1.6))
            kind = asked.error_type(fate.kind, failure)
            call.attempt(Attempt(number, start_ns, self.clock.ns, wait_s, failure.status, kind))
            if not failure.retried or number == client.attempts:
                raise self._failed(asked, fate)
            wait_s = client.wait_s * 2 ** (number - 1) * self.random.uniform(0.8, 1.2)
            self.clock.wait(wait_s)

    def _tries(self, asked: Asked, answer: _Answer) -> None:
        """Let the application try, with a call each time."""
        client = self.cast.agent.client
        with retry("ask") as work:
            for number in range(1, client.attempts + 1):
                fate = self._fate(asked)
                try:
                    with work.attempt():
                        self._try(asked, fate, answer)
                except CallFailedError as error:
                    if not failures()[error.kind].retried or number == client.attempts:
                        raise
                    self.clock.wait(client.wait_s * 2 ** (number - 1))
                else:
                    return

    def _try(self, asked: Asked, fate: Fate, answer: _Answer) -> None:
        self.clock.wait(BETWEEN_S)
        with self._open(asked) as call:
            if fate.kind is None:
                self._generate(asked, answer, fate.slow)
                self._answered(call, asked, answer)
                return
            failure, start_ns = failures()[fate.kind], self.clock.ns
            self.clock.wait(failure.seconds * self.random.uniform(0.6, 1.6))
            kind = asked.error_type(fate.kind, failure)
            call.attempt(Attempt(1, start_ns, self.clock.ns, None, failure.status, kind))
            raise self._failed(asked, fate)

    def _open(self, asked: Asked) -> Llm:
        return asked.call[self.cast.region(asked)]

    def _fate(self, asked: Asked) -> Fate:
        if self._script:
            fate = Fate(self._script.pop(0))
        else:
            region = self.cast.region(asked)
            fate = self._world.fate(asked, region, self.clock.ns, self.random)
        self._tried(asked, fate.kind or "ok")
        return fate

    def _tried(self, asked: Asked, kind: str) -> None:
        """Note what became of an attempt."""
        self.bill.attempts += 1
        tried = f"{asked.title}/{self.cast.region(asked)}/{kind}"
        self.bill.tries[tried] = self.bill.tries.get(tried, 0) + 1

    def _failed(self, asked: Asked, fate: Fate) -> CallFailedError:
        assert fate.kind is not None  # noqa: S101 - it failed
        error = asked.error(fate.kind)
        error.incident = fate.incident
        return error

    def _generate(self, asked: Asked, answer: _Answer, slow: float) -> None:
        seconds = answer.tokens / asked.model.tokens_per_s
        seconds += first_token_s(asked.provider, self.random)
        self.clock.wait(seconds * slow)

    def _answered(self, call: LlmCall, asked: Asked, answer: _Answer) -> None:
        stops = asked.provider.stops
        if answer.through is None:
            call.stop(stops[answer.stop])
        else:
            call.set(names.GATEWAY, answer.through)
            call.stop("stop")
        call.response(
            response_id=f"resp-{self.random.getrandbits(48):012x}", model=asked.model.answers_as
        )
        says = answer.says
        if says is None and answer.stop == "tools" and stops["tools"] == stops["clean"]:
            says = _ASKS  # the stop value does not tell: the answer has to
        if says is not None:
            call.output(says)
        self._pay(call, asked, answer.tokens, self._waste)
        self._input += answer.tokens

    def _pay(self, call: LlmCall | None, asked: Asked, tokens: int, waste: str | None) -> None:
        used = (self._input, min(self._cached, self._input), tokens)
        if call is not None:
            call.usage(
                input_tokens=used[0], output_tokens=used[2], cache_read_tokens=used[1] or None
            )
        cost = self.bill.add(used, asked.price)
        if waste is not None:
            self.bill.waste(waste, cost)
        self._cached = int(self._input * asked.model.cached)
