"""Which spans belong together, when a session is complete, and what becomes of late spans."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otlp_build import request
from otlp_build import span as otlp_span
from sessions_build import NOW, SECOND, Harness, encode
from sessions_model import Sent
from strategies import encoded, requests

from samplers import (
    assemble_kernel,
    due_kernel,
    lists_kernel,
    pending_kernel,
    session_kernel,
)
from samplers.assemble import assemble
from samplers.pending import CHUNK_ROWS, Capacity, PendingFullError
from samplers.sessions import Limits, Verdict
from samplers.warm import warm
from tracekit.errors import TracekitError
from tracekit.otlp.encode import select
from tracekit.otlp.scan import scan

KEPT = Verdict(kept=True, threshold=7 << 52, weight=1.5, rule="errors")
DROPPED = Verdict(kept=False, threshold=9 << 52, weight=4.0, rule="baseline")

LIMITS = Limits(
    root_delay=2 * SECOND,
    keyed_root_delay=5 * SECOND,
    done_delay=3 * SECOND,
    idle=60 * SECOND,
    max_age=600 * SECOND,
    max_spans=50,
    tail_spans=10,
)


def due(harness: Harness, seconds: float, limit: int = 200_000) -> list[tuple[str, str, set[int]]]:
    """Return key, trigger and span ids of what is due so long after the start."""
    return [
        (session.key, session.trigger, {sent.span for sent in harness.spans(session.rows)})
        for session in harness.sessions.due(NOW + int(seconds * SECOND), limit)
    ]


def test_session_without_a_key_goes_by_its_trace_id() -> None:
    """A trace whose root ended is due after the short delay, under its trace id."""
    harness = Harness(LIMITS)
    harness.send([Sent(5, 2), Sent(5, 1, is_root=True)], NOW)
    assert due(harness, 1.9) == []
    assert due(harness, 2) == [(f"{5:032x}", "root", {1, 2})]


def test_trace_ids_compare_as_they_are_written() -> None:
    """The key of a trace is its id in hex, whatever its bytes."""
    trace = 0x0102030405060708090A0B0C0D0E0F10
    harness = Harness(LIMITS)
    harness.send([Sent(trace, 1, is_root=True)], NOW)
    assert due(harness, 2)[0][0] == f"{trace:032x}"


def test_key_that_comes_late_joins_a_trace_to_its_session() -> None:
    """Traces received without a key join the session that a later span of theirs names."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1), Sent(2, 2), Sent(3, 3, key="chat")], NOW)
    assert harness.sessions.stats()["open"] == 3
    harness.send([Sent(1, 4, key="chat"), Sent(2, 5, key="chat")], NOW)
    assert harness.sessions.stats()["merges"] == 2
    assert due(harness, 60) == [("chat", "idle", {1, 2, 3, 4, 5})]


def test_two_keys_in_one_trace_make_one_session() -> None:
    """The parts of a trace are never decided apart; the smallest key names the whole."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, key="b"), Sent(2, 2, key="a"), Sent(1, 3, key="a")], NOW)
    assert due(harness, 60) == [("a", "idle", {1, 2, 3})]


def test_session_waits_for_its_last_open_root() -> None:
    """Several traces: the delay begins when the last of them is over, and is the longer one."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, "chat", is_root=True), Sent(2, 2, "chat")], NOW)
    assert due(harness, 50) == []
    harness.send([Sent(2, 3, is_root=True)], NOW + 50 * SECOND)
    assert due(harness, 54.9) == []
    assert due(harness, 55) == [("chat", "root", {1, 2, 3})]


def test_root_that_has_not_ended_is_open() -> None:
    """A root sent when it starts ends nothing; its second copy does, and counts as the span."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, is_root=True, end=0)], NOW)
    assert due(harness, 10) == []
    assert harness.send([Sent(1, 1, is_root=True, end=2)], NOW + 10 * SECOND).duplicates == 1
    session = harness.sessions.due(NOW + 12 * SECOND)[0]
    assert [sent.end for sent in harness.spans(session.rows)] == [2]


def test_done_event_ends_a_session_unless_it_goes_on() -> None:
    """A done event makes a session due after its delay; a trace that begins then takes it back."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, "a", is_done=True), Sent(2, 2, "b", is_done=True)], NOW)
    harness.send([Sent(3, 3, "b")], NOW + SECOND)
    assert due(harness, 3) == [("a", "done", {1})]
    assert due(harness, 60) == []
    assert due(harness, 61) == [("b", "idle", {2, 3})]


