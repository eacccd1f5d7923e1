"""What becomes of the sessions of a batch, by what is known of them and the policies' state."""

from __future__ import annotations

import json
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from samplers import threshold
from samplers.collector.findings import Finder
from samplers.decide import decide
from samplers.evaluate import Facts
from samplers.terms import Case, Decision, Matches, State
from tracekit import detectors
from tracekit.errors import InputError
from tracekit.lake.manifest import write_durably
from tracekit.otlp.tracestate import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

    from samplers.collector.findings import Findings
    from samplers.policy_model import Judgement
    from samplers.session_types import DueSession
    from tracekit.lake.derived import Derived
    from tracekit.lake.lake import Lake

_MOST_INTERIM: Final = 100_000


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision, and what was derived on the way to it.

    Attributes:
        decision: The decision.
        stop_reason: Stop code of the session.
        cost_usd: Its cost, where it is known.
        anomalies: Detectors that hit.
    """

    decision: Decision
    stop_reason: str | None = None
    cost_usd: float | None = None
    anomalies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of a batch.

    Attributes:
        sessions: Its sessions, in their order.
        detections: What the detectors found in them, `tracekit.lake.decided.DETECTIONS`.
        rows: Rows of the ledger, where they were asked for; of all but the sessions whose numbers
            the models cannot take.
    """

    sessions: list[Judged]
    detections: pa.Table
    rows: Sequence[Derived] = ()

    def of(self, keys: Sequence[str]) -> pa.Table:
        """Return what the detectors found in some sessions."""
        return self.detections.filter(
            pc.is_in(self.detections["session_id"], pa.array(keys, pa.string()))
        )


class Decider:
    """Policies with their state. One thread decides; `find` may be called by several.

    Args:
        policies: The live policy, then those that are only counted.
        file: Where the state is kept; made by `save`.
        threads: Threads of DuckDB for each batch; all cores by default.
        batches: How many batches can be looked at at a time.

    Attributes:
        batches: As above.

    Raises:
        InputError: A file holds something else.
    """

    def __init__(
        self,
        policies: Sequence[Judgement],
        file: Path | None = None,
        threads: int | None = None,
        *,
        batches: int = 1,
    ) -> None:
        self.batches = batches
        self._policies = tuple(policies)
        self._file = file
        self._states: dict[str, State] = {}
        self._interim: dict[str, int] = {}
        self._finders = [Finder(threads) for _ in range(batches)]
        self._idle: queue.SimpleQueue[Finder] = queue.SimpleQueue()
        for finder in self._finders:
            self._idle.put(finder)
        if file is not None and file.exists():
            self._restore(file)

    @property
    def live(self) -> Judgement:
        """The live policy."""
        return self._policies[0]

    @property
    def states(self) -> Mapping[str, State]:
        """State of each policy by name."""
        return self._states

    def replace(self, policies: Sequence[Judgement]) -> None:
        """Decide by other policies from now on; those of the same name keep their state."""
        self._policies = tuple(policies)

    def find(
        self, table: pa.Table, due: Sequence[DueSession], now_ns: int, *, with_rows: bool = False
    ) -> Findings:
        """Return what models, detectors and predicates say of sessions.

        Args:
            table: Their spans.
            due: The sessions.
            now_ns: The time.
            with_rows: Whether their rows of the ledger are wanted, which are derived anyhow.
        """
        finder = self._idle.get()
        try:
            return finder.find(table, due, self._policies, now_ns, with_rows=with_rows)
        finally:
            self._idle.put(finder)

    def decide(self, found: Findings, due: Sequence[DueSession], now_ns: int) -> Decided:
        """Return what becomes of sessions.

        Args:
            found: What is known of them, by the policies of now.
            due: The sessions.
            now_ns: The time.
        """
        policies = self._policies
        cases = [self._case(session, found) for session in due]
        states = [self._states.setdefault(policy.name, State()) for policy in policies]
        terms = [policy.terms() for policy in policies]
        decisions = list(decide(terms, states, cases, now_ns))
        for session, decision in zip(due, decisions, strict=True):
            self._note(session, decision)
        judged = [Judged(one, *found.derived.get(one.session_id, ())) for one in decisions]
        return Decided(judged, found.detections, found.rows)

    def forget(self) -> None:
        """Let go of the batches that were looked at last; call it while nothing is looked at."""
        for finder in self._finders:
            finder.forget()

    @property
    def frozen_day(self) -> int:
        """UTC day, since 1970, up to which baselines are frozen; -1 for none."""
        return self._finders[0].frozen_day

    def freeze(self, lake: Lake, now_ns: int) -> None:
        """Take what sessions usually cost, up to yesterday, from the ledger, and note it there.

        Call it while nothing is looked at.

        Args:
            lake: The ledger; it has every session, kept or not, and what was frozen before.
            now_ns: The time.

        Raises:
            LakeError: It cannot be read or written.
        """

        def frozen(con: duckdb.DuckDBPyConnection) -> pa.Table:
            detectors.freeze(con, before_ns=now_ns, frozen_ns=now_ns)
            return con.sql("FROM baselines").to_arrow_table()

        rows = lake.read(frozen)
        lake.add_baselines(detectors.to_lake(rows.filter(pc.equal(rows["frozen_ns"], now_ns))))
        for finder in self._finders:
            finder.restore(rows)

    def save(self) -> None:
        """Write the state down."""
        if self._file is None:
            return
        content = {
            "states": {name: json.loads(state.to_json()) for name, state in self._states.items()},
            "interim": self._interim,
        }
        temporary = self._file.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        write_durably(temporary, json.dumps(content).encode())
        temporary.replace(self._file)

    def _restore(self, file: Path) -> None:
        try:
            content = json.loads(file.read_bytes())
            for name, state in content["states"].items():
                self._states[name] = State.from_json(json.dumps(state).encode())
            self._interim = dict(content["interim"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{file}: not the state of policies ({error}): remove it, floors, quotas and "
                "budgets then begin anew"
            ) from error

    def _case(self, session: DueSession, findings: Findings) -> Case:
        key = session.key
        found = findings.facts.get(key) or Facts(
            key,
            "",
            session.trigger,
            session.spans,
            session.bytes,
            tuple(Matches(strata=("-",) * len(policy.strata)) for policy in self._policies),
        )
        its = findings.traces.get(key, [])
        randomness = threshold.randomness(key, its)
        return Case(
            key,
            randomness,
            found.matches,
            spans=session.spans,
            bytes=session.bytes,
            tenant=found.tenant,
            trigger=session.trigger,
            incoming=threshold.incoming(randomness, its),
            previous=self._interim.get(key, NEVER),
            final=not session.is_interim,
        )

    def _note(self, session: DueSession, decision: Decision) -> None:
        if session.is_interim and not decision.keep:
            if len(self._interim) >= _MOST_INTERIM:
                del self._interim[next(iter(self._interim))]
            self._interim[session.key] = decision.threshold
        else:
            self._interim.pop(session.key, None)
