"""Detectors on whole populations: labels of scripted sessions, recorded ones, live and later."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import golden
import pyarrow as pa
import pytest
from otlp_build import request, span

from tracekit import detectors
from tracekit.detectors import specification
from tracekit.errors import TracekitError, UsageError
from tracekit.importers.detect import open_sources
from tracekit.lake import Lake
from tracekit.models import pipeline
from tracekit.otlp.scan import scan
from tracekit.simulation.run import Run
from tracekit.simulation.scenario import load
from tracekit.simulation.targets import SimulatedSource
from tracekit.stops import inspect_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tracekit.simulation.truth import Row

NAMES = [*detectors.load().detectors]

UNLABELLED = {
    ("retry_limit", "stop_mismatch"): "the provider says end_turn over JSON that breaks off, too",
    ("hidden_by_gateway", "stop_mismatch"): "a stop without a token: the truth that was hidden",
}
"""Hits that the scripts do not ask for, and why they are right."""

UNJUDGED = {"token_amplification": "no baseline of an earlier day"}
"""Labelled sessions that a detector cannot judge: those of the first day."""

RECORDED = (
    "tau2-retail",
    "swebench-mini-agent",
    "langfuse-framework-traces",
    "tau-bench-airline-gpt4o",
    "tau-bench-retail-agentverify",
)


class Played(NamedTuple):
    """Sessions of every failure mode: in a lake, as bytes, and the truth about their tasks."""

    lake: Lake
    data: bytes
    rows: list[Row]


class Kept(SimulatedSource):
    """A source that keeps the bytes it gives."""

    def chunks(self) -> Iterator[bytes]:
        """Keep them on the way."""
        self.data = b""
        for chunk in super().chunks():
            self.data += chunk
            yield chunk


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    rows: list[Row] = []
    source = Kept(Run(load("failures"), jobs=1), rows.extend)
    lake = Lake.open(tmp_path_factory.mktemp("failures") / "lake", create=True)
    assert lake.ingest([source]).failed == ()
    return Played(lake, source.data, rows)


def ledger(data: bytes) -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables of the models, as a collector makes them."""
    con = duckdb.connect()
    pipeline.run(con, inspect_table(scan(data).table), recorded_ns=0)
    return con


def detected(
    con: duckdb.DuckDBPyConnection, frozen: pa.Table | None = None
) -> list[tuple[Any, ...]]:
    """Return the rows of `detections`, sorted; baselines are frozen here unless given."""
    detectors.register(con)
    if frozen is None:
        detectors.freeze(con)
    else:
        detectors.restore(con, frozen)
    detectors.run(con)
    return con.execute("SELECT * FROM detections ORDER BY ALL").fetchall()


def baselines(con: duckdb.DuckDBPyConnection) -> pa.Table:
    return con.sql("SELECT * FROM baselines ORDER BY ALL").to_arrow_table()


