"""The small protobuf messages of OTLP's answers, and the same in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from samplers.collector.outcome import Rejected

ACCEPTED: Final = b""
"""An `ExportTraceServiceResponse` with nothing to say."""
ACCEPTED_JSON: Final = b"{}"

INVALID_ARGUMENT: Final = code_pb2.INVALID_ARGUMENT
UNAUTHENTICATED: Final = code_pb2.UNAUTHENTICATED
UNAVAILABLE: Final = code_pb2.UNAVAILABLE
RESOURCE_EXHAUSTED: Final = code_pb2.RESOURCE_EXHAUSTED


def partial_success(outcome: Rejected) -> bytes:
    """Return the response that takes a request but for some spans."""
    partial = ExportTracePartialSuccess(rejected_spans=outcome.spans, error_message=outcome.reason)
    return ExportTraceServiceResponse(partial_success=partial).SerializeToString()


def partial_success_json(outcome: Rejected) -> bytes:
    """Return the same in JSON, where 64-bit integers are strings."""
    return orjson.dumps(
        {
            "partialSuccess": {
                "rejectedSpans": str(outcome.spans),
                "errorMessage": outcome.reason,
            }
        }
    )


def retry_info(seconds: float) -> RetryInfo:
    """Return the message that asks a client to wait."""
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    return RetryInfo(retry_delay=delay)


def status(code: int, message: str, retry_seconds: float | None = None) -> bytes:
    """Return a `google.rpc.Status`, with how long to wait where that is known."""
    answer = Status(code=code, message=message)
    if retry_seconds is not None:
        answer.details.add().Pack(retry_info(retry_seconds))
    encoded: bytes = answer.SerializeToString()
    return encoded


def status_json(code: int, message: str) -> bytes:
    """Return a `google.rpc.Status` in JSON."""
    return orjson.dumps({"code": code, "message": message})
