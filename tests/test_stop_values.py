"""Every value providers and frameworks are known to report has a meaning; unknown ones have none.

The values are listed here by themselves, from the SDKs' literal types, not read from values.yaml.
"""

from __future__ import annotations

import pytest

from tracekit.dialects.registry import load as load_dialects
from tracekit.stops.values import bare_name, values


def _words(text: str) -> list[str]:
    return text.split()


PROVIDERS = {
    "anthropic": "end_turn max_tokens stop_sequence tool_use pause_turn refusal "
    "model_context_window_exceeded compaction cyber bio frontier_llm reasoning_extraction "
    "general_harms",
    "openai": "stop length tool_calls content_filter function_call completed failed in_progress "
    "cancelled queued incomplete max_output_tokens max_messages steered server_error "
    "rate_limit_exceeded invalid_prompt data_residency_mismatch bio_policy "
    "misalignment_policy_violation vector_store_timeout invalid_image invalid_image_format "
    "invalid_base64_image invalid_image_url image_too_large image_too_small image_parse_error "
    "image_content_policy_violation invalid_image_mode image_file_too_large "
    "unsupported_image_media_type empty_image_file failed_to_download_image image_file_not_found",
    "gcp.gemini": "FINISH_REASON_UNSPECIFIED STOP MAX_TOKENS SAFETY RECITATION LANGUAGE OTHER "
    "BLOCKLIST PROHIBITED_CONTENT SPII MALFORMED_FUNCTION_CALL IMAGE_SAFETY "
    "IMAGE_PROHIBITED_CONTENT IMAGE_OTHER NO_IMAGE IMAGE_RECITATION UNEXPECTED_TOOL_CALL "
    "TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE MALFORMED_RESPONSE ESCALATION "
    "PUP_LIMITED_DISABLED CONTINUATION MODEL_ARMOR BLOCKED_REASON_UNSPECIFIED JAILBREAK "
    "in_progress requires_action completed failed cancelled incomplete budget_exceeded queued "
    "requires_continuation FinishReason.STOP",
    "aws.bedrock": "end_turn tool_use max_tokens stop_sequence guardrail_intervened "
    "content_filtered malformed_model_output malformed_tool_use model_context_window_exceeded "
    "SUCCESS INPUT_REQUIRED Running Succeeded Failed TimedOut Aborted FINISH COMPLETE endoftext",
    "mistral_ai": "stop length model_length error tool_calls",
    "cohere": "COMPLETE STOP_SEQUENCE MAX_TOKENS TOOL_CALL ERROR TIMEOUT ERROR_TOXIC ERROR_LIMIT "
    "USER_CANCEL",
    "groq": "stop length tool_calls function_call content_filter",
    "deepseek": "stop length content_filter tool_calls insufficient_system_resource",
    "x_ai": "REASON_INVALID REASON_MAX_LEN REASON_MAX_CONTEXT REASON_STOP REASON_TOOL_CALLS "
    "REASON_TIME_LIMIT stop length tool_calls",
    "ollama": "stop length load unload",
    "vllm": "stop length abort error repetition",
    "azure.ai.inference": "stop length content_filter tool_calls",
    "openrouter": "stop length tool_calls content_filter function_call error",
    "vercel": "stop length content-filter tool-calls error other unknown",
    "microsoft.agent_framework": "stop length tool_calls content_filter function_call",
    "ibm.watsonx.ai": "stop_sequence eos_token max_tokens not_finished",
    "together_ai": "eos stop length",
    "zhipu": "network_error",
}
FRAMEWORKS = _words(
    "success error_max_turns error_during_execution error_max_budget_usd "
    "error_max_structured_output_retries completed background_requested api_error max_turns "
    "budget_exhausted blocking_limit rapid_refill_breaker prompt_too_long image_error model_error "
    "malformed_tool_use_exhausted structured_output_retry_exhausted turn_setup_failed "
    "tool_deferred tool_deferred_unavailable aborted_streaming aborted_tools stop_hook_prevented "
    "hook_stopped MaxTurnsExceeded ModelBehaviorError ModelRefusalError ModelTimeoutError "
    "ToolTimeoutError MCPToolCancellationError UserError InputGuardrailTripwireTriggered "
    "OutputGuardrailTripwireTriggered ToolInputGuardrailTripwireTriggered "
    "ToolOutputGuardrailTripwireTriggered GraphRecursionError GRAPH_RECURSION_LIMIT GraphInterrupt "
    "NodeInterrupt GraphDrained NodeTimeoutError NodeCancelledError InvalidUpdateError "
    "EmptyInputError INVALID_CONCURRENT_GRAPH_UPDATE INVALID_GRAPH_NODE_RETURN_VALUE "
    "MULTIPLE_SUBGRAPHS INVALID_CHAT_HISTORY UsageLimitExceeded OutputTokenLimitExceeded "
    "IncompleteToolCall UnexpectedModelBehavior ContentFilterError RunCancelled RunTimedOut "
    "ConcurrencyLimitExceeded SuspendedResponseExpired ToolFailed CallDeferred ApprovalRequired "
    "ModelRateLimitError ModelQuotaExceededError ModelOverloadedError ModelUnavailableError "
    "ModelServerError ModelConnectionError ModelTimeoutError ModelContextWindowExceededError "
    "ModelRequestRejectedError ModelAuthenticationError ModelNotFoundError end_turn tool_use "
    "max_tokens stop_sequence content_filtered guardrail_intervened cancelled checkpoint interrupt "
    "limit_turns limit_output_tokens limit_total_tokens max_steps_error AgentParsingError "
    "AgentExecutionError AgentMaxStepsError AgentToolCallError AgentToolExecutionError "
    "AgentGenerationError CrewKickoffFailed LLMContextLengthExceededError submitted working "
    "input-required canceled failed unknown PENDING RUNNING COMPLETED PAUSED CANCELLED ERROR "
    "max_iterations guardrail user_stop agent_stop max_steps too_many_errors agent_error "
    "user_error infrastructure_error Submitted LimitsExceeded TERMINATE max_round"
)
PHRASES = {
    "Maximum number of messages 10 reached, current message count: 10": "limit.steps",
    "Token usage limit reached, total token count: 9, prompt token count: 5": "limit.tokens",
    "Timeout of 30 seconds reached": "limit.time",
    "Handoff to user from assistant detected.": "waiting.handoff",
    "External termination requested": "cancelled.caller",
    "Text 'TERMINATE' mentioned": "clean",
    "Stop message received": "clean",
    "'writer' answered": "clean",
    "Text message received from 'writer'": "clean",
    "Function 'approve' was executed.": "clean",
    "Functional termination condition met": "clean",
    "Request satisfied.": "clean",
    "Max rounds (30) reached.": "limit.steps",
    "Max time (1500s) reached.": "limit.time",
    "Replan counter exceeded... Terminating.": "limit.retries",
}
INFERENCE_ERRORS = _words(
    "invalid_request_error authentication_error billing_error permission_error not_found_error "
    "rate_limit_error timeout_error api_error overloaded_error conflict_error ThrottlingException "
    "ModelTimeoutException ModelNotReadyException ModelErrorException ModelStreamErrorException "
    "ServiceUnavailableException InternalServerException ValidationException "
    "AccessDeniedException server_error rate_limit_exceeded insufficient_quota content_filter 400 "
    "401 403 404 408 413 422 "
    "429 500 503 504 529"
)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_stop_value_of_a_provider_has_a_meaning(provider: str) -> None:
    """A value of the provider's SDK means a class or a code, in any case of letters."""
    known = values()
    for raw in PROVIDERS[provider].split():
        assert known.stop(provider, raw) is not None, raw
        assert known.stop(provider, raw) == known.stop(provider, raw.upper())


