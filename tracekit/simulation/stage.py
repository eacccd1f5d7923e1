"""Plays sessions, one after the other, and hands over their spans and what is true of them."""

from __future__ import annotations

from bisect import bisect
from hashlib import blake2b
from itertools import accumulate, count
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from tracekit.errors import InputError
from tracekit.instrumentation import names
from tracekit.instrumentation.agents import RootStep, agent, task
from tracekit.instrumentation.runtime import Runtime, Settings, activate, active, deactivate
from tracekit.instrumentation.sampler import SessionSampler
from tracekit.instrumentation.scope import session
from tracekit.simulation.asking import Cast
from tracekit.simulation.clock import SECOND_NS, Clock, SeededIds
from tracekit.simulation.play import EFFECTS, Play
from tracekit.simulation.providers import (
    CallFailedError,
    SimulatedError,
    VanishedError,
    World,
)
from tracekit.simulation.registry import Mode, resolve
from tracekit.simulation.truth import WASTE, Row, Truth
from tracekit.simulation.vendors import failures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.instrumentation.runtime import Derives
    from tracekit.simulation.providers import Asked
    from tracekit.simulation.scenario import Agent, Scenario

_HOURS: Final = 24
_DAY_NS: Final = 86_400 * SECOND_NS
_BETWEEN_TASKS_S: Final = 90.0
_CLEANUP_S: Final = 0.05
_LABEL_HOURS: Final = 20.0
"""Mean time until a label is given."""


class _Part(NamedTuple):
    """An entry of an agent: what is dealt out."""

    agent: str
    entry: str
    mode: Mode
    parameters: Mapping[str, Any]


class _Collector(SpanProcessor):
    """Keeps ended spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span."""
        self.spans.append(span)


