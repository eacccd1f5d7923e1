"""The collector as a process: its parts built from the settings, their threads, their end.

    collector = Collector(settings)
    collector.start()
    collector.run(stop=event, reload=other)     # until the event is set, then it drains

One thread decides, the one that calls `run`; those of the receivers only write and take note.
"""

from __future__ import annotations

import logging
import os
import queue
import time
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from samplers import policy as policies
from samplers.collector.decider import Decider
from samplers.collector.engine import BATCH_SPANS, Engine
from samplers.collector.exporters.fanout import Exporters
from samplers.collector.health import HealthServer
from samplers.collector.ledger import Ledger
from samplers.collector.memory import allowed, give_back
from samplers.collector.metrics import Registry
from samplers.collector.policy_counts import describe_budgets
from samplers.collector.receivers.grpc import GrpcServerReceiver
from samplers.collector.receivers.http import HttpServerReceiver
from samplers.collector.settings import parts
from samplers.decisions import DecisionLog
from samplers.journal import Journal
from samplers.pending import Capacity
from samplers.sessions import Sessions
from samplers.warm import warm
from tracekit.documents import DocumentError
from tracekit.errors import TracekitError, UsageError
from tracekit.lake.lake import Lake

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from samplers.collector.config import CollectorSettings
    from samplers.collector.settings.storage import PolicySettings
    from samplers.decision import DecisionRecord
    from samplers.policy_model import Judgement, Policy
    from samplers.session_types import Limits

_log = logging.getLogger(__name__)

_SECOND: Final = 1_000_000_000
_TICK_SECONDS: Final = 1.0
"""Between two batches of decisions, where there are enough sessions to fill them."""

_MOST_TICK_SECONDS: Final = 4.0
"""Models take most of a second for one session as for a hundred: where sessions do not fill a batch
they wait for one another, so that a quiet collector leaves the processor alone, and others use it
well. They have waited for their delay anyway."""

_MOST_BATCHES: Final = 4
"""Looked at at a time, where the settings do not say: beyond, they wait for the thread that
decides."""

_BATCH_BYTES: Final = 2 << 30
"""Memory that there must be for each batch that is looked at, where the settings do not say."""

_SPAN_BYTES: Final = 5_000
"""Memory that a span in a batch takes, while models and detectors run."""

_GRACE_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 10.0


