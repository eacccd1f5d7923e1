"""Small parts are merged, old dates dropped, and nothing else is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from lake_build import DAY_S, RECORDED_NS, contents, import_files, imported, new_lake, rows
from otlp_build import span

from tracekit.errors import UsageError
from tracekit.lake import lake as lake_module
from tracekit.schema import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.lake import Lake

LLM = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}


def filled(folder: Path, imports: int) -> Lake:
    """Return a lake of one session per day, import and name, over two days."""
    lake = new_lake(folder / "lake")
    for number in range(imports):
        spans = [
            span(
                "chat",
                LLM | {"tracekit.session.id": f"{day}-{number}"},
                trace=number * 2 + day + 1,
                start=day * DAY_S,
                end=day * DAY_S + 1,
            )
            for day in (0, 1)
        ]
        import_files(lake, folder, {f"f{number}": spans})
    return lake


def test_compaction_keeps_every_row(tmp_path: Path) -> None:
    """One part per date is left, with the same rows, and sessions can still be updated."""
    lake = filled(tmp_path, 3)
    lake.add_outcome("0-1", "success", "verified", "test", recorded_ns=RECORDED_NS)
    before = contents(lake)
    lake.compact()
    assert contents(lake) == before
    dates = [part.date for part in lake.manifest().parts]
    assert sorted(dates) == ["2026-01-01", "2026-01-02", "2026-09-21"]
    assert len(list(lake.path.glob("spans/*/*.parquet"))) == 2
    more = span("chat", LLM | {"tracekit.session.id": "0-1"}, trace=3, start=2, end=3)
    imported(lake, tmp_path, more=[more])
    assert rows(lake, "SELECT spans, outcome FROM sessions WHERE session_id = '0-1'") == [
        (2, "success")
    ]


def test_compacting_a_tidy_lake_changes_nothing(tmp_path: Path) -> None:
    """Without small parts to merge there is no new version."""
    lake = filled(tmp_path, 1)
    version = lake.manifest().version
    lake.compact()
    assert lake.manifest().version == version


def test_many_small_writes_are_merged_on_the_way(tmp_path: Path) -> None:
    """Recording verdicts one by one does not pile up files."""
    lake = new_lake(tmp_path)
    count = lake_module.MANY_PARTS + 3
    for number in range(count):
        lake.add_outcome(f"s{number}", "success", "verified", "test", recorded_ns=RECORDED_NS)
    assert rows(lake, "SELECT count(*) FROM outcomes") == [count]
    assert len(list(lake.path.glob("outcomes/*/*"))) < lake_module.MANY_PARTS


def test_expired_dates_are_gone_and_stay_gone(tmp_path: Path) -> None:
    """Sessions before the date are dropped from every table; importing them again adds nothing."""
    lake = filled(tmp_path, 2)
    lake.expire("2026-01-02")
    assert rows(lake, "SELECT DISTINCT date::VARCHAR FROM spans") == ["2026-01-02"]
    assert rows(lake, "SELECT session_id FROM sessions ORDER BY 1") == ["1-0", "1-1"]
    assert not list(lake.path.glob("*/date=2026-01-01"))
    assert filled(tmp_path, 0).manifest() == lake.manifest()


def test_retention_wants_a_date(tmp_path: Path) -> None:
    """Something else is refused before anything is dropped."""
    lake = new_lake(tmp_path)
    with pytest.raises(UsageError, match="write it YYYY-MM-DD"):
        lake.expire("yesterday")


def test_the_log_stays_short(tmp_path: Path) -> None:
    """Old manifests are removed, the newest ones stay for readers that just looked."""
    lake = new_lake(tmp_path)
    for number in range(14):
        lake.add_outcome(f"s{number}", "success", "verified", "test")
    names = sorted(path.name for path in (lake.path / "_log").glob("*.json"))
    assert len(names) == 10
    assert names[-1] == f"{lake.manifest().version:020}.json"
    assert all(rows(lake, f"SELECT count(*) FROM {table}") for table in TABLES)


def aged(folder: Path) -> None:
    """Make a lake look as if it had been written before a column was added."""
    for path in folder.glob("spans/*/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.drop_columns(["fanout_id"]), path)
    newest = max((folder / "_log").glob("*.json"))
    document = json.loads(newest.read_bytes())
    document["parts"] = [part[:5] for part in document["parts"]]
    newest.write_text(json.dumps(document))


def test_a_lake_from_before_a_column_was_added_is_read_and_written_on(tmp_path: Path) -> None:
    """The column is null in what is old, and there in what is new, before and after compaction."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, old=[span("chat", LLM | {"gen_ai.conversation.id": "a"})])
    aged(tmp_path / "lake")
    assert rows(lake, "SELECT fanout_id FROM spans") == [None]
    late = {"gen_ai.conversation.id": "a", "tracekit.fanout.id": "f"}
    imported(lake, tmp_path, late=[span("chat", LLM | late, start=2, end=3, trace=2)])
    other = LLM | {"gen_ai.conversation.id": "b", "tracekit.fanout.id": "g"}
    imported(lake, tmp_path, other=[span("chat", other, trace=3)])
    wanted = [("a", None), ("a", "f"), ("b", "g")]
    question = "SELECT session_id, fanout_id FROM spans ORDER BY session_id, fanout_id NULLS FIRST"
    assert rows(lake, question) == wanted
    lake.compact()
    assert rows(lake, question) == wanted
