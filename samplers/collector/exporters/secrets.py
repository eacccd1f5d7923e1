"""What exporters over the network say about themselves: header fields, tokens, certificates."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Final

from tracekit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from samplers.collector.settings.exporters import ClientTls, NetworkExporter

_VALUE: Final = re.compile(r"[ -~]*")


def header_fields(settings: NetworkExporter) -> dict[str, str]:
    """Return the header fields of every request, the token among them.

    Raises:
        UsageError: The token cannot be read, or a value is no text for a header field.
    """
    fields = dict(settings.headers)
    if settings.token is not None:
        fields["authorization"] = f"Bearer {settings.token.read()}"
    for name, value in fields.items():
        if not _VALUE.fullmatch(value):
            raise UsageError(f"exporter header {name}: only printable ASCII can be sent")
    return fields


def client_files(tls: ClientTls) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Return the authorities, our key and our certificate; None for each that is not set.

    Raises:
        UsageError: A file cannot be read, or is no certificate or key.
    """
    context(tls)  # gRPC itself reports bad files only in its log
    return _content(tls.ca), _content(tls.key), _content(tls.certificate)


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()


def context(tls: ClientTls) -> ssl.SSLContext:
    """Return the TLS of an HTTP exporter.

    Raises:
        UsageError: A file cannot be read, or is no certificate or key.
    """
    try:
        made = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            made.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except OSError as error:  # ssl.SSLError is one
        named = [str(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None]
        raise UsageError(
            f"exporter tls: {', '.join(named)}: not usable PEM files ({error.strerror or error})"
        ) from error
    return made
