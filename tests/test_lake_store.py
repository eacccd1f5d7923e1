"""The folder: what it is, that it changes all at once, and that readers never see half of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.dataset as ds
import pytest
from lake_build import DAY_S, contents, imported, new_lake, rows
from otlp_build import span

from tracekit.errors import LakeError, UsageError
from tracekit.lake import Lake
from tracekit.lake.commit import Commit
from tracekit.lake.store import write_lock
from tracekit.schema import SCHEMA_VERSION, TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

LLM = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}


def sessions(count: int, first: int = 0) -> list[Span]:
    """Return sessions of one span each, on two days."""
    return [
        span(
            "chat",
            LLM | {"tracekit.session.id": f"s{n:03}"},
            trace=n + 1,
            start=n % 2 * DAY_S,
            end=n % 2 * DAY_S + 1,
        )
        for n in range(first, first + count)
    ]


SESSIONS = sessions(8)


def part_files(lake: Lake) -> set[str]:
    return {str(path) for path in lake.path.glob("*/date=*/*") if path.is_file()}


def live_files(lake: Lake) -> set[str]:
    manifest = lake.manifest()
    return {path for table in TABLES for path in manifest.paths(lake.path, table)}


def test_an_absent_lake_tells_how_to_make_one(tmp_path: Path) -> None:
    """The message names the folder, the command, the option and the variable."""
    with pytest.raises(LakeError, match=r"tracekit import --lake .* --lake or TRACEKIT_LAKE"):
        Lake.open(tmp_path / "none")


def test_a_folder_with_other_files_is_no_lake(tmp_path: Path) -> None:
    """Neither reading nor making one there is allowed; nothing is left behind."""
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    for create in (False, True):
        with pytest.raises(LakeError, match="other files, not a lake"):
            Lake.open(tmp_path, create=create)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_lake(tmp_path: Path) -> None:
    """A path to a file says so."""
    path = tmp_path / "file"
    path.write_text("", encoding="utf-8")
    with pytest.raises(LakeError, match="a file, not a lake"):
        Lake.open(path)
    with pytest.raises(LakeError, match="cannot make a lake here"):
        Lake.open(path, create=True)


def test_a_lake_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """The message names both versions and the way to upgrade."""
    new_lake(tmp_path)
    path = tmp_path / "lake.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(info | {"schema_version": SCHEMA_VERSION + 1}), encoding="utf-8")
    for create in (False, True):
        with pytest.raises(
            LakeError, match=rf"version {SCHEMA_VERSION + 1} .*pip install --upgrade"
        ):
            Lake.open(tmp_path, create=create)


def test_opening_again_keeps_the_key(tmp_path: Path) -> None:
    """`create` makes a lake only where there is none."""
    assert new_lake(tmp_path).info == Lake.open(tmp_path, create=True).info


def test_an_empty_lake_has_typed_views(tmp_path: Path) -> None:
    """Questions about an empty lake have empty answers of the same types as any others."""
    lake, full = new_lake(tmp_path / "lake"), new_lake(tmp_path / "full")
    imported(full, tmp_path, a=sessions(1))
    for table in TABLES:
        assert rows(lake, f"SELECT count(*) FROM {table}") == [0]
        columns = f"SELECT column_name, column_type FROM (DESCRIBE {table})"
        assert rows(lake, columns) == rows(full, columns)


def test_views_have_the_promised_columns(tmp_path: Path) -> None:
    """Every declared column, and the times and outcomes that views add."""
    lake = new_lake(tmp_path)
    for table, columns in TABLES.items():
        names = rows(lake, f"SELECT column_name FROM (DESCRIBE {table})")
        declared = [column.name for column in columns]
        assert names[: len(declared)] == declared
        added = {
            "sessions": [
                *("started_at", "ended_at", "decided_at", "overruled_at"),
                *("date", "outcome", "outcome_source"),
            ],
            "tasks": ["started_at", "ended_at", "date", "outcome", "outcome_source"],
            "spans": ["started_at", "ended_at", "date"],
            "attempts": ["started_at", "date"],
            "outcomes": ["decided_at", "recorded_at", "date"],
            "detections": ["date"],
            "baselines": ["date"],
        }
        assert names[len(declared) :] == added[table]


def test_other_engines_read_the_files_as_they_lie(tmp_path: Path) -> None:
    """A Hive-partitioned dataset over a table's folder has each row once, symbols as text."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, a=SESSIONS[:6])
    imported(lake, tmp_path, b=SESSIONS[4:])
    found = ds.dataset(lake.path / "spans", partitioning="hive").to_table(
        columns=["session_id", "operation", "date"]
    )
    assert sorted(found["session_id"].to_pylist()) == sorted(f"s{n:03}" for n in range(8))
    assert set(found["operation"].to_pylist()) == {"llm"}
    assert set(found["date"].to_pylist()) == {"2026-01-01", "2026-01-02"}
    assert part_files(lake) == live_files(lake)


