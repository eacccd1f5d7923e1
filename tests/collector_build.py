"""Parts that tests of the collector share: handlers, sockets, and a certificate authority."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from samplers.collector.outcome import Accepted, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

PATIENCE = 60.0
"""Seconds after which a test that waits for a thread gives up."""


class Sink:
    """A handler that keeps what it gets.

    Attributes:
        requests: What came.
        outcomes: What to answer, in turn; accepted when they are used up.
    """

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.requests: list[bytes] = []
        self.outcomes = list(outcomes)
        self._change = threading.Condition()

    def __call__(self, request: bytes) -> Outcome:
        """Keep a request and answer it."""
        with self._change:
            self.requests.append(request)
            self._change.notify_all()
            outcome = self.outcomes.pop(0) if self.outcomes else Accepted()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def wait(self, count: int) -> None:
        """Wait until so many requests have come."""
        with self._change:
            assert self._change.wait_for(lambda: len(self.requests) >= count, PATIENCE)


def sdk_spans(count: int = 3) -> Sequence[ReadableSpan]:
    """Return spans as the SDK ends them."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "support"}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests", "1.0")
    for number in range(count):
        with tracer.start_as_current_span(f"step {number}", attributes={"note": "Grüße, 世界"}):
            pass
    provider.shutdown()
    return memory.get_finished_spans()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """Yield a socket to a local port."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        yield sock


def read_all(sock: socket.socket) -> bytes:
    """Return everything until the other side closes."""
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return everything that comes back until the server closes."""
    with connected(port) as sock:
        sock.sendall(data)
        return read_all(sock)


@dataclasses.dataclass(frozen=True, slots=True)
class Party:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclasses.dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that lives as long as a test."""

    ca: Path
    issue: Callable[[str], Party]


def authority(folder: Path) -> Authority:
    """Make a certificate authority; skip the test where nothing can make certificates."""
    x509 = pytest.importorskip("cryptography.x509", reason="certificates are made by cryptography")
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415  optional
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    def named(name: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def written(name: str, data: bytes) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    now = dt.datetime.now(dt.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())

    def signed(name: str, public: Any, *, is_ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("tests"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            local = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(local), critical=False)
        made = builder.sign(ca_key, hashes.SHA256())
        encoded: bytes = made.public_bytes(serialization.Encoding.PEM)
        return encoded

    def issue(name: str) -> Party:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        certificate = signed(name, key.public_key(), is_ca=False)
        return Party(written(f"{name}.pem", certificate), written(f"{name}.key", pem))

    ca = written("ca.pem", signed("tests", ca_key.public_key(), is_ca=True))
    return Authority(ca, issue)