def test_session_that_never_rests_is_due_at_the_maximum_age() -> None:
    """Spans that keep coming do not put off the decision for ever."""
    harness = Harness(LIMITS)
    for minute in range(13):
        harness.send([Sent(1, minute + 1)], NOW + minute * 50 * SECOND)
        assert (due(harness, minute * 50) != []) == (minute == 12)


def test_clock_of_the_sender_decides_nothing() -> None:
    """Spans that claim to be of next year are as idle as others."""
    harness = Harness(LIMITS)
    year = 365 * 86_400
    harness.send([Sent(1, 1, end=year)], NOW)
    assert due(harness, 59) == []
    session = harness.sessions.due(NOW + 60 * SECOND)[0]
    assert session.trigger == "idle"
    assert session.end_ns == NOW + year * SECOND


def test_repeated_request_counts_once_and_frees_its_copy() -> None:
    """A request sent again adds nothing, before and after the decision."""
    harness = Harness(LIMITS, per_segment=1)
    spans = [Sent(1, 1, is_root=True), Sent(1, 2)]
    harness.send(spans, NOW)
    again = harness.send(spans, NOW)
    assert (again.duplicates, again.released) == (2, {2: 2})
    session = harness.sessions.due(NOW + 2 * SECOND)[0]
    assert len(session.rows) == 2
    harness.sessions.settle(session, KEPT, NOW + 2 * SECOND)
    again = harness.send(spans, NOW + 3 * SECOND)
    assert (again.duplicates, again.released, again.late) == (2, {3: 2}, ())


def test_copy_that_ended_later_replaces_the_earlier_one() -> None:
    """Of two copies the one with the later end counts, and the other's bytes are let go."""
    harness = Harness(LIMITS, per_segment=1)
    harness.send([Sent(1, 1, end=0)], NOW)
    assert harness.send([Sent(1, 1, end=3)], NOW).released == {1: 1}
    assert harness.send([Sent(1, 1, end=1)], NOW).released == {3: 1}
    session = harness.sessions.due(NOW + 60 * SECOND)[0]
    assert [sent.end for sent in harness.spans(session.rows)] == [3]


@pytest.mark.parametrize("verdict", [KEPT, DROPPED], ids=["kept", "dropped"])
def test_late_spans_follow_the_whole_decision(verdict: Verdict) -> None:
    """A span of a decided session comes out with T, weight and rule, whatever names it."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, "chat", is_root=True)], NOW)
    session = harness.sessions.due(NOW + 5 * SECOND)[0]
    assert harness.sessions.settle(session, verdict, NOW + 5 * SECOND) == []
    for sent in (Sent(1, 2), Sent(2, 3, "chat"), Sent(2, 4)):
        (late,) = harness.send([sent], NOW + 6 * SECOND).late
        assert (late.key, late.verdict, harness.spans(late.rows)) == ("chat", verdict, [sent])
    assert harness.sessions.stats()["pending_spans"] == 0


def test_waiting_spans_follow_a_decision_they_turn_out_to_belong_to() -> None:
    """The keyless start of a next turn waits; with its key it follows what was decided."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, "chat", is_root=True)], NOW)
    harness.sessions.settle(harness.sessions.due(NOW + 5 * SECOND)[0], KEPT, NOW)
    assert harness.send([Sent(2, 2), Sent(2, 3)], NOW + 6 * SECOND).late == ()
    (late,) = harness.send([Sent(2, 4, "chat")], NOW + 7 * SECOND).late
    assert {sent.span for sent in harness.spans(late.rows)} == {2, 3, 4}