def test_a_session_lies_together(tmp_path: Path) -> None:
    """Rows are sorted by session and time in every file, also after an update."""
    lake = new_lake(tmp_path / "lake")
    spans = [
        span("x", {"tracekit.session.id": f"s{n % 3}"}, trace=n % 3 + 1, start=n, end=n + 1)
        for n in range(12)
    ]
    imported(lake, tmp_path, a=spans[6:])
    imported(lake, tmp_path, b=spans[:6])
    (path,) = lake.manifest().paths(lake.path, "spans")
    found = duckdb.read_parquet(path).project("session_id, start_ns").fetchall()
    assert len(found) == 12
    assert found == sorted(found)


def test_a_statement_can_read_the_lake_and_nothing_else(tmp_path: Path) -> None:
    """Other files, settings and writes are out of reach of a query and of the connection."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, a=sessions(1))
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n", encoding="utf-8")
    for sql in (f"SELECT * FROM '{secret}'", f"SELECT * FROM read_text('{secret}')"):
        with pytest.raises(UsageError, match="Permission"):
            lake.query(sql)
    for sql in (f"COPY spans TO '{tmp_path}/x'", "SET threads = 1", "SELECT 1; SELECT 2", ""):
        with pytest.raises(UsageError, match="one SELECT"):
            lake.query(sql)
    with lake.connect() as con, pytest.raises(duckdb.Error, match="configuration"):
        con.execute("SET enable_external_access = true")
    with pytest.raises(UsageError, match="no_such_column"):
        lake.query("SELECT no_such_column FROM spans")


def test_a_query_may_describe_and_explain(tmp_path: Path) -> None:
    """What only looks is allowed."""
    lake = new_lake(tmp_path)
    assert lake.query("DESCRIBE sessions").num_rows > 50
    assert lake.query("EXPLAIN SELECT 1").num_rows == 1


def test_a_crash_before_the_manifest_leaves_the_old_state(tmp_path: Path) -> None:
    """Files written and even renamed are invisible without a manifest; the next writer sweeps."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, a=sessions(3))
    before = contents(lake)
    for is_placed in (False, True):
        commit = Commit(lake.path, lake.manifest())
        with duckdb.connect() as con:
            commit.write(con, "sessions", "SELECT '2026-01-01' AS date, 'half' AS session_id")
        if is_placed:
            commit.place()
        assert contents(lake) == before
    assert len(part_files(lake) - live_files(lake)) == 2
    lake.add_outcome("s001", "success", "verified", "test")
    assert part_files(lake) == live_files(lake)


def test_a_crash_after_the_manifest_leaves_the_new_state(tmp_path: Path) -> None:
    """Superseded files that were not removed are invisible, and swept by the next writer."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, a=sessions(3))
    old = {path: Path(path).read_bytes() for path in live_files(lake)}
    imported(lake, tmp_path, b=sessions(1))
    after = contents(lake)
    for path, data in old.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
    assert contents(lake) == after
    lake.add_outcome("s001", "success", "verified", "test")
    assert part_files(lake) == live_files(lake)


_KILLED = """
import sys
from pathlib import Path
from lake_build import imported, new_lake
from test_lake_store import sessions