class Collector:
    """A collector.

    Attributes:
        registry: Its metrics.
        engine: Its loop.
    """

    def __init__(self, settings: CollectorSettings) -> None:
        """Open the files and bind the addresses; nothing is accepted before `start`.

        Raises:
            TracekitError: Something in the settings, the policy or the folders is wrong.
        """
        self._settings = settings
        self._watch = PolicyWatch(settings.policy)
        self.registry = Registry()
        self._ready: str | None = "it is starting"
        self._wrong: str | None = None
        self._asked: queue.SimpleQueue[tuple[str, Future[DecisionRecord]]] = queue.SimpleQueue()
        with ExitStack() as undo:
            self._open(settings, undo)
            self._listen(settings, undo)
            undo.pop_all()
        self._describe()

    def _open(self, settings: CollectorSettings, undo: ExitStack) -> None:
        folder = settings.journal_folder
        self._journal = Journal(folder, parts.journal(settings.journal))
        undo.callback(self._journal.close)
        self._decisions = DecisionLog(folder, self._journal.syncer, self._journal.settings)
        remembered = settings.sessions.kept_entries + settings.sessions.dropped_entries
        self._sessions = Sessions(Capacity(decided=remembered), self._limits())
        self._exporters = Exporters(settings.exporters, settings.queues_folder, self.registry)
        undo.callback(self._exporters.stop)
        batches, batch_spans = _batches(settings.policy.batches, allowed())
        self._decider = Decider(
            self._watch.policies,
            folder / "policies.json",
            threads=1,  # with two a batch takes half as much again of the processor, and as long
            batches=batches,
        )
        self.engine = Engine(
            self._journal,
            self._decisions,
            self._sessions,
            self._decider,
            sink=self._exporters if settings.exporters else None,
            ledger=_ledger(settings),
            batch_spans=batch_spans,
        )
        undo.callback(self.engine.close)

    def _limits(self) -> Limits:
        """Return when sessions are over: what the live policy says wins over the settings."""
        return self._watch.live.sessions.over(parts.limits(self._settings.sessions))

    def _listen(self, settings: CollectorSettings, undo: ExitStack) -> None:
        self._receivers: dict[str, GrpcServerReceiver | HttpServerReceiver] = {}
        if settings.receivers.grpc.enabled:
            self._receivers["grpc"] = GrpcServerReceiver(
                settings.receivers.grpc, self.engine.receive, self.registry
            )
            undo.callback(self._receivers["grpc"].stop, 0.0)
        if settings.receivers.http.enabled:
            self._receivers["http"] = HttpServerReceiver(
                settings.receivers.http, self.engine.receive, self.registry
            )
            undo.callback(self._receivers["http"].stop, 0.0)
        self._health: HealthServer | None = None
        if settings.health.enabled:
            self._health = HealthServer(
                settings.health,
                self.registry,
                lambda: self._wrong,
                lambda: self._ready,
                keep=self._keep,
            )

    @property
    def ports(self) -> dict[str, int]:
        """Ports it listens on: grpc, http, health."""
        found = {name: receiver.port for name, receiver in self._receivers.items()}
        return found | ({} if self._health is None else {"health": self._health.port})

    @property
    def policy(self) -> Policy:
        """The live policy."""
        return self._watch.live

    def start(self) -> int:
        """Take in what an earlier run left, then take requests; return how many spans it left."""
        warm(self.engine.rehearse)
        if self._health is not None:
            self._health.start()
        self._journal.start()
        self._attempt(self.engine.freeze, time.time_ns())
        recovered = self.engine.recover()
        self._exporters.start()
        for receiver in self._receivers.values():
            receiver.start()
        self._ready = None
        return recovered

    def run(self, stop: threading.Event, reload: threading.Event) -> None:
        """Decide until told to stop, then drain.

        Args:
            stop: Set when the collector is to end.
            reload: Set when the policy is to be read again.
        """
        pause, decided, is_idle = _TICK_SECONDS, 0, True
        while not stop.wait(pause):
            began = time.monotonic()
            # First, so that what is decided on a day rests on the baselines of that day.
            self._attempt(self.engine.freeze, time.time_ns())
            self._attempt(self.engine.tick, time.time_ns())
            self._attempt(self.engine.tend)
            self._keep_asked()
            asked = reload.is_set()
            reload.clear()
            if self._watch.changed(asked=asked):
                self.engine.replace_policies(self._watch.policies)
                self._sessions.limits = self._limits()
            decided, was_decided = self.engine.counts["sessions"], decided
            if decided == was_decided and not is_idle:
                self._attempt(self._let_go)
            is_idle = decided == was_decided
            took = time.monotonic() - began
            pause = _TICK_SECONDS if self.engine.was_busy else _rest(took)
        self.stop()

    def _let_go(self) -> None:
        """Free what the last batches took: a gigabyte, after a burst."""
        self.engine.forget()
        give_back()

    def _keep(self, key: str) -> str:
        """Have a session kept by the thread that decides; called by that of the health server."""
        answer: Future[DecisionRecord] = Future()
        self._asked.put((key, answer))
        try:
            return f"session {key} is kept: {answer.result(_GRACE_SECONDS).spans:,} spans"
        except TimeoutError as error:
            raise TracekitError("the collector is busy: try again") from error

    def _keep_asked(self) -> None:
        while not self._asked.empty():
            key, answer = self._asked.get()
            try:
                answer.set_result(self.engine.pull_back(key, time.time_ns()))
            except Exception as error:  # noqa: BLE001 - it is told to who asked
                answer.set_exception(error)

    def _attempt(self, step: Callable[..., object], *arguments: object) -> None:
        """Go on after a fault: what was under way is done after a restart, and /live says so."""
        try:
            step(*arguments)
        except TracekitError as error:  # a disk that is full: it is tried again
            _log.error("%s", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, senders must not wait for it
            _log.exception("a step failed")
            self._wrong = f"a step failed, restart the collector: {error}"

    def stop(self) -> None:
        """Drain: answer the requests under way, decide sessions whose root ended, write all down.

        Sessions that are still open stay in the journal, for the next start.
        """
        self._ready = "it is stopping"
        for receiver in self._receivers.values():
            receiver.stop(_GRACE_SECONDS)
        limits = self._sessions.limits
        later = max(limits.root_delay, limits.keyed_root_delay, limits.done_delay)
        now = time.time_ns()
        self._attempt(self.engine.tick, now)
        self._attempt(lambda: self.engine.tick(now + later, flush=True))
        self.engine.close()
        self._exporters.stop(_DRAIN_SECONDS if self._settings.exporters else 0.0)
        if self._health is not None:
            self._health.stop()
        self._journal.close()

    def _describe(self) -> None:
        """Declare the metrics of the loop."""
        engine, registry = self.engine, self.registry
        for name, meaning in (
            ("sessions", "Sessions decided."),
            ("kept", "Sessions kept."),
            ("spans", "Spans received."),
            ("late_spans", "Spans that came after the decision on their session."),
            ("moved_spans", "Spans of long sessions that were moved out of old segments."),
            ("interim", "Interim decisions that left a session open."),
            ("pulled_back", "Sessions kept by hand after they were dropped."),
            ("decided_before", "Sessions an earlier run had decided."),
        ):
            family = registry.counter(f"tracekit_{name}_total", meaning)
            family.ask(lambda name=name: float(engine.counts[name]))  # type: ignore[misc]
        registry.counter("tracekit_exported_spans_total", "Spans handed to the exporters.").ask(
            lambda: float(engine.exported_spans)
        )
        engine.census.describe(registry)
        engine.policies.describe(registry)
        describe_budgets(registry, self._decider.states)
        registry.counter(
            "tracekit_stripped_bytes_total", "Bytes taken out of what was exported.", ("level",)
        ).ask_all(lambda: {(level,): taken for level, taken in list(engine.stripped_bytes.items())})
        registry.counter(
            "tracekit_policy_refused_total", "Changed policy files that were wrong."
        ).ask(lambda: float(self._watch.refused))
        for prefix, source in (
            ("pending", self._sessions.stats),
            ("journal", self._journal.state),
            ("decisions", self._decisions.state),
        ):
            for name in source():
                registry.gauge(f"tracekit_{prefix}_{name}", f"{name} of {prefix}.").ask(
                    lambda source=source, name=name: float(source().get(name, 0))  # type: ignore[misc]
                )


class PolicyWatch:
    """The policies of the settings, read again when they change.

    Attributes:
        live: The live policy.
        policies: The live one, then those that are only counted.
        refused: How often a changed file was wrong.

    Raises:
        TracekitError: One of them is wrong.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self._settings = settings
        self.refused = 0
        self.live, self.policies = _read(settings)
        self._seen = self._stamps()

    def changed(self, *, asked: bool) -> bool:
        """Read the files again where they changed; return whether there are other policies now.

        Args:
            asked: Read them in any case.
        """
        stamps = self._stamps()
        if not asked and (stamps == self._seen or not self._settings.watch):
            return False
        self._seen = stamps
        try:
            self.live, self.policies = _read(self._settings)
        except TracekitError as error:
            self.refused += 1
            for line in error.lines() if isinstance(error, DocumentError) else [str(error)]:
                _log.error("the policy stays as it was: %s", line)
            return False
        _log.warning("policy %s is taken over", self.live.name)
        return True

    def _stamps(self) -> list[tuple[Path, int, int]]:
        found = []
        for path in (self._settings.file, *self._settings.shadows):
            if path is not None and path.exists():
                state = path.stat()
                found.append((path, state.st_mtime_ns, state.st_size))
        return found


def _batches(asked: int | None, memory: int) -> tuple[int, int]:
    """Return how many batches are looked at at a time, and of how many spans.

    Half of the memory is for them: those that are looked at, and where there are several the one
    that waits to be decided meanwhile.

    Args:
        asked: What the settings say.
        memory: Bytes the process may take.
    """
    batches = asked or max(1, min(os.cpu_count() or 1, _MOST_BATCHES, memory // _BATCH_BYTES))
    under_way = batches + (batches > 1)
    return batches, min(BATCH_SPANS, max(1, memory // (2 * under_way * _SPAN_BYTES)))


def _rest(took: float) -> float:
    """Return how long to wait after a tick without a full batch: three quarters of the time."""
    return min(max(3 * took, _TICK_SECONDS), _MOST_TICK_SECONDS)


def _read(settings: PolicySettings) -> tuple[Policy, tuple[Judgement, ...]]:
    live = policies.load(settings.file or settings.preset or policies.PRESETS[0])
    shadows = [policies.load(path) for path in settings.shadows]
    every = (live, *live.shadow, *shadows)
    names = [policy.name for policy in every]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two policies are called {name}: give each a name of its own")
    return live, every


def _ledger(settings: CollectorSettings) -> Ledger | None:
    if settings.lake.folder is None:
        return None
    lake = Lake.open(settings.lake.folder, create=True)
    return Ledger(lake, spans=settings.lake.spans, interval=settings.lake.flush_interval)