def test_every_terminal_state_of_a_framework_has_a_meaning() -> None:
    """States, exceptions and error codes of the frameworks all mean something."""
    assert [raw for raw in FRAMEWORKS if values().framework(raw) is None] == []


@pytest.mark.parametrize("text", PHRASES)
def test_free_text_of_autogen_is_recognised(text: str) -> None:
    """A terminal sentence means what it says, whatever numbers and names are in it."""
    assert values().framework(text) == PHRASES[text]


def test_every_error_type_of_an_inference_has_a_code() -> None:
    """Error types and HTTP statuses of a model call are mapped."""
    assert [raw for raw in INFERENCE_ERRORS if values().error(raw, "inference") is None] == []


@pytest.mark.parametrize(
    ("provider", "raw", "meaning"),
    [
        ("cohere", "ERROR_LIMIT", "truncated.context_window"),
        ("cohere", "ERROR", "provider.server_error"),
        ("vllm", "repetition", "loop.repeat_call"),
        ("deepseek", "insufficient_system_resource", "provider.overloaded"),
        ("ollama", "load", "completed.empty_output"),
        ("aws.bedrock", "Failed", "runtime.exception"),
        ("openai", "failed", "provider.server_error"),
        (None, "stop", "clean"),
        ("gcp.gemini", "wandered_off", None),
    ],
)
def test_a_provider_own_meaning_beats_the_common_one(
    provider: str | None, raw: str, meaning: str | None
) -> None:
    """A word may mean different things of different providers; an unlisted one means none."""
    assert values().stop(provider, raw) == meaning


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("langgraph.errors.GraphRecursionError", "graphrecursionerror"),
        ("<class 'openai.RateLimitError'>", "ratelimiterror"),
        ("GraphRecursionError", "graphrecursionerror"),
        ("System.TimeoutException", "timeoutexception"),
        ("429", "429"),
        ("tool-calls", "tool-calls"),
    ],
)
def test_an_exception_is_compared_by_its_bare_name(raw: str, name: str) -> None:
    """Module paths, class reprs and letter case do not matter."""
    assert bare_name(raw) == name


