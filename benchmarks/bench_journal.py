"""The journal against bare writes and reads of the same bytes: appending, recovering, finding."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import generate
import measure

from samplers.decision import DecisionRecord
from samplers.decisions import DecisionLog
from samplers.journal import Journal, JournalSettings
from samplers.moving import find_spans
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from samplers.settings import Fsync

MIB = 1 << 20
WRITTEN = 512 * MIB
SMALL = 20_000
SESSIONS = 20_000
ROUNDS = 5

PWRITE = "pwrite to files of 64 MiB"
SMALL_PWRITE = "the same, 20 KB each"
READ = "read the files"
SCAN = "scan requests in memory"
WRITE_LOG = "pwrite of the decision log"


@contextmanager
def opened(folder: Path, fsync: Fsync = "never") -> Iterator[Journal]:
    """Open a journal; what it did not sync by itself is not synced at the end either."""
    journal = Journal(folder, JournalSettings(quota_bytes=1 << 36, fsync=fsync)).start()
    yield journal
    journal.syncer.sync = lambda: None  # type: ignore[method-assign]
    journal.close()


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """Lend a folder that is not there yet; it is removed at the end, as part of the time."""
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def bare(folder: Path, requests: Sequence[bytes]) -> None:
    """Write requests behind one another, in files of the size of a segment."""
    with emptied(folder):
        at, number, descriptor = 64 * MIB, 0, -1
        for request in requests:
            if at >= 64 * MIB:
                if descriptor >= 0:
                    os.close(descriptor)
                at, number = 0, number + 1
                descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o600)
            at += os.pwrite(descriptor, request, at)
        os.close(descriptor)


def append(folder: Path, requests: Sequence[bytes], fsync: Fsync, threads: int = 1) -> None:
    """Append requests, from several threads at once."""

    def write(part: Sequence[bytes]) -> None:
        for request in part:
            journal.ingested(journal.append(request, 1, spans=1))

    with emptied(folder), opened(folder, fsync) as journal, ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, [requests[n::threads] for n in range(threads)]))


def read_files(folder: Path) -> None:
    """Read every file, in pieces."""
    buffer = bytearray(MIB)
    for path in folder.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def recover(folder: Path, *, scanned: bool) -> None:
    """Recover a journal, and scan what it yields."""
    with opened(folder) as journal:
        for record in journal.recover():
            if scanned:
                scan(record.request)


def find(folder: Path, trace: bytes) -> None:
    """Recover a journal and look for a trace in all of it."""
    with opened(folder) as journal:
        for _ in journal.recover():
            pass
        assert find_spans(journal, journal.segments(), [trace])


def batches() -> list[list[DecisionRecord]]:
    """Return decisions, 500 a batch, one in ten kept."""
    return [
        [_decision(number) for number in range(start, start + 500)]
        for start in range(0, SESSIONS, 500)
    ]


def _decision(number: int) -> DecisionRecord:
    return DecisionRecord(
        session=number << 64 | number,
        keep=number % 10 == 0,
        threshold=0xE6666666666668,
        policy="keep-anomalies",
        rule="baseline",
        stratum="support|gpt-5|completed",
        probability=0.1,
        trigger="root_ended",
        reasons=("baseline",),
        decided_ns=generate.EPOCH_NS,
        spans=50,
        segments=(number // 2000,),
        traces=(number.to_bytes(16, "big"),),
        targets=("out",) if number % 10 == 0 else (),
    )


def decide(folder: Path, decisions: list[list[DecisionRecord]]) -> None:
    """Put decisions on record."""
    with opened(folder) as journal:
        log = DecisionLog(folder, journal.syncer, journal.settings)
        for batch in decisions:
            log.decide(batch)


def decide_anew(folder: Path, decisions: list[list[DecisionRecord]]) -> None:
    """Put decisions on record in a new log."""
    with emptied(folder):
        decide(folder, decisions)


def replay(folder: Path) -> None:
    """Read a log after a restart."""
    with opened(folder) as journal:
        log = DecisionLog(folder, journal.syncer, journal.settings)
        assert log.state()["sessions"] == SESSIONS


def lines(
    seconds: dict[str, list[float]], amount: dict[str, tuple[float, str]], rival: str
) -> list[measure.Result]:
    """Return results with their ratio to one of them."""
    return [
        measure.Result(
            name,
            statistics.median(times),
            f"{amount[name][0] / statistics.median(times):,.2f} {amount[name][1]}",
            "" if name == rival else f"{measure.ratio_of(seconds[rival], times):.2f}x {rival}",
        )
        for name, times in seconds.items()
    ]


def appending(folder: Path, requests: list[bytes]) -> list[measure.Result]:
    """Measure appends of whole requests and of small ones."""
    new, results = folder / "new", []
    small = [request[:SMALL] for request in requests for _ in range(len(request) // SMALL)]
    for some, rival in ((requests, PWRITE), (small, SMALL_PWRITE)):
        about = "" if some is requests else ", 20 KB each"
        rivals = {
            rival: partial(bare, new, some),
            f"append{about}": partial(append, new, some, "never"),
            f"append, fsync every 100 ms{about}": partial(append, new, some, "interval"),
            f"append, 2 threads{about}": partial(append, new, some, "never", 2),
        }
        if some is requests:
            rivals["append, group commit, 8 threads"] = partial(append, new, some, "always", 8)
        amount = sum(map(len, some)) / 1e9
        seconds = measure.interleave(rivals, ROUNDS)
        results += lines(seconds, dict.fromkeys(rivals, (amount, "GB/s")), rival)
    return results


def recovering(folder: Path, requests: list[bytes]) -> list[measure.Result]:
    """Measure a restart, and the search for a session, over half a gigabyte."""
    kept = folder / "kept"
    with opened(kept) as journal:
        for request in requests:
            journal.append(request, 1, spans=generate.SPANS_PER_REQUEST)
    trace = scan(requests[0]).trace_ids[0].tobytes()
    rivals: dict[str, Callable[[], object]] = {
        READ: partial(read_files, kept),
        "recover": partial(recover, kept, scanned=False),
        SCAN: lambda: [scan(request) and None for request in requests],
        "recover and scan": partial(recover, kept, scanned=True),
        "recover and find a session": partial(find, kept, trace),
    }
    amount = sum(map(len, requests)) / 1e9
    seconds = measure.interleave(rivals, ROUNDS)
    return lines(seconds, dict.fromkeys(rivals, (amount, "GB/s")), READ)


def deciding(folder: Path) -> list[measure.Result]:
    """Measure the decision log."""
    decisions = batches()
    decide(folder / "log", decisions)
    written = [path.read_bytes() for path in (folder / "log").glob("*.decisions")]
    rivals = {
        WRITE_LOG: partial(bare, folder / "new", written),
        "decide, 500 a batch": partial(decide_anew, folder / "new", decisions),
        "replay of the decision log": partial(replay, folder / "log"),
    }
    seconds = measure.interleave(rivals, ROUNDS)
    return lines(seconds, dict.fromkeys(rivals, (SESSIONS / 1e6, "M sessions/s")), WRITE_LOG)


def run() -> list[measure.Result]:
    """Measure all of it in a temporary folder."""
    some = generate.requests(16)
    requests = some * (WRITTEN // sum(map(len, some)))
    with tempfile.TemporaryDirectory(prefix="bench-journal-") as name:
        folder = Path(name)
        return [
            *appending(folder, requests),
            *recovering(folder, requests),
            *deciding(folder),
        ]


if __name__ == "__main__":
    measure.show(run())
