"""Whoever reads the lake sees what processes left in its inbox, whatever happened in between."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from lake_build import contents, imported, new_lake, rows
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_build import request, span

from tracekit import inbox
from tracekit.cli import main
from tracekit.errors import LakeError
from tracekit.instrumentation import runtime
from tracekit.instrumentation.lake_exporter import LakeExporter
from tracekit.lake import Lake
from tracekit.lake import lake as lake_module
from tracekit.lake import take_in as take_in_module
from tracekit.lake.store import write_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

LLM = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
SESSIONS = "SELECT session_id FROM sessions ORDER BY 1"


def call(session: str, start: float = 0) -> Span:
    """Return a model call of a session."""
    key = {"tracekit.session.id": session}
    return span("chat", LLM | key, trace=sum(session.encode()), start=start, end=start + 1)


def leave(root: Path, *spans: Span) -> None:
    """Leave spans in the inbox as a process does."""
    inbox.append(root, request(spans))


def inbox_files(root: Path) -> set[str]:
    return {path.suffix for path in (root / "inbox").iterdir()} - {""}


def opened(root: Path, notes: list[str]) -> Lake:
    return Lake.open(root, wait_s=0.1, tell=notes.append)


@pytest.fixture(autouse=True)
def _counts() -> Iterator[None]:
    runtime.reset_counts()
    yield
    runtime.reset_counts()


def test_a_lake_is_made_where_only_an_inbox_is(tmp_path: Path) -> None:
    """A process wrote before any lake was there: opening makes it, and it has the spans."""
    root = tmp_path / "lake"
    key = inbox.ensure_key(root)
    leave(root, call("a"))
    lake = Lake.open(root)
    assert rows(lake, SESSIONS) == ["a"]
    assert lake.info.fingerprint_key == key


def test_an_inbox_beside_other_files_makes_no_lake(tmp_path: Path) -> None:
    """A folder of other things stays one."""
    leave(tmp_path, call("a"))
    (tmp_path / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(LakeError, match="other files"):
        Lake.open(tmp_path)


def test_every_way_of_reading_sees_new_spans(tmp_path: Path) -> None:
    """Queries, questions and connections of a lake that was opened long before."""
    lake = new_lake(tmp_path)
    leave(tmp_path, call("a"))
    assert rows(lake, SESSIONS) == ["a"]
    leave(tmp_path, call("b"))
    with lake.connect() as con:
        assert con.sql(SESSIONS).fetchall() == [("a",), ("b",)]
    leave(tmp_path, call("c"))
    assert lake.read(lambda con: con.sql("SELECT count(*) FROM spans").fetchall()) == [(3,)]
    assert inbox_files(tmp_path) == set()


def test_taking_in_is_the_same_as_importing(tmp_path: Path) -> None:
    """Spans of the inbox make the rows that the same spans in a file make."""
    spans = [call("a"), call("b"), call("a", 5)]
    left, file = new_lake(tmp_path / "left"), new_lake(tmp_path / "file")
    leave(left.path, spans[0])
    leave(left.path, *spans[1:])
    imported(file, tmp_path, a=spans)
    assert contents(left) == contents(file)


def test_a_session_that_goes_on_is_derived_again(tmp_path: Path) -> None:
    """What has arrived shows at once; what arrives later joins it."""
    lake = new_lake(tmp_path)
    leave(tmp_path, call("a"))
    assert rows(lake, "SELECT llm_calls FROM sessions") == [1]
    leave(tmp_path, call("a", 5))
    assert rows(lake, "SELECT llm_calls FROM sessions") == [2]


def test_a_crash_after_the_commit_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was imported and not deleted is deleted by the next reader, not imported."""
    lake = new_lake(tmp_path)
    leave(tmp_path, call("a"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _fail_on_taken(Path.unlink))
        assert rows(opened(tmp_path, []), SESSIONS) == ["a"]
    assert inbox_files(tmp_path) == {".taken"}
    before = contents(lake)
    assert inbox_files(tmp_path) == set()
    assert before == contents(lake)
    assert rows(lake, "SELECT count(*) FROM spans") == [1]


def _fail_on_taken(unlink: object) -> object:
    def failing(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".taken":
            raise OSError(5, "the machine goes down here")
        unlink(path, missing_ok=missing_ok)  # type: ignore[operator]

    return failing


def test_a_crash_before_the_commit_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were claimed and not imported are imported by the next reader."""
    lake, notes = new_lake(tmp_path), list[str]()
    leave(tmp_path, call("a"))
    with monkeypatch.context() as patch:
        patch.setattr(take_in_module, "_without_deleted", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            rows(opened(tmp_path, notes), SESSIONS)
    assert inbox_files(tmp_path) == {".taken"}
    leave(tmp_path, call("b"))
    assert rows(lake, SESSIONS) == ["a", "b"]


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_was_cut_off_is_told(tmp_path: Path) -> None:
    """The spans before it are there; the note has the number of bytes."""
    notes: list[str] = []
    new_lake(tmp_path)
    leave(tmp_path, call("a"))
    (path,) = (tmp_path / "inbox").glob("*.otlp")
    with path.open("ab") as file:
        file.write(b"\xff\x01\x0a\x10")
    assert rows(opened(tmp_path, notes), SESSIONS) == ["a"]
    assert len(notes) == 1
    assert notes[0].startswith("4 bytes of spans are lost")


def test_a_file_of_nothing_whole_is_deleted(tmp_path: Path) -> None:
    """A process that died in its first write leaves nothing behind but the note."""
    notes: list[str] = []
    new_lake(tmp_path)
    (tmp_path / "inbox" / "1-1.otlp").write_bytes(b"\xff\x01\x0a")
    assert rows(opened(tmp_path, notes), SESSIONS) == []
    assert [note[:7] for note in notes] == ["3 bytes"]
    assert inbox_files(tmp_path) == set()


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """It is kept and named; the spans of other processes are there, and doctor mentions it."""
    notes: list[str] = []
    new_lake(tmp_path)
    leave(tmp_path, call("a"))
    (tmp_path / "inbox" / "1-1.otlp").write_bytes(b"\x03\x0a\x05x")
    lake = opened(tmp_path, notes)
    assert rows(lake, SESSIONS) == ["a"]
    assert len(notes) == 1
    assert ".damaged" in notes[0]
    assert rows(lake, SESSIONS) == ["a"]
    assert len(notes) == 1
    result = CliRunner().invoke(main, ["doctor", "--lake", str(tmp_path)])
    assert "1 damaged files" in result.stdout


def test_a_lake_that_somebody_writes_is_read_as_it_is(tmp_path: Path) -> None:
    """New spans wait, with a note that names the writer; they show when it has ended."""
    lake, notes = new_lake(tmp_path), list[str]()
    leave(tmp_path, call("a"))
    rows(lake, SESSIONS)
    leave(tmp_path, call("b"))
    with write_lock(tmp_path, 0):
        assert rows(opened(tmp_path, notes), SESSIONS) == ["a"]
    assert len(notes) == 1
    assert f"pid {os.getpid()}" in notes[0]
    assert rows(opened(tmp_path, notes), SESSIONS) == ["a", "b"]
    assert len(notes) == 1


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Let this process read a folder and not write it, also where the tests run as root."""
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    for path in root.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)
        for folder in folders:
            folder.chmod(0o755)


def test_a_read_only_lake_is_read_as_it_is() -> None:
    """New spans wait, with a note; nothing fails."""
    root = Path(tempfile.mkdtemp())  # others may enter it, unlike the folders pytest makes
    try:
        notes: list[str] = []
        leave(root, call("a"))
        rows(Lake.open(root), SESSIONS)
        leave(root, call("b"))
        with read_only(root):
            assert rows(opened(root, notes), SESSIONS) == ["a"]
        assert len(notes) == 1
        assert "not shown yet" in notes[0]
        assert rows(opened(root, notes), SESSIONS) == ["a", "b"]
    finally:
        shutil.rmtree(root)


def test_the_list_of_imports_does_not_grow_with_every_look(tmp_path: Path) -> None:
    """Files of the inbox are forgotten once they are gone; other imports are remembered."""
    lake, spans = new_lake(tmp_path / "lake"), [call("a")]
    imported(lake, tmp_path, a=spans)
    for number in range(3):
        leave(lake.path, call("b", number))
        rows(lake, SESSIONS)
    names = sorted(lake.manifest().imports.values())
    assert len(names) == 2
    assert names[1].startswith("inbox/")
    assert imported(lake, tmp_path, a=spans).already == 1


def test_much_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking in an inbox that takes seconds begins with a word on standard error."""
    new_lake(tmp_path)
    leave(tmp_path, call("a"))
    monkeypatch.setattr(lake_module, "MUCH_BYTES", 10)
    result = CliRunner().invoke(main, ["sessions", "--lake", str(tmp_path), "--format", "csv"])
    assert result.exit_code == 0
    assert result.stderr == "Note: taking in 0 MB of new spans\n"
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize("command", ["report", "stops", "cost", "sessions", "doctor"])
def test_commands_make_and_fill_a_lake(tmp_path: Path, command: str) -> None:
    """Commands that read find spans where there is only an inbox, and say nothing about it."""
    leave(tmp_path, call("a"))
    result = CliRunner().invoke(main, [command, "--lake", str(tmp_path), "--format", "json"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(Lake.open(tmp_path), SESSIONS) == ["a"]


def exporting(root: Path) -> tuple[TracerProvider, InMemorySpanExporter]:
    """Return a provider that writes to a lake's inbox, and keeps what it wrote."""
    provider, kept = (
        TracerProvider(resource=Resource({"service.name": "shop"})),
        InMemorySpanExporter(),
    )
    provider.add_span_processor(SimpleSpanProcessor(LakeExporter(root)))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider, kept


def test_exported_spans_are_in_the_lake(tmp_path: Path) -> None:
    """From a tracer to a query, with nothing in between."""
    provider, _ = exporting(tmp_path / "lake")
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("invoke_agent", attributes={"tracekit.session.id": "s"}):
        tracer.start_span("chat", attributes=LLM).end()
    provider.shutdown()
    lake = Lake.open(tmp_path / "lake")
    assert rows(lake, "SELECT session_id, service_name, llm_calls FROM sessions") == [
        ("s", "shop", 1)
    ]
    assert runtime.counts() == {}


def test_spans_that_cannot_be_written_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A path that is no folder loses the batch, says so once, and raises nothing."""
    (tmp_path / "lake").write_text("", encoding="utf-8")
    provider, kept = exporting(tmp_path / "lake")
    with caplog.at_level(logging.WARNING, "tracekit"):
        for _ in range(3):
            provider.get_tracer("app").start_span("step").end()
    assert LakeExporter(tmp_path / "lake").export(kept.get_finished_spans()) is (
        SpanExportResult.FAILURE
    )
    assert runtime.counts() == {"tracekit.drop.export_failed": 6}
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 2


def test_spans_that_find_a_full_inbox_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have a reason of their own."""
    monkeypatch.setattr(inbox, "FILE_BYTES", 10)
    provider, _ = exporting(tmp_path)
    provider.get_tracer("app").start_span("step").end()
    assert runtime.counts() == {"tracekit.drop.inbox_full": 1}


def test_a_fault_of_ours_is_not_the_applications(tmp_path: Path) -> None:
    """Spans that cannot be encoded fail the export, and nothing else."""
    assert LakeExporter(tmp_path).export([None]) is SpanExportResult.FAILURE  # type: ignore[list-item]
    assert runtime.counts() == {
        "tracekit.drop.internal_error": 1,
        "tracekit.drop.export_failed": 1,
    }