@pytest.mark.parametrize(
    ("place", "code"),
    [("inference", "provider.timeout"), ("tool", "tool.timeout"), ("run", "limit.time")],
)
def test_an_error_means_what_it_means_where_it_was_raised(place: str, code: str) -> None:
    """A timeout is the provider's, the tool's or the run's."""
    assert values().error("asyncio.TimeoutError", place) == code


def test_one_word_can_be_two_states_told_apart_by_capitals() -> None:
    """`Submitted` of mini-swe-agent is an end, `submitted` of A2A a beginning."""
    assert values().framework("Submitted") == "clean"
    assert values().framework("submitted") == "waiting.continuation"


@pytest.mark.parametrize(
    ("kind", "column", "meanings"),
    [
        ("tool", "tool_status", {"error": {"error", "timeout"}, "denied": {"denied"}}),
        ("verdict", "eval_label", {"pass": {"pass"}, "fail": {"fail"}}),
        (
            "approval",
            "approval_status",
            {"requested": {"requested"}, "denied": {"denied", "expired"}},
        ),
        ("declared", "task_status", {"failed": {"failure"}, "infeasible": {"infeasible"}}),
        ("declared", "done_status", {"failed": {"failed"}, "infeasible": {"infeasible"}}),
    ],
)
def test_the_words_of_a_status_mean_the_same_to_stops_and_to_the_ledger(
    kind: str, column: str, meanings: dict[str, set[str]]
) -> None:
    """What the ledger takes for a failed tool, a verdict or a refusal, the classifier does too."""
    words = load_dialects().values[column]["*"]
    for meaning, canonical in meanings.items():
        ledger = {word for word, value in words.items() if value in canonical}
        stops = {word for word, value in values().statuses[kind].items() if value == meaning}
        assert ledger <= stops
        assert kind not in {"tool", "verdict"} or ledger == stops
