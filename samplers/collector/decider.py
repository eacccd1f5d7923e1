"""What becomes of the sessions of a batch: models, detectors, policies, in this order.

The models and detectors are those of the lake, over the same tables, so that what is decided here
can be found again there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from samplers import features, threshold
from samplers.decide import decide
from samplers.evaluate import Facts, evaluate
from samplers.terms import Case, Decision, Matches, State
from tracekit import detectors, models
from tracekit.errors import InputError
from tracekit.lake.decided import DETECTIONS
from tracekit.lake.derived import read as read_rows
from tracekit.lake.manifest import write_durably
from tracekit.lake.sql import connection
from tracekit.otlp import tracestate
from tracekit.otlp.tracestate import NEVER
from tracekit.predicates import confined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from samplers.policy_model import Judgement
    from samplers.session_types import DueSession
    from tracekit.lake.derived import Derived
    from tracekit.lake.lake import Lake
    from tracekit.otlp.tracestate import Sampling

_MOST_INTERIM: Final = 100_000

Traces = dict[str, list[tuple[int, "Sampling"]]]
"""Id and sampling of the traces of each session, each as often as its spans differ."""


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


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of the sessions of a batch, by their keys."""

    facts: dict[str, Facts] = field(default_factory=dict)
    derived: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    traces: Traces = field(default_factory=dict)
    detections: pa.Table = field(default_factory=DETECTIONS.empty_table)
    rows: tuple[Derived, ...] = ()

    def joined(self, other: _Found) -> _Found:
        return _Found(
            self.facts | other.facts,
            self.derived | other.derived,
            self.traces | other.traces,
            pa.concat_tables([self.detections, other.detections]),
            (*self.rows, *other.rows),
        )


class Decider:
    """Policies with their state. Not thread-safe.

    Args:
        policies: The live policy, then those that are only counted.
        file: Where the state is kept; made by `save`.
        threads: Threads of DuckDB; all cores by default.

    Raises:
        InputError: A file holds something else.
    """

    def __init__(
        self, policies: Sequence[Judgement], file: Path | None = None, threads: int | None = None
    ) -> None:
        self._policies = tuple(policies)
        self._file = file
        self._states: dict[str, State] = {}
        self._interim: dict[str, int] = {}
        self._with_rows = False
        self._con = connection(threads)
        models.register(self._con)
        detectors.register(self._con)
        self._confined = confined()
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

    def decide(
        self, table: pa.Table, due: Sequence[DueSession], now_ns: int, *, with_rows: bool = False
    ) -> Decided:
        """Return what becomes of sessions.

        Args:
            table: Their spans.
            due: The sessions.
            now_ns: The time.
            with_rows: Whether their rows of the ledger are wanted, which are derived anyhow.
        """
        policies = self._policies
        self._with_rows = with_rows
        found = self._facts(table, due, now_ns)
        cases = [self._case(session, found.facts, found.traces) for session in due]
        states = [self._states.setdefault(policy.name, State()) for policy in policies]
        terms = [policy.terms() for policy in policies]
        decisions = list(decide(terms, states, cases, now_ns))
        for session, decision in zip(due, decisions, strict=True):
            self._note(session, decision)
        judged = [Judged(one, *found.derived.get(one.session_id, ())) for one in decisions]
        return Decided(judged, found.detections, found.rows)

    def rehearse(self, table: pa.Table, due: Sequence[DueSession]) -> None:
        """Judge sessions to no effect: the first time words, prices and libraries are loaded."""
        self._facts(table, due, 0)

    @property
    def frozen_day(self) -> int:
        """UTC day, since 1970, up to which baselines are frozen; -1 for none."""
        question = "SELECT coalesce(max(day) - DATE '1970-01-01', -1) FROM baselines"
        return int(self._con.execute(question).fetchall()[0][0])

    def freeze(self, lake: Lake, now_ns: int) -> None:
        """Take what sessions usually cost, up to yesterday, from the ledger, and note it there.

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
        detectors.restore(self._con, rows)

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

    def _facts(self, table: pa.Table, due: Sequence[DueSession], now_ns: int) -> _Found:
        """Ask models, detectors and policies.

        A session whose numbers the models cannot take is left out: no rule matches it then.
        """
        try:
            return self._derive(table, due, now_ns)
        except duckdb.DataError:
            if len(due) == 1:
                return _Found()
        half = len(due) // 2
        cut = sum(len(session.rows) for session in due[:half])
        first = self._facts(table.slice(0, cut), due[:half], now_ns)
        return first.joined(self._facts(table.slice(cut), due[half:], now_ns))

    def _derive(self, table: pa.Table, due: Sequence[DueSession], now_ns: int) -> _Found:
        con = self._con
        models.run(con, table, recorded_ns=now_ns, reading=detectors.READING)
        detectors.run(con, spans="ledger_spans")
        rows = con.execute(
            "SELECT s.session_id, s.stop_reason, s.cost_usd, coalesce(list(d.detector ORDER BY "
            "d.detector) FILTER (WHERE d.verdict = 'hit'), []) "
            "FROM sessions AS s LEFT JOIN detections AS d ON s.session_id = d.session_id "
            "GROUP BY s.session_id, s.stop_reason, s.cost_usd"
        ).fetchall()
        derived = {row[0]: (row[1], row[2], tuple(row[3])) for row in rows}
        detections = con.sql("FROM detections").to_arrow_table().cast(DETECTIONS)
        ledger = (read_rows(con),) if self._with_rows else ()
        return _Found(self._evaluate(due), derived, traces_of(table, due), detections, ledger)

    def _evaluate(self, due: Sequence[DueSession]) -> dict[str, Facts]:
        """Ask the predicates, where they reach nothing but the features."""
        received = {
            "session_id": [session.key for session in due],
            "bytes": [session.bytes for session in due],
            "trigger": [session.trigger for session in due],
        }
        con = self._confined
        con.register("received", pa.table(received))
        for name in ("sessions", "detections", "detector_cohorts"):
            con.register(name, self._con.sql(f"FROM {name}").to_arrow_table())
        features.create_table(con)
        con.execute(f"INSERT INTO features BY NAME {features.statement(received=True)}")
        return {facts.session_id: facts for facts in evaluate(con, self._policies)}

    def _case(self, session: DueSession, facts: dict[str, Facts], traces: Traces) -> Case:
        key = session.key
        found = facts.get(key) or Facts(
            key,
            "",
            session.trigger,
            session.spans,
            session.bytes,
            tuple(Matches(strata=("-",) * len(policy.strata)) for policy in self._policies),
        )
        its = traces.get(key, [])
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


def traces_of(table: pa.Table, due: Sequence[DueSession]) -> Traces:
    """Return what the spans of sessions, one session after the other, say of their sampling."""
    owners = np.repeat(np.arange(len(due)), [len(session.rows) for session in due])
    ids, states = (
        table[name].cast(pa.string()).combine_chunks().dictionary_encode("encode")
        for name in ("trace_id", "trace_state")
    )
    codes = (owners * len(ids.dictionary) + np.asarray(ids.indices)) * len(states.dictionary)
    codes += np.asarray(states.indices)
    keys, samplings = (
        [int(trace, 16) for trace in ids.dictionary.to_pylist()],
        [tracestate.read(state or "") for state in states.dictionary.to_pylist()],
    )
    traces: Traces = defaultdict(list)
    for code in np.unique(codes).tolist():
        rest, state = divmod(code, len(samplings))
        owner, trace = divmod(rest, len(keys))
        traces[due[owner].key].append((keys[trace], samplings[state]))
    return traces