def test_spans_that_come_while_a_decision_is_taken_follow_it() -> None:
    """Between `due` and `settle` spans wait; they come back with the verdict."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, is_root=True)], NOW)
    session = harness.sessions.due(NOW + 2 * SECOND)[0]
    assert harness.send([Sent(1, 2)], NOW + 2 * SECOND).late == ()
    assert due(harness, 100) == []
    (late,) = harness.sessions.settle(session, DROPPED, NOW + 3 * SECOND)
    assert harness.spans(late.rows) == [Sent(1, 2)]
    with pytest.raises(ValueError, match="not being decided"):
        harness.sessions.settle(session, KEPT, NOW + 3 * SECOND)


def test_interim_decisions_of_a_long_session() -> None:
    """Not kept: asked again with all spans, the old ones marked. Kept: final, all else is late."""
    harness = Harness(Limits(idle=60 * SECOND, interim=100 * SECOND))
    for second in range(0, 100, 10):
        harness.send([Sent(1, second + 1)], NOW + second * SECOND)
    (first,) = harness.sessions.due(NOW + 100 * SECOND)
    assert (first.trigger, len(first.rows), first.asked_before.sum()) == ("interim", 10, 0)
    assert harness.sessions.settle(first, DROPPED, NOW + 100 * SECOND) == []
    for second in range(110, 210, 10):
        harness.send([Sent(1, second + 1)], NOW + second * SECOND)
    (second_time,) = harness.sessions.due(NOW + 200 * SECOND)
    assert (len(second_time.rows), second_time.asked_before.sum()) == (20, 10)
    harness.send([Sent(1, 300)], NOW + 201 * SECOND)
    (late,) = harness.sessions.settle(second_time, KEPT, NOW + 201 * SECOND)
    assert harness.spans(late.rows) == [Sent(1, 300)]
    assert harness.sessions.stats()["pending_spans"] == 0


def test_runaway_session_is_cut_to_head_and_tail() -> None:
    """The head is decided at once; of 20,000 more spans only the last are held, and follow."""
    harness = Harness(LIMITS, per_segment=10)
    released: dict[int, int] = {}
    tick = 0
    for batch in range(200):
        got = harness.send([Sent(1, batch * 100 + i + 1) for i in range(100)], NOW + batch)
        assert got.late == ()
        for segment, count in got.released.items():
            released[segment] = released.get(segment, 0) + count
        for session in harness.sessions.due(NOW + batch):
            tick += 1
            assert (session.trigger, session.is_runaway) == ("max_spans", True)
            assert [sent.span for sent in harness.spans(session.rows)][:51] == [*range(1, 52)]
            harness.sessions.settle(session, KEPT, NOW + batch)
        assert harness.sessions.stats()["pending_spans"] <= LIMITS.max_spans + LIMITS.tail_spans + 1
    assert tick == 1
    (tail,) = harness.sessions.due(NOW + 60 * SECOND + 200)
    assert (tail.verdict, tail.trigger) == (KEPT, "idle")
    assert {sent.span for sent in harness.spans(tail.rows)} == {*range(19_991, 20_001)}
    assert tail.spans == 20_000
    assert tail.cut_spans == sum(released.values()) == 20_000 - 51 - 10 - 10
    assert harness.sessions.stats()["cut_spans"] == tail.cut_spans


def test_session_with_too_many_bytes_runs_away_too() -> None:
    """A few huge spans are as many as a lot of small ones."""
    harness = Harness(Limits(max_bytes=10_000, tail_spans=5))
    for number in range(1, 40):
        harness.send([Sent(1, number, size=1_000)], NOW)
    (session,) = harness.sessions.due(NOW)
    assert (session.trigger, session.is_runaway) == ("max_bytes", True)
    assert [sent.span for sent in harness.spans(session.rows)] == [*range(1, 11), *range(35, 40)]


def test_no_session_starves_another() -> None:
    """Work of one call is capped; who waits longest comes first, and each comes in the end."""
    harness = Harness(LIMITS)
    for trace in range(1, 21):
        harness.send(
            [Sent(trace, i + 1, is_root=i == 0) for i in range(40 if trace == 1 else 3)],
            NOW + trace,
        )
    seen = []
    while sessions := harness.sessions.due(NOW + 3 * SECOND, limit=10):
        assert sum(len(session.rows) for session in sessions[:-1]) < 10
        seen += [int(session.key, 16) for session in sessions]
    assert seen == [*range(1, 21)]


def test_full_store_refuses_and_takes_nothing() -> None:
    """A request for which there is no room is refused whole, and taken once there is."""
    harness = Harness(LIMITS, Capacity(rows=10))
    harness.send([Sent(1, i + 1, is_root=i == 0) for i in range(8)], NOW)
    before = harness.sessions.stats()
    with pytest.raises(PendingFullError, match="send again later") as refusal:
        harness.send([Sent(2, 1), Sent(2, 2), Sent(2, 3)], NOW)
    assert isinstance(refusal.value, TracekitError)
    assert harness.sessions.stats() == before
    assert len(due(harness, 2)) == 1
    assert harness.send([Sent(2, 1), Sent(2, 2), Sent(2, 3)], NOW).spans == 3


def test_decided_sessions_are_forgotten_by_age_and_number() -> None:
    """Verdicts are remembered so long and so many of each kind; the longest untouched go first."""
    limits = Limits(root_delay=SECOND, remembered=100 * SECOND, kept_entries=3, dropped_entries=2)
    harness = Harness(limits)
    for trace in range(1, 11):
        harness.send([Sent(trace, 1, "" if trace % 2 else f"k{trace}", is_root=True)], NOW + trace)
    for number, session in enumerate(harness.sessions.due(NOW + 40 * SECOND)):
        harness.sessions.settle(
            session, KEPT if number % 2 else DROPPED, NOW + 40 * SECOND + number
        )
    harness.sessions.due(NOW + 41 * SECOND)
    assert harness.sessions.stats()["remembered"] == 5
    harness.sessions.due(NOW + 141 * SECOND)
    stats = harness.sessions.stats()
    assert (stats["remembered"], stats["sessions"], stats["pending_spans"]) == (0, 0, 0)
    assert harness.send([Sent(1, 2)], NOW + 141 * SECOND).late == ()


def test_memory_of_empty_chunks_is_used_again() -> None:
    """Rows freed and filled over and over stay in the first chunks."""
    harness = Harness(LIMITS, Capacity(rows=4 * CHUNK_ROWS))
    for turn in range(6):
        for trace in range(20):
            harness.send(
                [Sent(turn * 100 + trace + 1, i + 1, is_root=i == 0) for i in range(500)],
                NOW + turn * 10 * SECOND,
            )
        for session in harness.sessions.due(NOW + (turn * 10 + 5) * SECOND, 10**9):
            harness.sessions.settle(session, DROPPED, NOW + (turn * 10 + 5) * SECOND)
    assert harness.sessions.stats()["pending_spans"] == 0


@pytest.mark.parametrize("key", ["[Scrubbed due to 'session']", ""])
def test_scrubbed_or_empty_key_is_none(key: str) -> None:
    """What stands in place of a key joins nothing."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, key), Sent(2, 2, key)], NOW)
    assert harness.sessions.stats()["open"] == 2


