-- The steps of one session, in order of time.
SELECT
    trace_id,
    span_id,
    parent_span_id,
    task_id,
    name,
    operation,
    CASE operation
        WHEN 'llm' THEN model
        WHEN 'embeddings' THEN model
        WHEN 'rerank' THEN model
        WHEN 'tool' THEN tool_name
        WHEN 'agent' THEN agent_name
        WHEN 'workflow' THEN workflow_name
        WHEN 'task' THEN task_name
        WHEN 'handoff' THEN handoff_to
    END AS subject,
    start_ns,
    end_ns,
    duration_s,
    input_tokens,
    cache_read_tokens,
    output_tokens,
    billable,
    cost_usd,
    cost_missing_reason,
    waste_reason,
    wasted_cost_usd,
    status,
    error_type,
    http_status,
    stop_raw,
    stop_class,
    stop_framework_raw,
    approval_status
FROM spans
WHERE session_id = {session_id}
ORDER BY start_ns, end_ns DESC NULLS FIRST, trace_id, span_id