class Stage:
    """Plays the sessions of a scenario in this process.

    The same number and seed always give the same session, whatever was played before.
    """

    def __init__(
        self, scenario: Scenario, seed: int | None = None, *, deriver: Derives | None = None
    ) -> None:
        """Prepare a scenario.

        Args:
            scenario: The scenario.
            seed: Seed; by default the scenario's.
            deriver: Computes stops and costs in process, as a configured application does.

        Raises:
            InputError: An entry names no mode, or parameters it does not have.
        """
        self._scenario = scenario
        self._seed = scenario.seed if seed is None else seed
        self._deriver = deriver
        self._clock = Clock()
        self._ids = SeededIds()
        self._random = Random()  # noqa: S311 - nothing secret is drawn
        self._collector = _Collector()
        self._runtimes: dict[str, Runtime] = {}
        self._world = World(scenario, self.enter)
        self._asked: dict[tuple[str, str], tuple[Asked, ...]] = {}
        self._parts = _parts(scenario)
        self._turn = [part for parts in self._parts.values() for part in parts]
        self._hours = None if scenario.hours is None else list(accumulate(scenario.hours))

    def start_ns(self, number: int) -> int:
        """Return when a session starts, UTC, ns since 1970; independent of how many there are."""
        first, second = divmod(_seed(self._seed, number, b"start"), 1 << 32)
        days = first / (1 << 32) * self._scenario.days
        if self._hours is not None:  # the day and the minute as drawn, the hour by its weight
            hour = bisect(self._hours, second / (1 << 32) * self._hours[-1])
            days = min(int(days) + (hour + days % 1) / _HOURS, self._scenario.days)
        return self._scenario.start_ns + int(days * _DAY_NS)

    def perform(self, number: int) -> tuple[list[ReadableSpan], list[Row]]:
        """Play a session, and return its spans in the order they ended, and the truth.

        Args:
            number: Its number, from 0.
        """
        self._collector.spans.clear()
        self._clock.ns = self.start_ns(number)
        self._random.seed(_seed(self._seed, number, b"play"))
        self._ids.restart(_seed(self._seed, number, b"ids"))
        before = active()
        try:
            rows = self._session(number)
        finally:
            activate(before) if before is not None else deactivate()
        return self._collector.spans.copy(), rows

    def enter(self, service: str) -> None:
        """Go on in the process of a service."""
        found = self._runtimes.get(service)
        if found is None:
            found = self._runtimes[service] = self._runtime(service)
        activate(found)

    def _runtime(self, service: str) -> Runtime:
        resource = Resource(
            {
                "service.name": service,
                "deployment.environment.name": "simulation",
                "tracekit.simulation.scenario": self._scenario.name,
            }
        )
        provider = TracerProvider(
            SessionSampler(), resource, shutdown_on_exit=False, id_generator=self._ids
        )
        provider.add_span_processor(self._collector)
        tracer = provider.get_tracer("tracekit")
        return Runtime(tracer, Settings(), self._clock.now, self._deriver)

    def _session(self, number: int) -> list[Row]:
        random = self._random
        part = self._dealt(number)
        plan = self._scenario.agents[part.agent]
        self.enter(plan.service)
        cast = self._cast(part.agent, plan)
        tasks = random.randint(*plan.tasks)
        session_id = self._session_id(number, part.agent)
        rows: list[Row] = []
        numbers = count(1)
        for place in range(tasks):
            if place:
                part = self._drawn(part.agent)
                self._clock.wait(_BETWEEN_TASKS_S * random.uniform(0.2, 3))
            play = Play(cast, part.mode.truth, self._world, random, self._clock)
            play.numbers = numbers
            several = plan.tasks[1] > 1
            task_id = f"{session_id}-{place + 1}" if several else session_id
            start_ns = self._clock.ns
            with session(session_id):
                self._play(play, part, task_id if several else None)
            rows.append(self._row(play, part, session_id, task_id, start_ns))
        return rows

    def _play(self, play: Play, part: _Part, task_id: str | None) -> None:
        """Play a task. Steps are opened by hand: where the process dies they never end."""
        open_steps: list[RootStep] = []
        if task_id is not None:
            # Not named after the entry: what is true must not be in the spans.
            open_steps.append(_entered(task("request", task_id=task_id).open()))
        open_steps.append(_entered(agent(part.agent).open()))
        play.run = open_steps[0]
        error: SimulatedError | None = None
        try:
            part.mode.play(play, **part.parameters)
        except VanishedError:
            for step in reversed(open_steps):
                step.leave()
            return
        except SimulatedError as raised:
            error = raised
            if isinstance(error, CallFailedError):
                _ended_by(play, error)
        for step in reversed(open_steps):
            self._clock.wait(_CLEANUP_S)
            step.leave()
            step.finish() if error is None else step.fail(error)

    def _dealt(self, number: int) -> _Part:
        if self._scenario.order == "in_turn":
            return self._turn[number % len(self._turn)]
        agents = self._scenario.agents
        name = self._random.choices([*agents], [plan.share for plan in agents.values()])[0]
        return self._drawn(name)

    def _drawn(self, agent_name: str) -> _Part:
        entries = self._scenario.agents[agent_name].modes
        shares = [entry.share for entry in entries.values()]
        return self._random.choices(self._parts[agent_name], shares)[0]

    def _cast(self, name: str, plan: Agent) -> Cast:
        model = self._random.choices([*plan.models], [*plan.models.values()])[0]
        asked = self._asked.get((name, model))
        if asked is None:
            wanted = dict.fromkeys([model, plan.client.fallback or model])
            asked = tuple(self._world.asked(each, plan.max_tokens) for each in wanted)
            self._asked[name, model] = asked
        return Cast(name, plan, asked, {each.key: self._region(each) for each in asked})

    def _region(self, asked: Asked) -> str:
        there = asked.provider.regions
        return self._random.choices([*there], [*there.values()])[0] if there else ""

    def _session_id(self, number: int, agent_name: str) -> str:
        scenario = self._scenario
        found = scenario.session_id.format(
            scenario=scenario.name,
            seed=self._seed,
            number=number + 1,
            agent=agent_name.split("-", maxsplit=1)[0],
        )
        named = "{seed" in scenario.session_id or self._seed == scenario.seed
        return found if named else f"{found}-{self._seed}"

    def _row(self, play: Play, part: _Part, session_id: str, task_id: str, start_ns: int) -> Row:
        truth, bill, asked = play.truth, play.bill, play.cast.asked[0]
        labelled = truth.known == "label"
        hours = self._random.expovariate(1 / _LABEL_HOURS) if labelled else 0.0
        end_ns = self._clock.ns
        wasted = {reason: bill.wasted.get(reason, 0.0) / 1e6 for reason in WASTE}
        return Row(
            session_id=session_id,
            task_id=task_id,
            agent=part.agent,
            service=play.cast.agent.service,
            provider=asked.title,
            model=asked.name,
            entry=part.entry,
            mode=part.mode.name,
            incident=play.incident,
            start_ns=start_ns,
            end_ns=end_ns,
            code=truth.code,
            outcome=truth.outcome,
            known=truth.known,
            label_ns=end_ns + int(hours * 3600 * SECOND_NS) if labelled else None,
            fault=truth.fault,
            cause=_cause(play),
            detectors=";".join(_detectors(play)),
            calls=bill.calls,
            attempts=bill.attempts,
            tries=";".join(f"{what}={n}" for what, n in sorted(bill.tries.items())),
            input_tokens=bill.input_tokens,
            output_tokens=bill.output_tokens,
            cost_usd=bill.micros / 1e6,
            wasted_usd=sum(wasted.values()),
            **{f"wasted_{reason}_usd": usd for reason, usd in wasted.items()},
            hidden=truth.hidden,
        )


