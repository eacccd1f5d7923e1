-- Sums and attributes of each unit: the spans of one session with one task.
-- Reads  ledger_spans, attempts, words, session_tasks, stops.
-- Makes  units (also the basis of 60_sessions.sql), unit_models, unit_dialects, tasks.

-- `place` orders spans for "of the root, else the first": spans without a parent come first. The
-- span id decides between spans of one nanosecond, where arrival would otherwise.
CREATE OR REPLACE TEMP TABLE units AS
WITH facts AS (
    SELECT
        s.*,
        row(s.parent_span_id IS NOT NULL, s.start_ns, s.span_id) AS place,
        s.operation = 'tool' AND (
            s.status = 'error'
            OR (s.status = 'unset' AND s.error_type IS NOT NULL)
            OR w.canonical IN ('error', 'timeout')
        ) AS is_tool_error,
        -- A verdict that comes as a trace of its own comes later: nothing of the work took that long.
        s.operation = 'evaluation' AND s.parent_span_id IS NULL AS is_verdict
    FROM ledger_spans AS s
    LEFT JOIN words AS w ON w.column_name = 'tool_status' AND w.raw = lower(s.tool_status)
)
SELECT
    session_id,
    task_id,
    arg_min(agent_name, place) FILTER (WHERE agent_name IS NOT NULL) AS agent_name,
    min(place) FILTER (WHERE agent_name IS NOT NULL) AS agent_place,
    arg_min(task_name, place) FILTER (WHERE task_name IS NOT NULL) AS task_name,
    arg_min(workflow_name, place) FILTER (WHERE workflow_name IS NOT NULL) AS workflow_name,
    arg_min(service_name, place) FILTER (WHERE service_name IS NOT NULL) AS service_name,
    arg_min(environment, place) FILTER (WHERE environment IS NOT NULL) AS environment,
    arg_min(tenant_id, place) FILTER (WHERE tenant_id IS NOT NULL) AS tenant_id,
    arg_min(user_id, place) FILTER (WHERE user_id IS NOT NULL) AS user_id,
    min(place) AS place,
    coalesce(min(start_ns) FILTER (WHERE NOT is_verdict), min(start_ns)) AS start_ns,
    coalesce(
        max(coalesce(end_ns, start_ns)) FILTER (WHERE NOT is_verdict), max(coalesce(end_ns, start_ns))
    ) AS end_ns,
    count(*) AS spans,
    count(*) FILTER (WHERE billable) AS llm_calls,
    count(*) FILTER (WHERE operation = 'tool') AS tool_calls,
    count(*) FILTER (WHERE is_tool_error) AS tool_errors,
    CAST(sum(input_tokens) FILTER (WHERE billable) AS BIGINT) AS input_tokens,
    CAST(sum(uncached_tokens) FILTER (WHERE billable) AS BIGINT) AS uncached_tokens,
    CAST(sum(cache_read_tokens) FILTER (WHERE billable) AS BIGINT) AS cache_read_tokens,
    CAST(sum(cache_write_tokens) FILTER (WHERE billable) AS BIGINT) AS cache_write_tokens,
    CAST(sum(output_tokens) FILTER (WHERE billable) AS BIGINT) AS output_tokens,
    CAST(sum(reasoning_tokens) FILTER (WHERE billable) AS BIGINT) AS reasoning_tokens,
    sum(cost_usd) AS cost_usd,
    count(cost_missing_reason) AS unpriced_calls,
    arg_min(cost_missing_reason, row(start_ns, span_id))
        FILTER (WHERE cost_missing_reason IS NOT NULL) AS cost_missing_reason,
    min(row(start_ns, span_id)) FILTER (WHERE cost_missing_reason IS NOT NULL) AS unpriced_place,
    sum(cost_usd) FILTER (WHERE waste_reason IS NOT NULL) AS wasted_cost_usd,
    sum(cost_usd) FILTER (WHERE waste_reason = 'failed_attempt') AS wasted_failed_attempt_usd,
    sum(cost_usd) FILTER (WHERE waste_reason = 'duplicate') AS wasted_duplicate_usd,
    sum(cost_usd) FILTER (WHERE waste_reason = 'cancelled_sibling')
        AS wasted_cancelled_sibling_usd,
    sum(cost_usd) FILTER (WHERE waste_reason = 'after_done') AS wasted_after_done_usd,
    coalesce(bool_and(essential) FILTER (WHERE operation = 'task'), TRUE) AS essential,
    count(*) FILTER (WHERE operation = 'handoff' OR handoff_to IS NOT NULL) AS handoffs,
    -- One that is decided elsewhere has a span for the request and one for the decision.
    count(DISTINCT coalesce(approval_id, span_id))
        FILTER (WHERE operation = 'approval' OR approval_status IS NOT NULL) AS approvals,
    bool_or(parent_span_id IS NULL AND end_ns IS NOT NULL AND NOT is_verdict) AS root_seen,
    max(CASE WHEN sampling_weight > 0 THEN sampling_weight END) AS weight,
    count(sampling_policy) > 0 AS is_sampled
