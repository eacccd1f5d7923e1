"""Settings of the receivers."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic reads the annotations

from pydantic import ByteSize, Field, model_validator

from samplers.collector.settings.base import (
    Address,
    Count,
    Duration,
    Secret,
    Settings,
    Size,
    is_loopback,
    split_address,
)

_MIB = 1 << 20


class ServerTls(Settings):
    """How a receiver proves who it is, and asks clients who they are."""

    certificate: Path = Field(description="Certificate chain, PEM. Clients verify it.")
    key: Path = Field(description="Its private key, PEM, not encrypted.")
    client_ca: Path | None = Field(
        default=None,
        description="Authorities of client certificates, PEM. With it, a client without a "
        "certificate of theirs is refused (mTLS).",
    )


class Receiver(Settings):
    """What the receivers have in common."""

    enabled: bool = Field(
        default=True, description="Whether to listen. At least one receiver must."
    )
    endpoint: Address
    tls: ServerTls | None = Field(
        default=None, description="Certificates. Without it, connections are not encrypted."
    )
    tokens: list[Secret] = Field(
        default_factory=list,
        description="Bearer tokens, each `{env: NAME}` or `{file: PATH}`; a request needs one of "
        "them. Empty: nobody is asked.",
    )
    insecure: bool = Field(
        default=False,
        description="Listen beyond this machine although neither `tls` nor `tokens` is set. "
        "Anybody who reaches the port can then send, and read on the way what is sent.",
    )
    connections: Count = Field(
        default=256,
        description="Connections at a time; further ones are turned away, to come again.",
    )

    @model_validator(mode="after")
    def _guarded(self) -> Receiver:
        host, _ = split_address(self.endpoint)
        if not (is_loopback(host) or self.tls or self.tokens or self.insecure):
            raise ValueError(
                f"{self.endpoint} can be reached from other machines: set tls or tokens, or listen "
                "on 127.0.0.1, or say `insecure: true`"
            )
        return self


class GrpcReceiver(Receiver):
    """OTLP/gRPC."""

    endpoint: Address = Field(
        default="127.0.0.1:4317",
        description="Address to listen on. Loopback: only this machine can send.",
    )
    max_message: Size = Field(
        default=ByteSize(16 * _MIB),
        description="Bytes of one request, decompressed or not. Larger ones are refused for good "
        "(RESOURCE_EXHAUSTED), and their spans are lost: lower the clients' batch size.",
    )
    concurrency: Count = Field(
        default=256,
        description="Requests begun at a time on one connection. Clients hold back further ones; "
        "those begun all the same are refused to come again (UNAVAILABLE).",
    )
    message_timeout: Duration = Field(
        default=10.0,
        description="For the message of a request to arrive; it holds a worker meanwhile. Beyond "
        "it the request is cancelled, to be sent again.",
    )
    workers: Count = Field(
        default=4,
        description="Threads that take requests; further requests wait. More threads contend for "
        "the interpreter; many slow clients need them all the same.",
    )


class HttpReceiver(Receiver):
    """OTLP/HTTP, protobuf and JSON, on /v1/traces."""

    endpoint: Address = Field(
        default="127.0.0.1:4318",
        description="Address to listen on. Loopback: only this machine can send.",
    )
    max_body: Size = Field(
        default=ByteSize(16 * _MIB),
        description="Bytes of one body as it is sent. Larger ones are refused for good (413), and "
        "their spans are lost: lower the clients' batch size.",
    )
    max_decompressed: Size = Field(
        default=ByteSize(64 * _MIB),
        description="Bytes of one body decompressed. What would inflate to more is refused (413) "
        "without being inflated further.",
    )
    max_held: Size = Field(
        default=ByteSize(512 * _MIB),
        description="Bytes of all requests being read at a time, sent and decompressed together. "
        "Beyond it, clients are told to come again (503).",
    )
    nesting: Count = Field(
        default=256,
        description="Levels of objects and arrays in a JSON body. Deeper ones are refused (400).",
    )
    head_timeout: Duration = Field(
        default=10.0, description="From the first byte of a request to the end of its head."
    )
    body_timeout: Duration = Field(
        default=30.0,
        description="For the body of a request, and for the client to take the answer. Clients "
        "on slow lines with large batches need more.",
    )
    idle_timeout: Duration = Field(
        default=120.0, description="Between two requests, before the connection is closed."
    )


class Receivers(Settings):
    """Where spans come in."""

    grpc: GrpcReceiver = Field(default_factory=GrpcReceiver, description="OTLP/gRPC.")
    http: HttpReceiver = Field(default_factory=HttpReceiver, description="OTLP/HTTP.")

    @model_validator(mode="after")
    def _one_listens(self) -> Receivers:
        if not (self.grpc.enabled or self.http.enabled):
            raise ValueError("no receiver is enabled: nothing could come in")
        return self
