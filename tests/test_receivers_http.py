"""OTLP/HTTP in: what the real exporter sends, and what only an attacker would."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import ssl
import threading
import zlib
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pytest
from collector_build import PATIENCE, Sink, authority, connected, exchange, read_all, sdk_spans
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SpanExportResult
from otlp_build import request, span

from samplers.collector.exporters.json_lines import json_line
from samplers.collector.metrics import Registry
from samplers.collector.outcome import Accepted, Malformed, Rejected, RetryLater
from samplers.collector.receivers.bodies import TooLargeError, inflate
from samplers.collector.receivers.http import HttpServerReceiver
from samplers.collector.settings.receivers import HttpReceiver, ServerTls
from samplers.collector.web.budget import Budget, Lease
from samplers.collector.web.messages import HttpError, parse_head
from tracekit.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from samplers.collector.outcome import Handler

BODY = request([span("chat", {"gen_ai.request.model": "gpt-4o", "note": "Grüße"})])
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json; charset=utf-8"}


@contextlib.contextmanager
def receiver(handle: Handler, registry: Registry | None = None, **changes: Any) -> Iterator[int]:
    """Run a receiver on any free port."""
    settings = HttpReceiver.model_validate({"endpoint": "127.0.0.1:0"} | changes)
    server = HttpServerReceiver(settings, handle, registry or Registry())
    server.start()
    try:
        yield server.port
    finally:
        server.stop(grace=PATIENCE)


def post(
    port: int, body: Any, headers: dict[str, str], path: str = "/v1/traces", method: str = "POST"
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response, response.read()


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def head(*fields: str, line: str = "POST /v1/traces HTTP/1.1") -> bytes:
    every = (line, "Host: test", "Content-Type: application/x-protobuf", *fields)
    return "\r\n".join(every).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_sdk_exporter_is_served(compression: Compression) -> None:
    """What the SDK's exporter sends arrives as protobuf bytes, and it takes the answer."""
    sink = Sink()
    with receiver(sink) as port:
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces", compression=compression)
        assert exporter.export(sdk_spans(3)) is SpanExportResult.SUCCESS
        exporter.shutdown()  # type: ignore[no-untyped-call]
    message = ExportTraceServiceRequest.FromString(sink.requests[0])
    assert len(message.resource_spans[0].scope_spans[0].spans) == 3


@pytest.mark.parametrize("outcome", [RetryLater(0.01, "full"), RuntimeError("broken")])
def test_sdk_exporter_comes_again(
    outcome: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's exporter sends a postponed request again, after a fault of ours as well."""
    monkeypatch.setattr("samplers.collector.receivers.http._FAILED_SECONDS", 0.01)
    monkeypatch.setattr("threading.Event.wait", lambda *_: False)
    sink = Sink(outcome)
    with receiver(sink) as port:
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces")
        assert exporter.export(sdk_spans(1)) is SpanExportResult.SUCCESS
        exporter.shutdown()  # type: ignore[no-untyped-call]
    assert len(sink.requests) == 2
    assert sink.requests[0] == sink.requests[1]
    assert caplog.messages


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZIP", lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:])),
        ("zstd", zstd),
    ],
)
def test_encodings_are_undone(encoding: str, pack: Any) -> None:
    """Each content encoding yields the bytes that were packed, several gzip members as well."""
    sink = Sink()
    with receiver(sink) as port:
        response, body = post(port, pack(BODY), PROTOBUF | {"content-encoding": encoding})
    assert (response.status, body) == (200, b"")
    assert response.getheader("content-type") == "application/x-protobuf"
    assert sink.requests == [BODY]


