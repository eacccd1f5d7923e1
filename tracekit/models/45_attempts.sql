-- Attempts: one row per billable call.
-- Reads  ledger_spans, failures, retries.
-- Makes  attempts (view: a filter of the spans and two small tables).

CREATE OR REPLACE TEMP VIEW attempts AS
SELECT
    s.session_id,
    s.task_id,
    s.trace_id,
    s.span_id,
    coalesce(t.call_id, s.span_id) AS call_id,
    coalesce(t.attempt, s.attempt, 1) AS attempt,
    coalesce(t.is_final, TRUE) AS is_final,
    s.start_ns,
    s.duration_s,
    s.agent_name,
    s.provider,
    s.model,
    s.server_address,
    s.region,
    s.service_tier_requested,
    s.service_tier,
    s.status,
    s.http_status,
    s.error_type,
    f.failure_class,
    s.stop_raw,
    s.stop_class,
    s.ttft_s,
    s.stream_complete,
    s.input_tokens,
    s.output_tokens,
    s.cost_usd,
    s.waste_reason,
    s.retry_wait_s,
    s.request_id,
    s.essential
FROM ledger_spans AS s
LEFT JOIN retries AS t ON t.row_id = s.row_id
LEFT JOIN failures AS f ON f.row_id = s.row_id
WHERE s.billable;
