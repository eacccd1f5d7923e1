"""Compile everything that works on spans before the first of them comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samplers.assemble import assemble
from samplers.pending import Capacity
from samplers.sessions import Limits, Sessions, Verdict
from tracekit.otlp.encode import length_delimited
from tracekit.otlp.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from samplers.session_types import DueSession

_ATTRIBUTE = b"\x4a\x11\x0a\x0asession.id\x12\x03\x0a\x01k"


def warm(rehearse: Callable[[DueSession, bytes], object] = lambda *_: None) -> None:
    """Run a request through session assembly and out again.

    The first time on a machine this compiles for some seconds, later it loads what was compiled.
    Do it before a port opens: a sender would wait for it.

    Args:
        rehearse: Called with a session of one span, and the bytes that its rows point into.
    """
    span = b"\x0a\x10" + bytes(15) + b"\1" + b"\x12\x08" + bytes(7) + b"\1" + _ATTRIBUTE
    scope = b"".join(length_delimited(0x12, span))
    data = b"".join(length_delimited(0x0A, *length_delimited(0x12, scope)))
    sessions = Sessions(Capacity(rows=8, decided=8, recent=8), Limits(interim=1, remembered=0))
    scanned = scan(data)
    _ = scanned.table  # builds the columns, too
    sessions.ingest(scanned, 0, 0, 1)
    for now, kept in ((2, False), (1 << 60, True)):
        for session in sessions.due(now):
            assemble([session.rows], lambda *_: data)
            if kept:
                rehearse(session, data)
            sessions.settle(session, Verdict(kept), now)
    sessions.ingest(scanned, 0, 0, 1 << 60)
    sessions.due((1 << 60) + 1)
    sessions.restore(["k"], [bytes(16)], Verdict(kept=True), 1 << 60)
