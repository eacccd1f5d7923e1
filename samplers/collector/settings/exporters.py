"""Settings of the exporters: where kept spans go."""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003  pydantic reads the annotations
from typing import Annotated, Literal

from pydantic import ByteSize, Field, field_validator, model_validator

from samplers.collector.settings.base import Address, Count, Duration, Secret, Settings, Size

_MIB = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class QueueSettings(Settings):
    """What waits on disk for one exporter."""

    quota: Size = Field(
        default=ByteSize(2048 * _MIB),
        description="Bytes that may wait. What happens then is `when_full`.",
    )
    when_full: Literal["refuse", "drop_oldest"] = Field(
        default="refuse",
        description="`refuse`: kept sessions stay in the journal until the target takes them, and "
        "when that is full too, receivers tell clients to come again; nothing is lost. "
        "`drop_oldest`: the oldest waiting requests are given up and counted; a dead target then "
        "holds up nobody.",
    )
    segment: Size = Field(
        default=ByteSize(16 * _MIB),
        description="Bytes of one file of the queue. Space is freed file by file.",
    )
    parked: Size = Field(
        default=ByteSize(256 * _MIB),
        description="Bytes of requests kept aside that the target refused for good, in a file "
        "that `tracekit import` reads. Beyond it they are only counted.",
    )

    @model_validator(mode="after")
    def _several_files(self) -> QueueSettings:
        if self.quota < 2 * self.segment:
            raise ValueError("quota must be at least twice segment: space is freed file by file")
        return self


class RetrySettings(Settings):
    """How a target that fails is tried again."""

    initial: Duration = Field(
        default=1.0, description="First wait; each further failure doubles it."
    )
    maximum: Duration = Field(
        default=60.0, description="Longest wait, unless the target itself asks for a longer one."
    )
    jitter: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of a wait that is random, so that collectors do not return in step.",
    )


class ClientTls(Settings):
    """How a target is verified, and how we prove who we are."""

    ca: Path | None = Field(
        default=None, description="Authorities to trust, PEM. Without it, those of the system."
    )
    certificate: Path | None = Field(default=None, description="Our certificate, PEM, for mTLS.")
    key: Path | None = Field(default=None, description="Its private key, PEM.")

    @model_validator(mode="after")
    def _pair(self) -> ClientTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class Exporter(Settings):
    """What every exporter has."""

    name: str | None = Field(
        default=None,
        description="Name in metrics and of the queue's folder; without it, the type. A renamed "
        "exporter does not find what waited under the old name.",
    )
    queue: QueueSettings = Field(default_factory=QueueSettings, description="Its queue on disk.")
    retry: RetrySettings = Field(default_factory=RetrySettings, description="Its retries.")

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.fullmatch(name):
            raise ValueError("a name has letters, digits, dots, dashes and underscores, up to 64")
        return name


class NetworkExporter(Exporter):
    """What the exporters over the network have in common."""

    headers: dict[str, str] = Field(
        default_factory=dict, description="Header fields to send; for secrets, use `token`."
    )
    token: Secret | None = Field(
        default=None,
        description="Bearer token, `{env: NAME}` or `{file: PATH}`; read at the start.",
    )
    tls: ClientTls = Field(default_factory=ClientTls, description="Certificates.")
    compression: Literal["none", "gzip"] = Field(
        default="none", description="gzip costs about 10 us a span and saves most of the bandwidth."
    )
    timeout: Duration = Field(
        default=10.0, description="For one request; beyond it the request is sent again."
    )
    concurrency: Count = Field(
        default=2,
        description="Requests under way at a time. More help on lines with a long way to go.",
    )


class OtlpGrpcExporter(NetworkExporter):
    """OTLP/gRPC."""

    type: Literal["otlp_grpc"]
    endpoint: Address = Field(description="`host:port` of the target.")
    insecure: bool = Field(
        default=False, description="Without TLS: fit for this machine and for trusted networks."
    )


class OtlpHttpExporter(NetworkExporter):
    """OTLP/HTTP, protobuf."""

    type: Literal["otlp_http"]
    url: str = Field(
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        description="URL of the target; `/v1/traces` is added where it has no path. With `http:` "
        "nothing is encrypted.",
    )


class FileExporter(Exporter):
    """Files."""

    type: Literal["file"]
    path: Path = Field(description="File to append to; older ones get a number after the name.")
    format: Literal["protobuf", "json"] = Field(
        default="protobuf",
        description="`protobuf`: requests as they are, each after its length in 4 bytes, as the "
        "OpenTelemetry Collector writes them. `json`: OTLP/JSON lines, without fields that this "
        "version of OTLP does not know.",
    )
    max_bytes: Size = Field(
        default=ByteSize(100 * _MIB), description="Size from which a new file is begun."
    )
    max_files: Count = Field(default=10, description="Files kept; the oldest are removed.")


class StdoutExporter(Exporter):
    """OTLP/JSON lines to standard output, for trying things out."""

    type: Literal["stdout"]


AnyExporter = Annotated[
    OtlpGrpcExporter | OtlpHttpExporter | FileExporter | StdoutExporter,
    Field(discriminator="type"),
]
