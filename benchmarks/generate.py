"""Made-up telemetry of a believable shape, the same on every run.

A session is one agent run: a root, then model calls and tool calls in turn. Spans carry 15
attributes each and come to about 700 bytes, as measured on instrumented agents.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""

SPANS_PER_REQUEST = 512
SPANS_PER_SESSION = 32
MODELS = (
    ("openai", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
    ("openai", "gpt-5", "gpt-5-2025-08-07"),
    ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("gcp.gemini", "gemini-2.5-flash", "gemini-2.5-flash"),
)
TOOLS = ("search_orders", "get_customer", "refund", "send_mail", "read_file", "run_tests")
SERVICES = ("checkout-assistant", "support-desk", "code-reviewer", "travel-planner")


def requests(count: int) -> list[bytes]:
    """Return serialised OTLP requests of 512 spans each, 16 whole sessions in each."""
    return [_request(random.Random(number), number).SerializeToString() for number in range(count)]


def _request(rng: random.Random, number: int) -> ExportTraceServiceRequest:
    resources = []
    for service in rng.sample(SERVICES, 2):
        sessions = SPANS_PER_REQUEST // SPANS_PER_SESSION // 2
        spans = [
            span
            for position in range(sessions)
            for span in session(rng, f"{number:06d}-{service}-{position}", number)
        ]
        resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
        describe(resource, service)
        resources.append(resource)
    return ExportTraceServiceRequest(resource_spans=resources)


def describe(resource: ResourceSpans, service: str) -> None:
    """Say of spans in one scope which service they are of."""
    resource.resource.attributes.extend(
        _attributes({"service.name": service, "deployment.environment.name": "production"})
    )
    resource.scope_spans[0].scope.name = "opentelemetry.instrumentation.agents"


def session(
    rng: random.Random,
    session: str,
    minute: int,
    *,
    length: int = SPANS_PER_SESSION,
    failures: float = 0.05,
) -> Iterator[Span]:
    """Yield the spans of a session, the root first.

    Args:
        rng: Source of all that is made up.
        session: Its key.
        minute: When it began, minutes since `EPOCH_NS`.
        length: How many spans it has.
        failures: Share of tool calls that fail.
    """
    trace = rng.randbytes(16)
    provider, asked, answered = rng.choice(MODELS)
    clock = EPOCH_NS + minute * 60_000_000_000
    root = _span(rng, trace, b"", f"invoke_agent {session[:6]}", clock, duration_ns=length * 10**9)
    root.attributes.extend(_attributes(_root_attributes(session)))
    yield root
    for step in range(1, length):
        clock += 10**9
        last = step == length - 1
        if step % 2 or last:
            child = _span(
                rng, trace, root.span_id, f"chat {asked}", clock, duration_ns=rng.randrange(10**9)
            )
            child.attributes.extend(
                _attributes(_chat_attributes(rng, session, provider, asked, answered, last=last))
            )
        else:
            tool = rng.choice(TOOLS)
            child = _span(
                rng,
                trace,
                root.span_id,
                f"execute_tool {tool}",
                clock,
                duration_ns=rng.randrange(10**8),
            )
            child.attributes.extend(_attributes(_tool_attributes(rng, session, tool)))
            if rng.random() < failures:
                child.status.code = Status.STATUS_CODE_ERROR
        yield child


def _span(  # noqa: PLR0913  every argument is one field of the span
    rng: random.Random, trace: bytes, parent: bytes, name: str, start_ns: int, *, duration_ns: int
) -> Span:
    return Span(
        trace_id=trace,
        span_id=rng.randbytes(8),
        parent_span_id=parent,
        name=name,
        kind=Span.SPAN_KIND_CLIENT if name.startswith("chat") else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=start_ns + duration_ns,
        flags=0x101,
    )


def _common(session: str) -> dict[str, Any]:
    return {
        "gen_ai.conversation.id": session,
        "gen_ai.agent.name": "assistant",
        "gen_ai.agent.id": f"asst_{session}",
        "session.region": "eu-central-1",
        "app.build": "2026.01.14+3f9c1e7",
        "app.feature_flags": "new-retriever,strict-tools,short-answers",
        "thread.name": "agent-worker-3",
    }


def _root_attributes(session: str) -> dict[str, Any]:
    return _common(session) | {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "openai",
        "user.id": f"user-{session[:6]}",
        "enduser.scope": "customer:read customer:write orders:read",
        "http.route": "/v1/assistants/{assistant}/sessions/{session}",
        "http.request.method": "POST",
        "client.address": "203.0.113.7",
        "user_agent.original": "checkout-web/7.3 (compatible; agents)",
    }


def _chat_attributes(  # noqa: PLR0913  the facts of one model call
    rng: random.Random, session: str, provider: str, asked: str, answered: str, *, last: bool
) -> dict[str, Any]:
    common = {name: value for name, value in _common(session).items() if name != "thread.name"}
    return common | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": asked,
        "gen_ai.response.model": answered,
        "gen_ai.response.id": f"chatcmpl-{rng.randbytes(12).hex()}",
        "gen_ai.response.finish_reasons": ["stop" if last else "tool_calls"],
        "gen_ai.usage.input_tokens": rng.randrange(500, 20_000),
        "gen_ai.usage.output_tokens": rng.randrange(20, 900),
        "gen_ai.usage.cache_read.input_tokens": rng.randrange(0, 400),
    }


def _tool_attributes(rng: random.Random, session: str, tool: str) -> dict[str, Any]:
    common = {name: value for name, value in _common(session).items() if name != "thread.name"}
    return common | {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": f"call_{rng.randbytes(12).hex()}",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.arguments": f'{{"order_id": "W{rng.randrange(10**7):07d}"}}',
        "gen_ai.tool.call.result": f'{{"status": "delivered", "total": {rng.randrange(500)}.50}}',
        "db.system.name": "postgresql",
        "db.query.summary": "SELECT orders",
        "server.address": "orders.internal.example",
    }


def _attributes(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: Any) -> AnyValue:
    match value:
        case int():
            return AnyValue(int_value=value)
        case list():
            items = ArrayValue(values=[_value(item) for item in value])
            return AnyValue(array_value=items)
        case _:
            return AnyValue(string_value=value)