@pytest.fixture(scope="module")
def verdicts(played: Played) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Verdict and reason by session and detector, from the lake."""
    rows = played.lake.read(detected)
    return {(session, name): (verdict, row[-1]) for session, name, verdict, *row in rows}


class Compared(NamedTuple):
    """What scripts and detectors say of a session."""

    detector: str
    agent: str
    entry: str
    labelled: bool
    verdict: str
    reason: str | None


@pytest.fixture(scope="module")
def compared(
    played: Played, verdicts: Mapping[tuple[str, str], tuple[str, str | None]]
) -> list[Compared]:
    tasks: defaultdict[str, list[Row]] = defaultdict(list)
    for row in played.rows:
        tasks[row.session_id].append(row)
    found = []
    for (session, name), (verdict, reason) in verdicts.items():
        labelled = [row.entry for row in tasks[session] if name in row.detectors.split(";")]
        entries = labelled or [row.entry for row in tasks[session]]
        agent = tasks[session][0].agent
        entry = "+".join(sorted(set(entries)))
        found.append(Compared(name, agent, entry, bool(labelled), verdict, reason))
    return found


def test_labels_of_scripted_sessions_are_recovered(compared: list[Compared]) -> None:
    """Per mode and detector: how many sessions were labelled, hit, cleared and not judged."""
    counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for one in compared:
        if one.labelled or one.verdict == "hit":
            key = one.detector, one.agent, one.entry, "yes" if one.labelled else "no"
            counts[key][one.verdict] += 1
    lines = [(*key, *(count[word] for word in detectors.VERDICTS)) for key, count in counts.items()]
    header = ["detector", "agent", "entry", "labelled", "hit", "clear", "not evaluable"]
    golden.check("detectors_confusion.tsv", golden.tsv(header, lines))


def test_no_label_is_cleared(compared: list[Compared]) -> None:
    """What a script labels is hit, unless the detector says which input it misses."""
    for one in compared:
        if one.labelled and one.verdict != "hit":
            assert one.verdict == "not_evaluable", one
            assert one.reason == UNJUDGED[one.detector], one


def test_hits_without_a_label_are_explained(compared: list[Compared]) -> None:
    """No false alarm on any other mode."""
    extra = {(o.entry, o.detector) for o in compared if o.verdict == "hit" and not o.labelled}
    assert extra == UNLABELLED.keys()


def test_live_and_later_agree(played: Played) -> None:
    """The tables of the models and the views of a lake give the same rows, evidence included."""
    live = detected(ledger(played.data))
    assert live == played.lake.read(detected)
    assert {row[2] for row in live} == set(detectors.VERDICTS)


def test_a_collector_judges_every_batch_as_the_lake_does(played: Played) -> None:
    """Words are registered once, and spans are read where the models left them."""
    con = duckdb.connect()
    scanned = inspect_table(scan(played.data).table)
    for batch in (scanned.slice(0, 500), scanned):
        pipeline.run(con, batch, recorded_ns=0, reading=detectors.READING)
    detectors.register(con)
    detectors.freeze(con)
    detectors.run(con, spans="ledger_spans")
    live = con.execute("SELECT * FROM detections ORDER BY ALL").fetchall()
    assert live == played.lake.read(detected)


def test_a_verdict_depends_on_nothing_but_its_session(played: Played) -> None:
    """With the baselines frozen, half of the sessions get what all of them together get."""
    con = ledger(played.data)
    whole = detected(con)
    scanned = inspect_table(scan(played.data).table)
    halves = []
    for half in (0, 1):
        part = duckdb.connect()
        part.register("all_spans", scanned)
        part.register(
            "all_sessions", con.sql("SELECT session_id, trace_id FROM spans").to_arrow_table()
        )
        chosen = part.sql(
            "SELECT * FROM all_spans WHERE trace_id IN (SELECT trace_id FROM all_sessions "
            f"WHERE ascii(right(session_id, 1)) % 2 = {half})"
        )
        pipeline.run(part, chosen.to_arrow_table(), recorded_ns=0)
        halves += detected(part, baselines(con))
    assert sorted(halves, key=str) == sorted(whole, key=str)


@pytest.mark.slow
def test_recorded_sessions(shared_data: Path, tmp_path: Path) -> None:
    """Verdicts per set of recorded sessions of other people's agents."""
    lines = []
    for name in RECORDED:
        lake = Lake.open(tmp_path / name, create=True)
        assert lake.ingest(open_sources([str(shared_data / name)])).failed == ()
        counts = Counter((row[1], row[2]) for row in lake.read(detected))
        lines += [
            (name, detector, *(counts[detector, word] for word in detectors.VERDICTS))
            for detector in NAMES
        ]
    header = ["sessions", "detector", "hit", "clear", "not evaluable"]
    golden.check("detectors_recorded.tsv", golden.tsv(header, lines))


DAY_NS = 86_400_000_000_000


def sessions(*rows: tuple[str, int, float | None]) -> duckdb.DuckDBPyConnection:
    """Return a connection with sessions of one agent: key, day of the end, cost."""
    con = duckdb.connect()
    names = ["session_id", "agent_name", "start_ns", "end_ns", "cost_usd", "unpriced_calls"]
    names += ["input_tokens"]
    values = [
        (key, "clerk", day * DAY_NS, day * DAY_NS + 9, usd, int(usd is None), 10 * day)
        for key, day, usd in rows
    ]
    columns = dict(zip(names, map(list, zip(*values, strict=True)), strict=True))
    con.register("s", pa.table(columns))
    con.execute("CREATE TABLE sessions AS SELECT *, 5 AS output_tokens, 1 AS llm_calls FROM s")
    con.execute("CREATE TABLE tasks AS SELECT session_id, 'refund' AS task_name FROM s")
    return con


def frozen_rows(con: duckdb.DuckDBPyConnection) -> Sequence[tuple[Any, ...]]:
    question = "SELECT day - DATE '1970-01-01', median_cost_usd, median_tokens, n_priced, n"
    return con.execute(f"{question} FROM baselines ORDER BY day").fetchall()


