"""The queue of an exporter: bounded, on disk, and at least once, kill -9 or not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from collector_build import PATIENCE, Sink
from hypothesis import given
from hypothesis import strategies as st

from samplers.collector.exporters.bookmark import Bookmark
from samplers.collector.exporters.queue import GIVEN_AT_MOST, Queue, QueueFullError
from samplers.collector.exporters.spool import HEADER_BYTES, Position, Record
from samplers.collector.metrics import Registry
from samplers.collector.receivers.http import HttpServerReceiver
from samplers.collector.settings.exporters import QueueSettings
from samplers.collector.settings.receivers import HttpReceiver
from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def queue(folder: Path, **changes: Any) -> Iterator[Queue]:
    opened = Queue(folder, QueueSettings.model_validate({"segment": 200} | changes))
    with contextlib.closing(opened):
        yield opened


def fill(opened: Queue, *numbers: int) -> None:
    for number in numbers:
        opened.put(content(number), spans=number)


def content(number: int) -> bytes:
    return b"%03d" % number * 20


def drain(opened: Queue) -> list[int]:
    """Take and acknowledge everything that waits, and return the numbers."""
    taken = []
    while opened.waiting:
        record = opened.take()
        assert record is not None
        assert record.request == content(record.spans)
        taken.append(record.spans)
        opened.acknowledge(record)
    return taken


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.queue"))


def test_requests_come_out_in_order_and_files_go(tmp_path: Path) -> None:
    """Requests come out as they went in, over many files, and files are removed behind them."""
    with queue(tmp_path) as opened:
        fill(opened, *range(50))
        assert len(segments(tmp_path)) > 10
        assert drain(opened) == list(range(50))
        assert len(segments(tmp_path)) == 1
        assert opened.wait_empty(0)


def test_unacknowledged_requests_come_again(tmp_path: Path) -> None:
    """What was taken and not acknowledged is given out again by the next process, and only that."""
    with queue(tmp_path) as opened:
        fill(opened, *range(10))
        taken = [opened.take() for _ in range(6)]
        for record in (taken[0], taken[1], taken[4]):
            assert record is not None
            opened.acknowledge(record)
    with queue(tmp_path) as opened:
        assert opened.waiting == 8
        assert drain(opened) == [2, 3, 4, 5, 6, 7, 8, 9]
    with queue(tmp_path) as opened:
        assert opened.waiting == 0


@given(
    st.lists(st.sampled_from(["put", "take", "first", "last", "reopen"]), min_size=1, max_size=60)
)
def test_nothing_is_lost_by_any_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """However puts, takes, acknowledgements and restarts follow: all is acknowledged in the end."""
    folder = tmp_path_factory.mktemp("queue")
    settings = QueueSettings.model_validate({"segment": 200})
    opened, count, done = Queue(folder, settings), 0, set[int]()
    held: list[Record | None] = []
    for step in steps:
        if step == "put":
            fill(opened, count)
            count += 1
        elif step == "take" and opened.waiting > len(held):
            held.append(opened.take())
        elif step in ("first", "last") and held:
            record = held.pop(0 if step == "first" else -1)
            assert record is not None
            opened.acknowledge(record)
            done.add(record.spans)
        elif step == "reopen":
            opened.close()
            opened, held = Queue(folder, settings), []
    opened.close()
    with queue(folder) as last:
        assert set(drain(last)) | done == set(range(count))


def test_full_queue_refuses(tmp_path: Path) -> None:
    """A full queue refuses, keeps what it has, and takes again when something was acknowledged."""
    with queue(tmp_path, quota=1000) as opened:
        with pytest.raises(QueueFullError, match="is the target down"):
            fill(opened, *range(20))
        waiting = opened.waiting
        with pytest.raises(QueueFullError):
            opened.check_room(len(content(0)))
        assert drain(opened) == list(range(waiting))
        opened.check_room(len(content(0)))
        fill(opened, 7)
        assert drain(opened) == [7]
        assert opened.counts.dropped == 0


def test_full_queue_of_one_file_is_reclaimed(tmp_path: Path) -> None:
    """What is acknowledged takes no room, even while its file is the one that is written to."""
    with queue(tmp_path, segment=500, quota=1000) as opened:
        for turn in range(9):
            fill(opened, *range(turn, turn + 6))
            drain(opened)
        opened.put(bytes(900), 1)
        assert opened.size <= 1000


def test_full_queue_drops_the_oldest(tmp_path: Path) -> None:
    """Where it is told so, a full queue drops its oldest requests and counts them."""
    with queue(tmp_path, quota=1000, when_full="drop_oldest") as opened:
        first = opened
        fill(first, 0)
        record = first.take()
        assert record is not None
        fill(opened, *range(1, 40))
        assert opened.size <= 1000
        opened.acknowledge(record)  # dropped meanwhile: no harm
        waiting = opened.waiting
        left = drain(opened)
        assert left == list(range(40 - waiting, 40))
        assert opened.counts.dropped == 40 - waiting
        assert opened.counts.dropped_spans == sum(range(40 - waiting))
        with pytest.raises(QueueFullError):
            opened.put(bytes(2000), 1)


def test_refused_requests_are_kept_aside(tmp_path: Path) -> None:
    """A parked request is in a file of its own, up to a limit, and not given out again."""
    with queue(tmp_path, parked=140) as opened:
        fill(opened, 1, 2, 3)
        for _ in range(3):
            record = opened.take()
            assert record is not None
            opened.park(record)
        assert (opened.counts.parked, opened.counts.parked_spans, opened.counts.unparked) == (
            3,
            6,
            1,
        )
        assert opened.waiting == 0
    sized = b"\0\0\0\x3c"
    assert (tmp_path / "parked.pb").read_bytes() == sized + content(1) + sized + content(2)


@pytest.mark.parametrize("cut", range(1, 76, 5))
def test_half_written_request_is_cut_off(tmp_path: Path, cut: int) -> None:
    """What a crash left half written at the end is gone, and the queue goes on behind the rest."""
    with queue(tmp_path, segment=10_000) as opened:
        fill(opened, 0, 1, 2)
    path = segments(tmp_path)[-1]
    os.truncate(path, path.stat().st_size - cut)
    with queue(tmp_path, segment=10_000) as opened:
        fill(opened, 3)
        assert drain(opened) == [0, 1, 3]


def test_damaged_request_is_passed_over(tmp_path: Path) -> None:
    """A damaged file loses what follows the damage in it, is counted, and holds up nothing."""
    with queue(tmp_path) as opened:
        fill(opened, *range(9))
    damaged = segments(tmp_path)[1]
    data = bytearray(damaged.read_bytes())
    data[HEADER_BYTES + 5] ^= 1
    damaged.write_bytes(data)
    with queue(tmp_path) as opened:
        taken = drain(opened)
        assert opened.counts.corrupt == 1
    assert taken == [0, 1, 2, 6, 7, 8]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A queue that is open is not opened by a second one."""
    with queue(tmp_path), pytest.raises(UsageError, match="another process has it open"):
        Queue(tmp_path, QueueSettings())


