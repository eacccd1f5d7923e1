"""What a step tells about itself when it ends: the facts a task's evidence is made of.

Without times, steps are taken to have happened when they were told of, one after the other.
"""

from __future__ import annotations

from typing import NamedTuple


class LlmFacts(NamedTuple):
    """What is known of a model call when it ends.

    Attributes:
        raw: Stop value as written; several joined with a comma.
        provider: OTel `gen_ai.provider.name`.
        failed: The span has status error.
        error_type: `error.type`.
        http_status: Status of the response.
        streamed: A first chunk came.
        cut: The stream ended before its final chunk.
        input_tokens: All input tokens, cached ones included.
        output_tokens: All output tokens, reasoning included.
        max_tokens: Output cap asked for.
        state: Final-state inspection of the output.
        pending_calls: Tool calls the output asks for.
        claims_success: The output claims success.
        gateway: Gateway in between.
        start_ns: Start, UTC, ns since 1970.
        end_ns: End.
        request_model: Model asked for.
        response_model: Model that answered.
        cache_read_tokens: Input read from a cache.
        cache_write_tokens: Input written to a cache.
        cache_write_1h_tokens: Of those, written for an hour.
        reasoning_tokens: Output spent on reasoning.
        tier: Service tier that served it.
        tier_requested: Service tier asked for.
        cost_reported: USD the provider or a gateway reported.
        parent_id: Span id of the parent. Of calls side by side under one parent those cancelled
            because another one answered say nothing about the end.
    """

    raw: str | None = None
    provider: str | None = None
    failed: bool = False
    error_type: str | None = None
    http_status: int | None = None
    streamed: bool = False
    cut: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    max_tokens: int | None = None
    state: str | None = None
    pending_calls: int | None = None
    claims_success: bool | None = None
    gateway: str | None = None
    start_ns: int = 0
    end_ns: int = 0
    request_model: str | None = None
    response_model: str | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    tier: str | None = None
    tier_requested: str | None = None
    cost_reported: float | None = None
    parent_id: int | None = None


class ToolFacts(NamedTuple):
    """What is known of a tool call when it ends.

    Attributes:
        name: Tool.
        arguments_hash: Fingerprint of its arguments.
        result_hash: Fingerprint of its result.
        failed: It ended in an error.
        denied: A person or the permission layer denied it.
        error_type: `error.type`.
        side_effect: none, read, write or external.
        start_ns: Start, UTC, ns since 1970.
        end_ns: End.
        call_id: Id the model gave the call.
        http_status: Status of the response, of a tool that is a request.
    """

    name: str | None = None
    arguments_hash: int | None = None
    result_hash: int | None = None
    failed: bool = False
    denied: bool = False
    error_type: str | None = None
    side_effect: str | None = None
    start_ns: int = 0
    end_ns: int = 0
    call_id: str | None = None
    http_status: int | None = None


class FrameFacts(NamedTuple):
    """What is known of an inner agent, workflow, task or plain step when it ends.

    Attributes:
        agent: It is an agent.
        failed: It has status error.
        error_type: `error.type`.
        output: It captured an output of the run that is complete.
        start_ns: Start, UTC, ns since 1970.
        end_ns: End.
    """

    agent: bool = False
    failed: bool = False
    error_type: str | None = None
    output: bool = False
    start_ns: int = 0
    end_ns: int = 0