def test_key_the_kernel_does_not_read_counts_as_well() -> None:
    """A key packed in JSON, beside one in plain text, names the same session."""
    harness = Harness(LIMITS)
    spans = [
        otlp_span("a", {"mlflow.trace.session": '"chat"'}, trace=1, span_id=1),
        otlp_span("b", {"session.id": "chat"}, trace=2, span_id=2),
        otlp_span("c", {"mlflow.trace.session": '"chat"'}, trace=3, span_id=3),
    ]
    harness.send_bytes(request(spans), NOW)
    assert harness.sessions.stats()["open"] == 1
    assert harness.sessions.due(NOW + 5 * SECOND)[0].key == "chat"


def test_same_spans_in_the_same_order_give_the_same_sessions() -> None:
    """A restart that reads the journal again goes on with the same sessions."""
    sent = [
        encode([Sent(t, s, "k" if s == 3 else "") for t in (s, s % 4 + 1)]) for s in range(1, 9)
    ]
    found = []
    for _ in range(2):
        harness = Harness(LIMITS)
        for number, data in enumerate(sent):
            harness.send_bytes(data, NOW + number)
        found.append(
            [
                (session.key, session.trigger, session.rows[["segment", "offset"]].tolist())
                for session in harness.sessions.due(NOW + 100 * SECOND)
            ]
        )
    assert found[0] == found[1]


