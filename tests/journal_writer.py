"""A process that appends and decides until it is killed, and says what was acknowledged.

    python journal_writer.py FOLDER ROUND

Each line of its output is an acknowledgement: `record SEQUENCE CHECKSUM`, `decided SESSION KEEP`
or `exported SESSION`. Lines are written after the call returned.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import zlib
from pathlib import Path

from journal_build import decision, settings

from samplers.decisions import DecisionLog
from samplers.journal import Journal


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def payload(thread: int, number: int, turn: int) -> bytes:
    seed = hashlib.sha256(b"%d %d %d" % (thread, number, turn)).digest()
    return seed * (1 + seed[0] % 64)


def append_forever(journal: Journal, thread: int, turn: int) -> None:
    number = 0
    while True:
        number += 1
        request = payload(thread, number, turn)
        at = journal.append(request, number, spans=1)
        say("record", at.sequence, zlib.crc32(request))


def decide_forever(log: DecisionLog, turn: int) -> None:
    session = 0
    while True:
        batch = [decision(session + n, keep=(session + n + turn) % 2 == 0) for n in range(5)]
        session += 5
        for one in log.decide(batch):
            say("decided", one.session, int(one.keep))
            if one.keep:
                log.exported("out", {one.session: 0})
                say("exported", one.session)


def main(folder: Path, turn: int) -> None:
    """Go on with what is in the folder."""
    shape = settings(segment_bytes=65_536, quota_bytes=1 << 30, lanes=2, log_bytes=16_384)
    journal = Journal(folder, shape)
    for _ in journal.recover():
        pass
    log = DecisionLog(folder, journal.syncer, shape)
    for thread in range(2):
        threading.Thread(target=append_forever, args=(journal, thread, turn), daemon=True).start()
    decide_forever(log, turn)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