def test_json_becomes_protobuf() -> None:
    """A JSON body is handed on as the protobuf bytes of the same spans, and answered in JSON."""
    sink = Sink()
    with receiver(sink) as port:
        response, body = post(port, json_line(BODY), JSON)
    assert (response.status, body) == (200, b"{}")
    assert response.getheader("content-type") == "application/json"
    expected = ExportTraceServiceRequest.FromString(BODY)
    assert ExportTraceServiceRequest.FromString(sink.requests[0]) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"resourceSpans": [', "not valid JSON: line 1"),
        (b"[]", "expected an object"),
        (b'{"resourceLogs": []}', "no resourceSpans, but 'resourceLogs'"),
        (b'{"resourceSpans": {}}', "resourceSpans: expected a"),
        (b'{"resourceSpans": ' + b"[" * 60 + b"]" * 60 + b"}", "deeper than 20 levels"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_bad_json_is_refused_with_its_place(body: bytes, words: str) -> None:
    """A JSON body that is no trace request is a 400 that says what is wrong, in JSON."""
    sink = Sink()
    with receiver(sink, nesting=20) as port:
        response, answer = post(port, body, JSON)
    assert response.status == 400
    assert words in orjson.loads(answer)["message"]
    assert not sink.requests


def test_outcomes_have_their_status() -> None:
    """Partial success, malformed and postponed requests are told apart as OTLP wants it."""
    sink = Sink(Rejected("too old", 2), Malformed("at byte 7"), RetryLater(2.2, "journal full"))
    with receiver(sink) as port:
        partial = post(port, BODY, PROTOBUF)
        malformed = post(port, BODY, PROTOBUF)
        later = post(port, BODY, PROTOBUF)
    said = ExportTraceServiceResponse.FromString(partial[1]).partial_success
    assert (partial[0].status, said.rejected_spans, said.error_message) == (200, 2, "too old")
    status = Status.FromString(malformed[1])
    assert (malformed[0].status, status.code, status.message) == (400, 3, "at byte 7")
    assert (later[0].status, later[0].getheader("retry-after")) == (503, "3")
    info = RetryInfo()
    assert Status.FromString(later[1]).details[0].Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 2200


def test_partial_success_in_json() -> None:
    """A client that speaks JSON reads the rejected spans in JSON, 64-bit integers as strings."""
    with receiver(Sink(Rejected("too old", 2))) as port:
        _, answer = post(port, json_line(BODY), JSON)
    assert orjson.loads(answer) == {
        "partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}
    }


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (404, {"path": "/v1/metrics"}),
        (405, {"method": "GET"}),
        (405, {"method": "PUT"}),
        (415, {"headers": {"content-type": "text/plain"}}),
        (415, {"headers": {}}),
        (415, {"headers": PROTOBUF | {"content-encoding": "br"}}),
        (400, {"headers": PROTOBUF | {"content-encoding": "gzip"}, "body": BODY}),
        (400, {"headers": PROTOBUF | {"content-encoding": "zstd"}, "body": BODY}),
        (400, {"headers": PROTOBUF | {"content-encoding": "gzip"}, "body": b"\x1f\x8b\x08\x00"}),
        (
            400,
            {
                "headers": PROTOBUF | {"content-encoding": "gzip"},
                "body": gzip.compress(BODY)[:-9],
            },
        ),
        (400, {"headers": PROTOBUF | {"content-encoding": "zstd"}, "body": zstd(BODY)[:-3]}),
        (413, {"body": bytes(5000)}),
    ],
)
def test_wrong_requests_have_their_status(status: int, changes: dict[str, Any]) -> None:
    """What is no trace request is told so by the right status, and nothing is handed on."""
    sink = Sink()
    arguments: dict[str, Any] = {"body": BODY, "headers": PROTOBUF} | changes
    with receiver(sink, max_body="4KB") as port:
        response, _ = post(port, **arguments)
        assert response.status == status
        assert post(port, BODY, PROTOBUF)[0].status == 200  # and the next one is served
    assert sink.requests == [BODY]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_bomb_is_not_inflated(pack: Any) -> None:
    """A small body that would inflate beyond the limit is a 413."""
    encoding = "gzip" if pack is gzip.compress else "zstd"
    sink = Sink()
    with receiver(sink, max_decompressed="1MiB") as port:
        bomb = pack(bytes(64 << 20))
        assert len(bomb) < 100_000
        response, answer = post(port, bomb, PROTOBUF | {"content-encoding": encoding})
        assert response.status == 413
        assert "inflates to more than 1,048,576 bytes" in Status.FromString(answer).message
        exact = post(port, pack(bytes(1 << 20)), PROTOBUF | {"content-encoding": encoding})
        assert exact[0].status == 200
    assert [len(body) for body in sink.requests] == [1 << 20]