def test_decision_of_an_earlier_run_is_followed() -> None:
    """After a restart a decided session has its verdict back, by key and by any of its traces."""
    harness = Harness(LIMITS)
    harness.send([Sent(1, 1, "chat", is_root=True), Sent(2, 2, "chat")], NOW)
    (session,) = harness.sessions.due(NOW + 60 * SECOND)
    assert session.traces == ((1).to_bytes(16, "big"), (2).to_bytes(16, "big"))
    restarted = Harness(LIMITS)
    restarted.send([Sent(1, 1, "chat", is_root=True), Sent(3, 7)], NOW)
    (late,) = restarted.sessions.restore(session.keys, session.traces, KEPT, NOW + SECOND)
    assert (late.key, late.verdict) == ("chat", KEPT)
    assert restarted.spans(late.rows) == [Sent(1, 1, "chat", is_root=True)]
    # Nothing of its second trace was left in the journal; it follows all the same.
    (late,) = restarted.send([Sent(2, 9)], NOW + 2 * SECOND).late
    assert (late.key, late.verdict) == ("chat", KEPT)
    assert restarted.sessions.restore([], [(4).to_bytes(16, "big")], DROPPED, NOW) == []
    (late,) = restarted.send([Sent(4, 4)], NOW + 2 * SECOND).late
    assert (late.key, late.verdict) == (f"{4:032x}", DROPPED)
    assert restarted.sessions.stats()["open"] == 1


def test_nothing_is_compiled_after_warming() -> None:
    """What `warm` has compiled serves all requests: no sender waits for the compiler."""
    warm()
    compiled = [
        (function, len(function.signatures))
        for module in (assemble_kernel, due_kernel, lists_kernel, pending_kernel, session_kernel)
        for function in vars(module).values()
        if hasattr(function, "signatures")
    ]
    harness = Harness(LIMITS)
    for sent in (Sent(1, 1, "a"), Sent(2, 2, "[Scrubbed due to"), Sent(3, 3, is_root=True)):
        harness.send([sent], NOW)
    harness.send_bytes(request([otlp_span("a", {"mlflow.trace.session": '"a"'})]), NOW)
    sessions = harness.sessions.due(NOW + 60 * SECOND)
    assemble([session.rows for session in sessions], harness.read)
    for session in sessions:
        harness.sessions.settle(session, KEPT, NOW)
    harness.sessions.due(NOW + 10**6 * SECOND)
    assert all(len(function.signatures) == before for function, before in compiled)


def test_assembled_sessions_hold_the_bytes_that_came() -> None:
    """Spans, resources and scopes of whole sessions are byte-identical, in the order of rows."""
    harness = Harness(LIMITS)
    for number in range(1, 9):
        spans = [Sent(trace, number, size=number * 100) for trace in (1, 2, 1, 3)]
        unique = list(dict.fromkeys(spans))
        harness.send_bytes(encode(unique, f"svc-{number % 3}"), NOW)
    sessions = harness.sessions.due(NOW + 60 * SECOND)
    scanned = scan(assemble([session.rows for session in sessions], harness.read))
    rows = [row for session in sessions for row in session.rows]
    assert scanned.spans == len(rows) == 24
    for number, row in enumerate(rows):
        start, length = int(row["offset"]), int(row["length"])
        original = harness.read(int(row["segment"]), start, length)
        assert bytes(scanned.span_bytes(number)) == original
    services = scanned.table["service_name"].to_pylist()
    names = scanned.table["span_id"].to_pylist()
    assert services == [f"svc-{int(name, 16) % 3}" for name in names]


def test_nothing_assembles_to_nothing() -> None:
    """No sessions are an empty request."""
    assert bytes(assemble([], Harness().read)) == b""


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(data=requests().flatmap(encoded), base=st.integers(0, 20))
def test_assembling_is_selecting_from_what_came(data: bytes, base: int) -> None:
    """Whatever is in a request: the session's part is what `select` would take, byte for byte."""
    harness = Harness()
    harness.segments[0] += bytes(base)
    harness.send_bytes(data, NOW)
    scanned = scan(data)
    number = {int(offset) + base: row for row, offset in enumerate(scanned.offsets[:, 0])}
    for session in harness.sessions.due(NOW + 10**6 * SECOND):
        wanted = [number[int(row["offset"])] for row in session.rows]
        assert assemble([session.rows], harness.read) == select(scanned, wanted)
