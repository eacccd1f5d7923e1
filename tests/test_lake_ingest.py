"""Import: what goes into the lake, once, whole, and the same whatever the order of files."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_build import DAY_S, RECORDED_NS, contents, import_files, imported, new_lake, rows, written
from otlp_build import request, span

from tracekit import lake as lake_package
from tracekit import models
from tracekit.importers.detect import open_sources
from tracekit.lake.columns import REWRITTEN, received_columns
from tracekit.otlp.scan import scan
from tracekit.schema import DERIVED, SPAN_COLUMNS, TABLES

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

LLM = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.response.finish_reasons": ["stop"],
}


def keyed(key: str, **more: Any) -> dict[str, Any]:
    return LLM | {"gen_ai.conversation.id": key} | more


def test_spans_become_rows_of_every_table(tmp_path: Path) -> None:
    """One import fills spans, attempts, tasks and sessions, and says how much it was."""
    lake = new_lake(tmp_path / "lake")
    summary = imported(
        lake, tmp_path, a=[span("chat", keyed("s1")), span("chat", keyed("s2"), trace=2)]
    )
    assert (summary.files, summary.spans, summary.sessions, summary.failed) == (1, 2, 2, ())
    counts = {table: rows(lake, f"SELECT count(*) FROM {table}")[0] for table in DERIVED}
    assert counts == {"spans": 2, "attempts": 2, "tasks": 2, "sessions": 2, "outcomes": 0}
    assert set(summary.seconds) == {"read", "scan", "inspect", "models", "write", "total"}


def test_importing_again_changes_nothing(tmp_path: Path) -> None:
    """The same content is known by its digest, whatever its name, and leaves the lake as it is."""
    lake = new_lake(tmp_path / "lake")
    spans = [span("chat", keyed("s1"))]
    imported(lake, tmp_path, a=spans)
    version = lake.manifest().version
    summary = imported(lake, tmp_path, a=spans, renamed=spans)
    assert (summary.files, summary.already) == (0, 2)
    assert lake.manifest().version == version


def test_a_file_given_twice_in_one_import_counts_once(tmp_path: Path) -> None:
    """Two paths to the same content are one import."""
    lake = new_lake(tmp_path / "lake")
    spans = [span("chat", keyed("s1"))]
    summary = imported(lake, tmp_path, a=spans, b=spans)
    assert (summary.files, summary.already, summary.spans) == (1, 1, 1)


def test_a_span_exported_twice_counts_once(tmp_path: Path) -> None:
    """Overlapping exports, as client retries make them, leave one row per span."""
    lake = new_lake(tmp_path / "lake")
    first, second = span("chat", keyed("s1")), span("chat", keyed("s1"), start=2, end=3)
    imported(lake, tmp_path, a=[first], b=[first, second])
    imported(lake, tmp_path, c=[second])
    assert rows(lake, "SELECT spans, llm_calls, input_tokens FROM sessions") == [(2, 2, 2000)]


def test_a_session_spread_over_imports_is_one_session(tmp_path: Path) -> None:
    """Spans of a session that arrive another day join it, in the part of its first day."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, day1=[span("chat", keyed("s1")), span("x", keyed("other"), trace=9)])
    later = span("chat", keyed("s1"), trace=2, start=DAY_S, end=DAY_S + 1)
    summary = imported(lake, tmp_path, day2=[later])
    assert (summary.sessions, summary.updated) == (0, 1)
    assert rows(
        lake, "SELECT session_id, traces, spans, date::VARCHAR FROM sessions ORDER BY 1"
    ) == [
        ("other", 1, 1, "2026-01-01"),
        ("s1", 2, 2, "2026-01-01"),
    ]
    assert rows(lake, "SELECT DISTINCT date::VARCHAR FROM spans") == ["2026-01-01"]