def test_too_much_at_a_time_is_postponed() -> None:
    """When the requests being read hold all the memory there is, a further one is a 503."""
    with receiver(Sink(), max_held="10KB") as port:
        response, _ = post(port, bytes(20_000), PROTOBUF)
        assert (response.status, response.getheader("retry-after")) == (503, "1")
        assert post(port, BODY, PROTOBUF)[0].status == 200


def test_chunks_are_joined() -> None:
    """A body in chunks, extensions and trailers among them, is put together."""
    sink = Sink()
    chunked = b"%x;note=1\r\n%s\r\n%X\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (
        40,
        BODY[:40],
        len(BODY) - 40,
        BODY[40:],
    )
    with receiver(sink) as port:
        data = head("Transfer-Encoding: chunked", "Connection: close") + chunked
        assert exchange(port, data).startswith(b"HTTP/1.1 200 OK\r\n")
    assert sink.requests == [BODY]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST /v1/traces\r\n\r\n", 400),
        (head("Content-Length: 3", "Transfer-Encoding: chunked") + b"abc", 400),
        (head("Content-Length: 3", "Content-Length: 4") + b"abcd", 400),
        (head("Content-Length: -3"), 400),
        (head("Content-Length: 1_0"), 400),
        (head("Content-Length: " + "9" * 30), 400),
        (head("Content-Length: 999999999999"), 413),
        (head("Transfer-Encoding: gzip, chunked"), 501),
        (head("Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (head("Transfer-Encoding: chunked") + b"-1\r\n", 400),
        (head("Transfer-Encoding: chunked") + b"3\r\nabcdef\r\n", 400),
        (head("Transfer-Encoding: chunked") + b"fffffff\r\n", 413),
        (head("Transfer-Encoding: chunked") + b"1" * 5000, 400),
        (head("Transfer-Encoding: chunked") + b"0\r\n" + b"a: b\r\n" * 100, 400),
        (head("Name : value"), 400),
        (head("Folded: a\r\n b"), 400),
        (head("Line: a\nContent-Length: 5"), 400),
        (head("Long: " + "x" * 20_000), 431),
        (b"x" * 20_000, 431),
    ],
    ids=lambda value: str(value)[:60],
)
def test_nasty_bytes_are_answered_and_ended(data: bytes, status: int) -> None:
    """Requests that are ambiguous, endless or no HTTP get their status, and the connection ends."""
    sink = Sink()
    with receiver(sink, max_body="64KB") as port:
        answer = exchange(port, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.count(b"\r\nDate: ") == 1
    assert not sink.requests


def test_slow_head_is_ended() -> None:
    """A client that never finishes the head of its request loses the connection."""
    with receiver(Sink(), head_timeout="50ms") as port, connected(port) as sock:
        sock.sendall(b"POST /v1/traces HTTP/1.1\r\nA: b\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")


def test_slow_body_may_come_again() -> None:
    """A client whose body takes too long is told to come again, which 408 would forbid it."""
    sink = Sink()
    with receiver(sink, body_timeout="50ms") as port, connected(port) as sock:
        sock.sendall(head("Content-Length: 100") + bytes(99))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert not sink.requests


def test_idle_connection_is_closed() -> None:
    """A connection on which nothing comes is closed without a word."""
    with receiver(Sink(), idle_timeout="50ms") as port, connected(port) as sock:
        assert read_all(sock) == b""


def test_client_that_leaves_hurts_nobody() -> None:
    """Half a body and a closed connection is nothing, and the next client is served."""
    sink = Sink()
    with receiver(sink) as port:
        with connected(port) as sock:
            sock.sendall(head("Content-Length: 100") + bytes(50))
        assert post(port, BODY, PROTOBUF)[0].status == 200
    assert sink.requests == [BODY]


def test_connections_are_kept_and_pipelined() -> None:
    """Several requests on one connection are answered in order, sent at once as well."""
    sink = Sink(Accepted(), Malformed("second"), Accepted())
    one = head(f"Content-Length: {len(BODY)}") + BODY
    last = head(f"Content-Length: {len(BODY)}", "Connection: close") + BODY
    with receiver(sink) as port:
        answers = exchange(port, one + one + last)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answers) == [b"200", b"400", b"200"]
    assert sink.requests == [BODY] * 3


