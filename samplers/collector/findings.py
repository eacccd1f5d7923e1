"""What is found out about the sessions of a batch: models, detectors, predicates, in this order.

The models and detectors are those of the lake, over the same tables, so that what is decided here
can be found again there. Nothing here depends on R, on other batches or on what was decided before.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from samplers import features
from samplers.evaluate import Facts, evaluate
from tracekit import detectors, models
from tracekit.lake.decided import DETECTIONS
from tracekit.lake.derived import read as read_rows
from tracekit.lake.sql import connection
from tracekit.otlp import tracestate
from tracekit.predicates import confined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samplers.policy_model import Judgement
    from samplers.session_types import DueSession
    from tracekit.lake.derived import Derived
    from tracekit.otlp.tracestate import Sampling

_MANY: Final = 2_000
"""Rows from which on a table is worth being dropped."""

Traces = dict[str, list[tuple[int, "Sampling"]]]
"""Id and sampling of the traces of each session, each as often as its spans differ."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of the sessions of a batch, by their keys.

    Attributes:
        facts: What the policies say of them.
        derived: Stop code, cost and the detectors that hit.
        traces: Their traces.
        detections: What the detectors found, `tracekit.lake.decided.DETECTIONS`.
        rows: Rows of the ledger, where they were asked for; of all but the sessions whose numbers
            the models cannot take.
    """

    facts: dict[str, Facts] = field(default_factory=dict)
    derived: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    traces: Traces = field(default_factory=dict)
    detections: pa.Table = field(default_factory=DETECTIONS.empty_table)
    rows: tuple[Derived, ...] = ()

    def joined(self, other: Findings) -> Findings:
        """Return the findings of two batches as those of one."""
        return Findings(
            self.facts | other.facts,
            self.derived | other.derived,
            self.traces | other.traces,
            pa.concat_tables([self.detections, other.detections]),
            (*self.rows, *other.rows),
        )


class Finder:
    """A database of its own in which batches are looked at, one at a time.

    Args:
        threads: Threads of DuckDB; all cores by default.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._con = connection(threads)
        models.register(self._con)
        detectors.register(self._con)
        self._confined = confined()
        self._standing = {name for name, _ in self._tables()}

    @property
    def frozen_day(self) -> int:
        """UTC day, since 1970, up to which baselines are frozen; -1 for none."""
        question = "SELECT coalesce(max(day) - DATE '1970-01-01', -1) FROM baselines"
        return int(self._con.execute(question).fetchall()[0][0])

    def restore(self, baselines: pa.Table) -> None:
        """Take what sessions usually cost."""
        detectors.restore(self._con, baselines)

    def forget(self) -> None:
        """Let go of the batch that was looked at last: its tables take most of the memory."""
        for name, rows in self._tables():
            if rows > _MANY and name not in self._standing:
                self._con.execute(f'DROP TABLE "{name}"')
        self._con.unregister("numbered")
        for name in ("sessions", "detections", "detector_cohorts"):
            self._confined.unregister(name)
        self._confined.execute("DROP TABLE IF EXISTS features")

    def _tables(self) -> list[tuple[str, int]]:
        """Return the tables of the connection, and how many rows they have."""
        question = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE temporary"
        return self._con.execute(question).fetchall()

    def find(
        self,
        table: pa.Table,
        due: Sequence[DueSession],
        policies: Sequence[Judgement],
        now_ns: int,
        *,
        with_rows: bool = False,
    ) -> Findings:
        """Ask models, detectors and policies.

        A session whose numbers the models cannot take is left out: no rule matches it then.

        Args:
            table: Their spans, those of the first session first.
            due: The sessions.
            policies: What the facts are about.
            now_ns: The time.
            with_rows: Whether their rows of the ledger are wanted, which are derived anyhow.
        """
        try:
            return self._find(table, due, policies, now_ns, with_rows=with_rows)
        except duckdb.DataError:
            if len(due) == 1:
                return Findings()
        half = len(due) // 2
        cut = sum(len(session.rows) for session in due[:half])
        first, second = (
            self.find(spans, sessions, policies, now_ns, with_rows=with_rows)
            for spans, sessions in (
                (table.slice(0, cut), due[:half]),
                (table.slice(cut), due[half:]),
            )
        )
        return first.joined(second)

    def _find(
        self,
        table: pa.Table,
        due: Sequence[DueSession],
        policies: Sequence[Judgement],
        now_ns: int,
        *,
        with_rows: bool,
    ) -> Findings:
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
        ledger = (read_rows(con),) if with_rows else ()
        facts = self._evaluate(due, policies)
        return Findings(facts, derived, traces_of(table, due), detections, ledger)

    def _evaluate(
        self, due: Sequence[DueSession], policies: Sequence[Judgement]
    ) -> dict[str, Facts]:
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
        return {facts.session_id: facts for facts in evaluate(con, policies)}


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
