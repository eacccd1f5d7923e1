"""Certificates of the receivers, read once and refused early."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc

from tracekit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from samplers.collector.settings.receivers import ServerTls


def context(tls: ServerTls) -> ssl.SSLContext:
    """Return the TLS of an HTTP receiver.

    Raises:
        UsageError: A file cannot be read, or is no certificate, or not the one of the key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(tls.certificate, tls.key, password=_no_password)
        if tls.client_ca is not None:
            made.load_verify_locations(tls.client_ca)
            made.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise UsageError(
            f"tls: {tls.certificate}, {tls.key}, {tls.client_ca or 'no client_ca'}: not usable "
            f"PEM files that belong together ({error.reason or error})"
        ) from error
    except OSError as error:
        raise UsageError(
            f"tls: a file of {tls.certificate}, {tls.key}, {tls.client_ca or 'no client_ca'} "
            f"cannot be read ({error.strerror})"
        ) from error
    return made


def _no_password() -> bytes:  # without it, OpenSSL asks at the terminal
    return b""


def credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Return the TLS of a gRPC receiver.

    Raises:
        UsageError: A file cannot be read, or is no certificate, or not the one of the key.
    """
    context(tls)  # gRPC itself reports bad files only in its log
    return grpc.ssl_server_credentials(
        [(_read(tls.key), _read(tls.certificate))],
        root_certificates=None if tls.client_ca is None else _read(tls.client_ca),
        require_client_auth=tls.client_ca is not None,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"tls: {path}: cannot be read ({error.strerror})") from error