def test_expectation_is_met() -> None:
    """A client that asks first is told to go on, or refused before it has sent its body."""
    expect = ("Expect: 100-continue", "Connection: close")
    sink = Sink()
    with receiver(sink, max_body="64KB") as port:
        with connected(port) as sock:
            sock.sendall(head(f"Content-Length: {len(BODY)}", *expect))
            assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(BODY)
            assert read_all(sock).startswith(b"HTTP/1.1 200 ")
        answer = exchange(port, head("Content-Length: 70000", *expect))
        assert answer.startswith(b"HTTP/1.1 413 ")
    assert sink.requests == [BODY]


def test_further_connections_are_turned_away() -> None:
    """Beyond the limit a client is told to come again, and the ones before it stay served."""
    sink = Sink()
    with receiver(sink, connections=1) as port:
        first = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(first):
            for _ in range(2):
                first.request("POST", "/v1/traces", BODY, PROTOBUF)
                assert first.getresponse().read() == b""
                with connected(port) as sock:
                    answer = read_all(sock)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nRetry-After: 1\r\n" in answer
    assert len(sink.requests) == 2


def test_tokens_open_the_door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A request needs one of the tokens; none is a 401 and a wrong one a 403."""
    monkeypatch.setenv("TEST_TOKEN", "sesame")
    (tmp_path / "token").write_text("open\n")
    tokens = [{"env": "TEST_TOKEN"}, {"file": str(tmp_path / "token")}]
    sink = Sink()
    with receiver(sink, tokens=tokens) as port:

        def status(**headers: str) -> int:
            return post(port, BODY, PROTOBUF | headers)[0].status

        assert status() == 401
        assert [
            status(Authorization=value) for value in ("Bearer x", "Basic sesame", "Bearer ")
        ] == [
            403,
            403,
            403,
        ]
        assert not sink.requests
        assert [status(Authorization=value) for value in ("Bearer sesame", "bearer open")] == [
            200,
            200,
        ]


def test_secrets_must_be_there(tmp_path: Path) -> None:
    """A token that cannot be read is an error at the start, not an open door."""
    with (
        pytest.raises(UsageError, match=r"NO_SUCH_VARIABLE holds no secret"),
        receiver(Sink(), tokens=[{"env": "NO_SUCH_VARIABLE"}]),
    ):
        pass
    with (
        pytest.raises(UsageError, match="cannot be read"),
        receiver(Sink(), tokens=[{"file": str(tmp_path / "none")}]),
    ):
        pass


def test_taken_address_is_named() -> None:
    """A second receiver on one address is an error that names the address."""
    with (
        receiver(Sink()) as port,
        pytest.raises(UsageError, match=rf"cannot listen on 127\.0\.0\.1:{port}"),
        receiver(Sink(), endpoint=f"127.0.0.1:{port}"),
    ):
        pass


def test_tls_and_client_certificates(tmp_path: Path) -> None:
    """Over TLS requests arrive, and with an authority of clients, only from those it signed."""
    ours, strangers = authority(tmp_path), authority_beside(tmp_path)
    server, client, stranger = (
        ours.issue("server"),
        ours.issue("client"),
        strangers.issue("stranger"),
    )
    tls = ServerTls(certificate=server.certificate, key=server.key, client_ca=ours.ca)
    sink = Sink()

    def send(port: int, party: Any) -> int:
        context = ssl.create_default_context(cafile=ours.ca)
        if party is not None:
            context.load_cert_chain(party.certificate, party.key)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=PATIENCE, context=context
        )
        with contextlib.closing(connection):
            connection.request("POST", "/v1/traces", bytes(300_000), PROTOBUF)
            return connection.getresponse().status

    with receiver(sink, tls=tls) as port:
        assert send(port, client) == 200
        for unknown in (None, stranger):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                send(port, unknown)
        with contextlib.suppress(ConnectionError):
            assert not exchange(port, head("Content-Length: 0")).startswith(b"HTTP")
    assert sink.requests == [bytes(300_000)]


def authority_beside(folder: Path) -> Any:
    beside = folder / "strangers"
    beside.mkdir()
    return authority(beside)


def test_unusable_certificates_are_named(tmp_path: Path) -> None:
    """Certificates that are missing, no PEM or not of the key are an error at the start."""
    ours = authority(tmp_path)
    one, other = ours.issue("one"), ours.issue("other")
    (tmp_path / "text").write_text("no certificate")
    for certificate, key in (
        (one.certificate, other.key),
        (tmp_path / "text", one.key),
        (tmp_path / "none", one.key),
    ):
        tls = ServerTls(certificate=certificate, key=key)
        with pytest.raises(UsageError, match=r"^tls: "), receiver(Sink(), tls=tls):
            pass


def test_stop_answers_what_is_under_way() -> None:
    """Stopping lets a request under way be answered, and ends connections that are idle."""
    entered, leave = threading.Event(), threading.Event()

    def slow(_: bytes) -> Accepted:
        entered.set()
        assert leave.wait(PATIENCE)
        return Accepted()

    settings = HttpReceiver(endpoint="127.0.0.1:0")
    server = HttpServerReceiver(settings, slow, Registry())
    server.start()
    with connected(server.port) as busy, connected(server.port) as idle:
        busy.sendall(head(f"Content-Length: {len(BODY)}") + BODY)
        assert entered.wait(PATIENCE)
        stopping = threading.Thread(target=server.stop, args=(PATIENCE,))
        stopping.start()
        assert read_all(idle) == b""
        leave.set()
        answer = read_all(busy)
        stopping.join()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer


def test_requests_are_counted() -> None:
    """Every request is counted once, by what became of it."""
    registry = Registry()
    with receiver(Sink(Accepted(), Malformed("x"), Rejected("y", 1)), registry) as port:
        for _ in range(3):
            post(port, BODY, PROTOBUF)
        post(port, BODY, {})
    text = registry.text()
    for result, count in {"accepted": 1, "malformed": 1, "partial": 1, "refused": 1}.items():
        assert f'requests_total{{protocol="http",result="{result}"}} {count}\n' in text
    assert f'tracekit_receiver_bytes_total{{protocol="http"}} {3 * len(BODY)}\n' in text


def test_deflate_alone_is_no_gzip() -> None:
    """A zlib stream under the name of gzip is a 400, as its checksum would not be looked at."""
    with receiver(Sink()) as port:
        response, _ = post(port, zlib.compress(BODY), PROTOBUF | {"content-encoding": "gzip"})
    assert response.status == 400


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                b"POST / HTTP/1.1|\r\n|\n|Content-Length: |5|-|:| |Transfer-Encoding: chunked|\0|"
                b"\xff|a: b".split(b"|")
            ),
            max_size=20,
        ).map(b"".join),
    )
)
def test_any_head_is_read_or_refused(data: bytes) -> None:
    """Whatever bytes a head is made of: it is understood in one way, or refused as an error."""
    with contextlib.suppress(HttpError):
        found = parse_head(data)
        assert found.length is None or found.length >= 0
        assert not ({"content-length", "transfer-encoding"} <= found.headers.keys())


@given(st.binary(max_size=300), st.sampled_from(["gzip", "zstd"]))
def test_any_body_inflates_or_is_refused(data: bytes, encoding: str) -> None:
    """Whatever bytes a compressed body is made of: it inflates within its limit, or is an error."""
    packed = gzip.compress(data) if encoding == "gzip" else zstd(data)
    budget = Budget(1 << 30)
    for body in (data, packed, packed[:-1], packed[: len(data)] + data):
        with Lease(budget) as lease, contextlib.suppress(InputError, TooLargeError):
            assert len(inflate(body, encoding, 250, lease)) <= 250
    assert budget.reserve(1 << 30)  # all of it was given back


def test_slow_handshake_is_ended(tmp_path: Path) -> None:
    """A client that connects to a TLS port and says nothing loses the connection."""
    party = authority(tmp_path).issue("server")
    tls = ServerTls(certificate=party.certificate, key=party.key)
    with receiver(Sink(), tls=tls, head_timeout="50ms") as port, connected(port) as sock:
        sock.sendall(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionError):
            assert read_all(sock) == b""