FROM facts
GROUP BY session_id, task_id;

-- The model of a unit is the one that took most input tokens, then most calls, then by name.
CREATE OR REPLACE TEMP TABLE unit_models AS
SELECT
    session_id, task_id, provider, model,
    coalesce(sum(input_tokens), 0) AS input_tokens,
    count(*) AS calls,
    count(failure_class) AS errors
FROM attempts
GROUP BY session_id, task_id, provider, model;

CREATE OR REPLACE TEMP TABLE unit_dialects AS
SELECT session_id, task_id, dialect, count(*) AS spans
FROM ledger_spans
GROUP BY session_id, task_id, dialect;

-- Where a session declares several tasks, what lies outside of all of them is no task: nobody asked
-- for it by itself, so it must not count in a success rate. Its cost is in the session's sums.
CREATE OR REPLACE TEMP TABLE tasks AS
WITH models AS (
    SELECT session_id, task_id, provider, model
    FROM unit_models
    QUALIFY row_number() OVER (
        PARTITION BY session_id, task_id ORDER BY input_tokens DESC, calls DESC, model, provider
    ) = 1
),
errors AS (
    SELECT session_id, task_id, CAST(sum(errors) AS BIGINT) AS llm_errors
    FROM unit_models
    GROUP BY session_id, task_id
),
dialects AS (
    SELECT session_id, task_id, dialect
    FROM unit_dialects
    QUALIFY row_number() OVER (
        PARTITION BY session_id, task_id ORDER BY spans DESC, dialect
    ) = 1
)
SELECT
    u.session_id,
    u.task_id,
    u.task_name,
    u.agent_name,
    u.workflow_name,
    m.model,
    m.provider,
    u.service_name,
    u.environment,
    u.tenant_id,
    u.user_id,
    d.dialect,
    u.start_ns,
    u.end_ns,
    (u.end_ns - u.start_ns) / 1e9 AS duration_s,
    u.spans,
    u.llm_calls,
    coalesce(e.llm_errors, 0) AS llm_errors,
    u.tool_calls,
    u.tool_errors,
    u.input_tokens,
    u.uncached_tokens,
    u.cache_read_tokens,
    u.cache_write_tokens,
    u.output_tokens,
    u.reasoning_tokens,
    u.cost_usd,
    u.unpriced_calls,
    u.cost_missing_reason,
    -- Nothing was wasted where costs are known; nothing is known where they are not.
    CASE WHEN u.cost_usd IS NOT NULL THEN coalesce(u.wasted_cost_usd, 0) END AS wasted_cost_usd,
    CASE WHEN u.cost_usd IS NOT NULL THEN coalesce(u.wasted_failed_attempt_usd, 0) END
        AS wasted_failed_attempt_usd,
    CASE WHEN u.cost_usd IS NOT NULL THEN coalesce(u.wasted_duplicate_usd, 0) END
        AS wasted_duplicate_usd,
    CASE WHEN u.cost_usd IS NOT NULL THEN coalesce(u.wasted_cancelled_sibling_usd, 0) END
        AS wasted_cancelled_sibling_usd,
    CASE WHEN u.cost_usd IS NOT NULL THEN coalesce(u.wasted_after_done_usd, 0) END
        AS wasted_after_done_usd,
    u.essential,
    s.stop_reason,
    s.stop_category,
    s.stop_outcome,
    s.stop_fault,
    s.stop_rule,
    s.stop_rule_version,
    s.stop_evidence,
    s.stop_contributing,
    s.stop_raw,
    s.stop_framework_raw,
    s.inferred_stop_reason,
    s.outcome_inferred,
    s.outcome_declared
FROM units AS u
JOIN dialects AS d ON d.session_id = u.session_id AND d.task_id = u.task_id
LEFT JOIN models AS m ON m.session_id = u.session_id AND m.task_id = u.task_id
LEFT JOIN errors AS e ON e.session_id = u.session_id AND e.task_id = u.task_id
LEFT JOIN session_tasks AS t ON t.session_id = u.session_id
LEFT JOIN stops AS s ON s.session_id = u.session_id AND s.task_id = u.task_id
WHERE coalesce(NOT t.is_several, TRUE) OR u.task_id <> u.session_id;