def test_take_waits_and_is_woken(tmp_path: Path) -> None:
    """A thread that takes from an empty queue waits for a request, and for the end."""
    taken: list[Any] = []
    first = threading.Event()

    def work() -> None:
        while (record := opened.take()) is not None:
            taken.append(record.spans)
            opened.acknowledge(record)
            first.set()

    with queue(tmp_path) as opened:
        thread = threading.Thread(target=work)
        thread.start()
        fill(opened, 5)
        assert first.wait(PATIENCE)
        opened.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert taken == [5]


def test_one_slow_request_is_not_outrun_for_ever(tmp_path: Path) -> None:
    """Only so many requests are given out past one that is not acknowledged."""
    with queue(tmp_path) as opened:
        fill(opened, *range(GIVEN_AT_MOST + 1))
        first = opened.take()
        assert first is not None
        for _ in range(GIVEN_AT_MOST - 1):
            record = opened.take()
            assert record is not None
            opened.acknowledge(record)
        taken: list[Record | None] = []
        thread = threading.Thread(target=lambda: taken.append(opened.take()))
        thread.start()
        assert taken == []
        opened.acknowledge(first)
        thread.join(PATIENCE)
        assert [record and record.spans for record in taken] == [GIVEN_AT_MOST]


@pytest.mark.parametrize("slot", [0, 1])
def test_torn_bookmark_falls_back(tmp_path: Path, slot: int) -> None:
    """A bookmark of which one write was torn still has the one before or after it."""
    path = tmp_path / "acknowledged"
    bookmark = Bookmark(path)
    bookmark.move(Position(1, 10))
    bookmark.move(Position(1, 20))
    bookmark.close()
    data = bytearray(path.read_bytes())
    data[slot * 28 + 9] ^= 0xFF
    path.write_bytes(data)
    again = Bookmark(path)
    again.close()
    assert again.position == Position(1, 10 if slot == 0 else 20)


def test_bookmark_ahead_of_the_files_is_set_back(tmp_path: Path) -> None:
    """Files that a power cut took do not make later requests count as acknowledged."""
    with queue(tmp_path, segment=10_000) as opened:
        fill(opened, 0, 1, 2)
        drain(opened)
    os.truncate(segments(tmp_path)[0], 0)
    with queue(tmp_path, segment=10_000) as opened:
        fill(opened, 3, 4)
    with queue(tmp_path, segment=10_000) as opened:
        assert drain(opened) == [3, 4]


EXPORTING = """
import sys
from pathlib import Path
from samplers.collector.exporters.fanout import Exporters
from samplers.collector.metrics import Registry
from samplers.collector.settings.exporters import OtlpHttpExporter
settings = OtlpHttpExporter(type="otlp_http", url=sys.argv[2], concurrency=4,
                            queue={"segment": 4000})
exporters = Exporters([settings], Path(sys.argv[1]), Registry())
for number in range(*map(int, sys.argv[3:])):
    exporters.put(b"%06d" % number, 1)
exporters.start()
print("ready", flush=True)
sys.stdin.read()
exporters.stop(drain=60)
"""


def test_killed_exporter_loses_nothing(tmp_path: Path) -> None:
    """Kill -9 in the middle of a queue, and the next process delivers all that is left."""
    sink = Sink()
    server = HttpServerReceiver(HttpReceiver(endpoint="127.0.0.1:0"), sink, Registry())
    server.start()
    url = f"http://127.0.0.1:{server.port}"
    arguments = [sys.executable, "-c", EXPORTING, str(tmp_path), url]
    for turn in range(4):
        process = subprocess.Popen(
            [*arguments, str(turn * 500), str(turn * 500 + 500)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            sink.wait(100 + turn * 150)
            if turn < 3:
                process.kill()
            else:
                process.communicate()
    server.stop(grace=PATIENCE)
    assert {int(body) for body in sink.requests} == set(range(2000))
    assert len(sink.requests) <= 2000 + 3 * GIVEN_AT_MOST  # what was under way may come twice