folder = Path(sys.argv[1])
lake = new_lake(folder / "lake")
for number in range(1000):
    imported(lake, folder / "in", f=sessions(4, first=number * 3))
    print(number, flush=True)
"""


@pytest.mark.parametrize("after", [0, 2])
def test_a_killed_writer_leaves_whole_imports(tmp_path: Path, after: int) -> None:
    """SIGKILL at any time: every session of the imports so far is there, and writing goes on."""
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == after:
                break
        writer.send_signal(signal.SIGKILL)
    lake = Lake.open(tmp_path / "lake")
    found = rows(lake, "SELECT session_id FROM sessions ORDER BY 1")
    assert found == [f"s{n:03}" for n in range(len(found))]
    assert len(found) >= 4 + 3 * after
    assert (len(found) - 4) % 3 == 0
    imported(lake, tmp_path, f=sessions(4, first=len(found) - 1))
    assert rows(lake, "SELECT count(*) FROM sessions") == [len(found) + 3]
    assert part_files(lake) == live_files(lake)


def test_a_reader_sees_whole_states_while_a_writer_commits(tmp_path: Path) -> None:
    """Each answer is of one version: sessions, spans and tasks agree, and never go back."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, f=sessions(2))
    seen: list[tuple[int, int, int]] = []
    finished = threading.Event()
    started = threading.Event()

    def read() -> None:
        while not finished.is_set():
            counted = rows(
                lake,
                "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM tasks), "
                "(SELECT count(DISTINCT session_id) FROM spans)",
            )
            seen.extend(counted)
            started.set()

    reader = threading.Thread(target=read)
    reader.start()
    started.wait(30)
    for number in range(1, 8):  # each touches a session of the one before: files are replaced
        imported(lake, tmp_path, f=sessions(2, first=number))
    finished.set()
    reader.join()
    assert all(len(set(counts)) == 1 for counts in seen)
    assert seen == sorted(seen)
    assert seen[-1][0] >= 2


def test_a_connection_says_when_its_version_is_gone(tmp_path: Path) -> None:
    """A connection shows one version; `read` moves on to the next, and tells damage apart."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, f=sessions(2))
    with lake.connect() as con:
        imported(lake, tmp_path, g=sessions(2))
        with pytest.raises(duckdb.Error):
            con.sql("SELECT * FROM sessions").fetchall()
    assert rows(lake, "SELECT count(*) FROM sessions") == [2]
    for path in live_files(lake):
        Path(path).unlink()
    with pytest.raises(LakeError, match="damaged"):
        rows(lake, "SELECT count(*) FROM sessions")


def test_writers_take_turns(tmp_path: Path) -> None:
    """A second writer waits, then says who is at work; readers are not held up."""
    lake = new_lake(tmp_path / "lake")
    with write_lock(lake.path, 0):
        with pytest.raises(LakeError, match=rf"pid {os.getpid()}\) is writing"):
            lake.add_outcome("s1", "success", "verified", "test")
        assert rows(lake, "SELECT count(*) FROM sessions") == [0]
    lake.add_outcome("s1", "success", "verified", "test")


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    """Verdicts recorded from several threads at once are all there."""
    lake = Lake.open(tmp_path / "lake", create=True, wait_s=60)

    def record(names: Sequence[str]) -> None:
        for name in names:
            Lake.open(lake.path, wait_s=60).add_outcome(name, "success", "verified", "test")

    groups = [[f"s{group}{n}" for n in range(5)] for group in range(4)]
    threads = [threading.Thread(target=record, args=(names,)) for names in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rows(lake, "SELECT session_id FROM outcomes ORDER BY 1")
    assert found == sorted(name for names in groups for name in names)


def test_a_read_only_lake_can_be_read(tmp_path: Path) -> None:
    """Reading writes nothing into the folder."""
    lake = new_lake(tmp_path / "lake")
    imported(lake, tmp_path, a=sessions(2))
    before = sorted(lake.path.rglob("*"))
    assert rows(Lake.open(lake.path), "SELECT count(*) FROM spans") == [2]
    assert sorted(lake.path.rglob("*")) == before