def test_an_earlier_span_moves_its_session_to_its_date(tmp_path: Path) -> None:
    """A session lies in the partition of its first span, also when that comes last."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, late=[span("chat", keyed("s1"), start=DAY_S, end=DAY_S + 1)])
    imported(lake, tmp_path, early=[span("chat", keyed("s1"), trace=2)])
    found = rows(lake, "SELECT DISTINCT date::VARCHAR FROM spans")
    assert found == ["2026-01-01"]
    assert not list((tmp_path / "lake").glob("*/date=2026-01-02"))


def test_a_session_key_that_arrives_late_names_its_whole_trace(tmp_path: Path) -> None:
    """Children are exported before their parent, which alone may know the session and the task."""
    lake = new_lake(tmp_path / "lake")
    root = span("agent", {"tracekit.session.id": "s1", "tracekit.task.id": "t1"}, end=9)
    child = span("chat", LLM, parent=root, start=1, end=2)
    imported(lake, tmp_path, child=[child])
    assert rows(lake, "SELECT session_id FROM sessions") == ["00000000000000000000000000000001"]
    imported(lake, tmp_path, root=[root])
    assert rows(lake, "SELECT session_id, spans FROM sessions") == [("s1", 2)]
    assert rows(lake, "SELECT session_id, task_id, llm_calls FROM tasks") == [("s1", "t1", 1)]


def test_sessions_that_the_import_does_not_touch_stay_as_they_are(tmp_path: Path) -> None:
    """Rewriting a part keeps the rows of its other sessions, costs and all."""
    lake = new_lake(tmp_path / "lake")
    spans = [span("chat", keyed(f"s{n}"), trace=n + 1, start=n, end=n + 1) for n in range(20)]
    imported(lake, tmp_path, a=spans)
    before = contents(lake)
    imported(lake, tmp_path, b=[span("chat", keyed("s3"), trace=4, start=5, end=6)])
    after = contents(lake)
    assert len(set(before["sessions"]) & set(after["sessions"])) == 19
    assert len(set(before["spans"]) & set(after["spans"])) == 20


def test_a_bad_file_leaves_the_rest(tmp_path: Path) -> None:
    """A file that cannot be read to its end contributes nothing, is named, and may be retried."""
    good = written(tmp_path, "good", [span("chat", keyed("s1"))])
    bad = tmp_path / "bad.jsonl"
    line = (
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000002",'
        b'"spanId":"0000000000000001","name":"x","startTimeUnixNano":"1","endTimeUnixNano":"2"'
        b"}]}]}]}"
    )
    bad.write_bytes(line + b"\n" + line[:70])
    lake = new_lake(tmp_path / "lake")
    summary = lake.ingest(open_sources([str(bad), good, str(tmp_path / "absent.pb")]))
    assert summary.files == 1
    assert [failed.name for failed in summary.failed] == [str(bad), str(tmp_path / "absent.pb")]
    assert rows(lake, "SELECT session_id FROM sessions") == ["s1"]
    bad.write_bytes(line + b"\n")
    assert lake.ingest(open_sources([str(bad)])).files == 1


def test_what_is_no_recording_is_skipped_and_not_remembered(tmp_path: Path) -> None:
    """A stray file in a folder is named with its reason, every time."""
    folder = tmp_path / "recordings"
    written(folder, "good", [span("chat", keyed("s1"))])
    (folder / "notes.txt").write_text("nothing here", encoding="utf-8")
    lake = new_lake(tmp_path / "lake")
    for files in (1, 0):
        summary = lake.ingest(open_sources([str(folder)]))
        assert summary.files == files
        assert [item.count for item in summary.skipped] == [1]


def test_progress_names_what_happens_to_each_source(tmp_path: Path) -> None:
    """Reading, imported, already there, failed: the callback hears of all of them."""
    lake = new_lake(tmp_path / "lake")
    path = written(tmp_path, "a", [span("chat", keyed("s1"))])
    heard: list[lake_package.Progress] = []
    lake.ingest(open_sources([path, str(tmp_path / "absent")]), progress=heard.append)
    lake.ingest(open_sources([path]), progress=heard.append)
    states = sorted((step.state, Path(step.source).name) for step in heard)
    assert states == [
        ("already", "a.pb"),
        ("failed", "absent"),
        ("imported", "a.pb"),
        ("reading", "a.pb"),
    ]


def test_values_nobody_knows_are_counted(tmp_path: Path) -> None:
    """A stop value outside every map is in the summary, with the number of its spans."""
    lake = new_lake(tmp_path / "lake")
    odd = keyed("s1") | {"gen_ai.response.finish_reasons": ["tired"]}
    summary = imported(lake, tmp_path, a=[span("chat", odd), span("chat", odd, start=2, end=3)])
    assert summary.unmapped_stops == {"tired": 2}


def test_fingerprints_differ_between_lakes(tmp_path: Path) -> None:
    """Arguments of tools are keyed per lake, so that two lakes cannot be matched by content."""
    call = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.arguments": '{"a": 1}'}
    found = []
    for name in ("one", "two"):
        lake = new_lake(tmp_path / name)
        imported(lake, tmp_path, a=[span("tool", call), span("tool", call, start=2, end=3)])
        found.append(rows(lake, "SELECT DISTINCT tool_args_hash FROM spans"))
    assert len(found[0]) == len(found[1]) == 1
    assert found[0] != found[1]


def test_verdicts_in_spans_keep_the_time_they_were_first_known(tmp_path: Path) -> None:
    """Deriving a session again does not make its verdicts look new."""
    verdict = {"gen_ai.evaluation.name": "tests", "gen_ai.evaluation.score.label": "pass"}
    root = span("agent", keyed("s1"), [("gen_ai.evaluation.result", verdict)], end=9)
    lake = new_lake(tmp_path / "lake")
    assert imported(lake, tmp_path, root=[root]).outcomes == 1
    more = span("chat", LLM, parent=root, start=1, end=2)
    assert import_files(lake, tmp_path, {"more": [more]}, RECORDED_NS + 5).outcomes == 0
    assert rows(lake, "SELECT outcome, recorded_ns FROM outcomes") == [("success", RECORDED_NS)]


def test_models_change_no_scanned_column_that_the_lake_does_not_keep() -> None:
    """What `spans` says of a scanned column is what was scanned, but for the columns kept twice."""
    root = span("invoke_agent support", keyed("s1") | {"gen_ai.operation.name": "invoke_agent"})
    entity = {"traceloop.entity.name": "plan", "tracekit.task.id": "t1"}
    kinds = ("workflow", "task", "agent", "tool")
    below = [span(k, entity | {"traceloop.span.kind": k}, parent=root) for k in kinds]
    failed = span("chat", keyed("s1", **{"error.type": "timeout"}), parent=root, status="error")
    scanned = scan(request([root, *below, failed])).table
    con = duckdb.connect()
    models.run(con, scanned, recorded_ns=RECORDED_NS)
    public = {column.name for column in TABLES["spans"]}
    same = [
        column.name
        for column in received_columns()
        if column.name in public and column.name not in REWRITTEN
    ]
    names = ", ".join(same)
    con.register("before", scanned)
    changed = f"(SELECT {names} FROM spans) EXCEPT ALL (SELECT {names} FROM before)"
    assert con.execute(changed).fetchall() == []
    assert {column.name for column in SPAN_COLUMNS if not column.internal} >= set(REWRITTEN)


# Small worlds in which everything meets everything: traces with several sessions, sessions over
# several traces, calls that overlap, tasks declared by late parents, repeated spans.
_span_facts = st.fixed_dictionaries(
    {
        "trace": st.integers(1, 3),
        "parent": st.integers(0, 4),
        "key": st.sampled_from([None, None, "s1", "s2"]),
        "task": st.sampled_from([None, None, "t1", "t2"]),
        "kind": st.sampled_from(["chat", "chat", "execute_tool", "invoke_agent", "entity"]),
        "start": st.integers(0, 3),
        "length": st.integers(0, 3),
        "day": st.integers(0, 1),
        "failed": st.booleans(),
        "response": st.sampled_from([None, "r1", "r2"]),
        "agent": st.sampled_from([None, "a1", "a2"]),
        "verdict": st.sampled_from([None, None, None, "pass", "fail"]),
        "done": st.sampled_from([None, None, None, "ok", "infeasible"]),
        "cost": st.sampled_from([None, 0.25]),
    }
)


def _made(number: int, facts: dict[str, Any]) -> Span:
    kind = facts["kind"]
    attributes = dict(LLM) if kind == "chat" else {}
    if kind == "entity":
        attributes |= {"traceloop.span.kind": "task", "traceloop.entity.name": "plan"}
    else:
        attributes["gen_ai.operation.name"] = kind
    optional = {
        "gen_ai.conversation.id": facts["key"],
        "tracekit.task.id": facts["task"],
        "gen_ai.agent.name": facts["agent"],
        "gen_ai.response.id": facts["response"],
        "tracekit.cost.reported_usd": facts["cost"],
        "tracekit.done.status": facts["done"],
        "error.type": "timeout" if facts["failed"] else None,
    }
    attributes |= {key: value for key, value in optional.items() if value is not None}
    start = facts["start"] + facts["day"] * DAY_S
    event = {"gen_ai.evaluation.name": "e", "gen_ai.evaluation.score.label": facts["verdict"]}
    return span(
        kind,
        attributes,
        [("gen_ai.evaluation.result", event)] if facts["verdict"] else [],
        parent=facts["parent"].to_bytes(8, "big") if facts["parent"] else None,
        start=start,
        end=start + facts["length"],
        trace=facts["trace"],
        span_id=number,
        status="error" if facts["failed"] else "unset",
    )


@st.composite
def _exports(draw: st.DrawFn) -> tuple[list[Span], list[list[Span]]]:
    """Draw spans, and the files they are exported to: any order, any grouping, some repeated."""
    facts = draw(st.lists(_span_facts, min_size=2, max_size=7))
    spans = [_made(number, each) for number, each in enumerate(facts, 1)]
    order = draw(st.permutations([*spans, *draw(st.lists(st.sampled_from(spans), max_size=2))]))
    cuts = sorted(draw(st.sets(st.integers(1, len(order) - 1), min_size=1, max_size=2)))
    return spans, [order[start:end] for start, end in pairwise([0, *cuts, len(order)])]


def _assert_order_is_nothing(exported: tuple[list[Span], list[list[Span]]]) -> None:
    spans, files = exported
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, pieces = new_lake(folder / "whole"), new_lake(folder / "pieces")
        imported(whole, folder, all=spans)
        for number, file in enumerate(files):
            import_files(pieces, folder, {f"file{number}": file})
        assert contents(pieces) == contents(whole)


@settings(max_examples=2, deadline=None)
@given(_exports())
def test_order_and_grouping_of_files_change_nothing(
    exported: tuple[list[Span], list[list[Span]]],
) -> None:
    """A lake is a function of the set of its spans: importing A and B is importing A, then B."""
    _assert_order_is_nothing(exported)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(_exports())
def test_order_and_grouping_of_files_change_nothing_at_length(
    exported: tuple[list[Span], list[list[Span]]],
) -> None:
    """The same, with many more worlds."""
    _assert_order_is_nothing(exported)