def test_a_baseline_is_the_lower_median_of_a_week() -> None:
    """A day's row rests on the sessions that ended on it and in the six days before it."""
    con = sessions(("a", 1, 4.0), ("b", 1, 1.0), ("c", 3, 2.0), ("d", 8, 9.0), ("e", 9, 9.0))
    assert detectors.freeze(con) == 3
    assert frozen_rows(con) == [(1, 1.0, 15, 2, 2), (3, 2.0, 15, 3, 3), (8, 2.0, 35, 2, 2)]


def test_an_unpriced_session_counts_by_tokens_only() -> None:
    """A cost that is a lower bound is in no median of costs."""
    con = sessions(("a", 1, None), ("b", 1, 3.0), ("c", 2, 1.0))
    detectors.freeze(con)
    assert frozen_rows(con) == [(1, 3.0, 15, 1, 2)]


def test_a_frozen_row_never_changes() -> None:
    """Sessions that come late change no row that is there; later days are added."""
    con = sessions(("a", 1, 4.0), ("b", 2, 1.0))
    assert detectors.freeze(con) == 1
    before = baselines(con)
    con.execute(
        "INSERT INTO sessions SELECT * REPLACE ('late' AS session_id) FROM sessions LIMIT 1"
    )
    con.execute("INSERT INTO tasks VALUES ('late', 'refund')")
    assert detectors.freeze(con) == 0
    assert baselines(con) == before
    assert detectors.freeze(con, before_ns=3 * DAY_NS) == 1
    assert baselines(con).slice(0, 1) == before


def test_no_sessions_make_no_baselines() -> None:
    """Freezing nothing leaves an empty table."""
    con = sessions(("a", 1, 4.0))
    con.execute("DELETE FROM sessions")
    assert detectors.freeze(con) == 0


def test_restored_rows_must_be_baselines() -> None:
    """Rows with other columns are refused with the columns that are expected."""
    with pytest.raises(TracekitError, match="expected the columns"):
        detectors.restore(duckdb.connect(), pa.table({"agent": ["a"]}))


def test_a_dropped_session_is_not_cleared(played: Played) -> None:
    """Where the sampler kept no spans, nothing can be said."""
    con = ledger(played.data)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE sessions AS SELECT * REPLACE (FALSE AS kept) FROM sessions"
    )
    assert {(row[2], row[-1]) for row in detected(con)} == {
        ("not_evaluable", "its spans were not kept")
    }


def test_evidence_is_cut_to_the_earliest() -> None:
    """Of thirty failed calls the first twenty are named, in order of time."""
    keys = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    calls = [span("tool", keys | {"error.type": "Boom"}, start=n, end=n + 1) for n in range(30)]
    rows = detected(ledger(request(calls[::-1])))
    (evidence,) = [row[6] for row in rows if row[1] == "retry_storm"]
    assert evidence.split(",") == [call.span_id.hex() for call in calls[:20]]


def test_one_detector_can_run_alone(played: Played) -> None:
    """Naming detectors runs those, and an unknown name is refused with the known ones."""
    con = ledger(played.data)
    detectors.register(con)
    detectors.run(con, ["retry_storm"])
    assert con.execute("SELECT DISTINCT detector FROM detections").fetchall() == [("retry_storm",)]
    with pytest.raises(UsageError, match="no detector 'storm'; there are: stop_mismatch"):
        detectors.run(con, ["storm"])


def test_every_threshold_is_used_and_says_where_it_is_from() -> None:
    """A number stands in the SQL of its detector; ours are marked as such."""
    for name, detector in specification.load().detectors.items():
        text = specification.text(f"{name}.sql")
        assert all(f"{{{threshold}}}" in text for threshold in detector.thresholds), name
        assert all(number.meaning and number.unit for number in detector.thresholds.values())
    sources = {
        n.source for d in specification.load().detectors.values() for n in d.thresholds.values()
    }
    assert sources == {"S", "E", specification.UNVALIDATED}


def test_a_threshold_nobody_declared_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL with a place that the YAML does not fill is refused with both names."""
    monkeypatch.setattr(specification, "text", lambda _: "SELECT {often}")
    with pytest.raises(TracekitError, match=r"retry_storm\.sql: \{often\} is no threshold"):
        specification.statement.__wrapped__("retry_storm")


def test_sql_that_does_not_run_is_named(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of DuckDB says which detector it is from."""
    con = ledger(played.data)
    detectors.register(con)
    monkeypatch.setattr(specification, "statement", lambda _: "SELECT nothing FROM sessions")
    with pytest.raises(TracekitError, match=r'detector retry_storm: .*"nothing"'):
        detectors.run(con, ["retry_storm"])