def _entered(step: RootStep) -> RootStep:
    step.enter()
    return step


def _detectors(play: Play) -> tuple[str, ...]:
    """Return the detectors of the mode, and the one for ends that nobody signed off."""
    found = play.truth.detectors
    signed = names.TASK_STATUS in play.run.attributes
    if signed or not play.truth.code.startswith("completed."):
        return found
    return (*found, "completion_unstructured")


def _ended_by(play: Play, error: CallFailedError) -> None:
    """Write down that a failed call ended the task, whatever was to come."""
    found = failures()[error.kind]
    play.incident = error.incident
    play.counted = error.counted
    if play.truth.code != found.code:
        play.truth = Truth(
            found.code, "failure", "stop", found.fault, found.cause, ("essential_call_failed",)
        )


def _cause(play: Play) -> str:
    """Return what a failed task was lost to."""
    if play.truth.outcome != "failure":
        return ""
    if play.counted:
        return "provider_counted"
    return "provider_excluded" if play.truth.cause == "provider" else play.truth.cause


def _parts(scenario: Scenario) -> dict[str, list[_Part]]:
    found: dict[str, list[_Part]] = {}
    for name, plan in scenario.agents.items():
        there = _has(scenario, plan)
        found[name] = []
        for label, entry in plan.modes.items():
            place = f"agents.{name}.modes.{label}"
            mode, parameters = resolve(place, label, entry)
            if missing := [need for need in mode.needs if need not in there]:
                what = {"effect": "a tool with a side effect"}.get(
                    missing[0], f"providers with a word for `{missing[0]}`"
                )
                raise InputError(f"{place}: {mode.name} needs {what}")
            found[name].append(_Part(name, label, mode, parameters))
    return found


def _has(scenario: Scenario, plan: Agent) -> set[str]:
    """Return what modes may need: the words all providers of an agent have, and `effect`."""
    asked = [*plan.models, *([plan.client.fallback] if plan.client.fallback else [])]
    providers = [scenario.providers[scenario.models[name].provider] for name in asked]
    words = set.intersection(*(set(provider.stops) for provider in providers))
    return words | {"effect" for tool in plan.tools.values() if tool.effect in EFFECTS}


def _seed(seed: int, number: int, what: bytes) -> int:
    key = seed.to_bytes(16, "little", signed=True)
    digest = blake2b(number.to_bytes(8, "little") + what, digest_size=8, key=key).digest()
    return int.from_bytes(digest, "little")
