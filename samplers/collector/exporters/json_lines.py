"""OTLP requests as lines of OTLP/JSON."""

from __future__ import annotations

import base64
from typing import Any, Final

import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS: Final = ("traceId", "spanId", "parentSpanId")


def json_line(request: bytes) -> bytes:
    """Return a request as one line; ids are hex there, where protobuf's own JSON has base64."""
    message = ExportTraceServiceRequest.FromString(request)
    document = MessageToDict(message, use_integers_for_enums=True)
    for resource in document.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                for owner in (span, *span.get("links", ())):
                    _hex_ids(owner)
    return orjson.dumps(document) + b"\n"


def _hex_ids(owner: dict[str, Any]) -> None:
    for name in _IDS:
        if name in owner:
            owner[name] = base64.b64decode(owner[name]).hex()
