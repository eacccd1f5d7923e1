-- Sessions: the sums of their units; the stop and the verdict of their last task.
-- Reads  units, unit_models, unit_dialects, tasks, ledger_spans.
-- Makes  sessions.

CREATE OR REPLACE TEMP TABLE sessions AS
WITH sums AS (
    SELECT
        session_id,
        arg_min(agent_name, agent_place) FILTER (WHERE agent_name IS NOT NULL) AS agent_name,
        arg_min(workflow_name, place) FILTER (WHERE workflow_name IS NOT NULL) AS workflow_name,
        arg_min(service_name, place) FILTER (WHERE service_name IS NOT NULL) AS service_name,
        arg_min(environment, place) FILTER (WHERE environment IS NOT NULL) AS environment,
        arg_min(tenant_id, place) FILTER (WHERE tenant_id IS NOT NULL) AS tenant_id,
        arg_min(user_id, place) FILTER (WHERE user_id IS NOT NULL) AS user_id,
        min(start_ns) AS start_ns,
        max(end_ns) AS end_ns,
        CAST(sum(spans) AS BIGINT) AS spans,
        CAST(sum(llm_calls) AS BIGINT) AS llm_calls,
        CAST(sum(tool_calls) AS BIGINT) AS tool_calls,
        CAST(sum(tool_errors) AS BIGINT) AS tool_errors,
        CAST(sum(input_tokens) AS BIGINT) AS input_tokens,
        CAST(sum(uncached_tokens) AS BIGINT) AS uncached_tokens,
        CAST(sum(cache_read_tokens) AS BIGINT) AS cache_read_tokens,
        CAST(sum(cache_write_tokens) AS BIGINT) AS cache_write_tokens,
        CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
        CAST(sum(reasoning_tokens) AS BIGINT) AS reasoning_tokens,
        sum(cost_usd) AS cost_usd,
        CAST(sum(unpriced_calls) AS BIGINT) AS unpriced_calls,
        arg_min(cost_missing_reason, unpriced_place)
            FILTER (WHERE cost_missing_reason IS NOT NULL) AS cost_missing_reason,
        sum(wasted_cost_usd) AS wasted_cost_usd,
        sum(wasted_failed_attempt_usd) AS wasted_failed_attempt_usd,
        sum(wasted_duplicate_usd) AS wasted_duplicate_usd,
        sum(wasted_cancelled_sibling_usd) AS wasted_cancelled_sibling_usd,
        sum(wasted_after_done_usd) AS wasted_after_done_usd,
        CAST(sum(handoffs) AS BIGINT) AS handoffs,
        CAST(sum(approvals) AS BIGINT) AS approvals,
        coalesce(bool_or(root_seen), FALSE) AS root_seen,
        -- What a sampler let through without a weight, as what was kept by hand, stands for nobody knows how many.
        coalesce(max(weight), CASE WHEN NOT bool_or(is_sampled) THEN 1 END) AS weight
    FROM units
    GROUP BY session_id
),
model_sums AS (
    SELECT
        session_id, provider, model, sum(input_tokens) AS input_tokens, sum(calls) AS calls
    FROM unit_models
    GROUP BY session_id, provider, model
),
models AS (
    SELECT session_id, provider, model
    FROM model_sums
    QUALIFY row_number() OVER (
        PARTITION BY session_id ORDER BY input_tokens DESC, calls DESC, model, provider
    ) = 1
),
errors AS (
    SELECT session_id, CAST(sum(errors) AS BIGINT) AS llm_errors
    FROM unit_models
    GROUP BY session_id
),
dialect_sums AS (
    SELECT session_id, dialect, sum(spans) AS spans FROM unit_dialects GROUP BY session_id, dialect
),
dialects AS (
    SELECT session_id, dialect
    FROM dialect_sums
    QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY spans DESC, dialect) = 1
),
trace_keys AS (
    SELECT DISTINCT session_id, trace_id FROM ledger_spans
),
trace_counts AS (
    SELECT session_id, count(*) AS traces FROM trace_keys GROUP BY session_id
),
task_counts AS (
    SELECT session_id, count(*) AS tasks FROM tasks GROUP BY session_id
),
last_tasks AS (
    SELECT *
    FROM tasks
    QUALIFY row_number() OVER (
        PARTITION BY session_id ORDER BY end_ns DESC, start_ns DESC, task_id
    ) = 1
)
SELECT
    s.session_id,
    s.agent_name,
    s.workflow_name,
    m.model,
    m.provider,
    s.service_name,
    s.environment,
    s.tenant_id,
    s.user_id,
    d.dialect,
    s.start_ns,
    s.end_ns,
    (s.end_ns - s.start_ns) / 1e9 AS duration_s,
    s.spans,
    s.llm_calls,
    coalesce(e.llm_errors, 0) AS llm_errors,
    s.tool_calls,
    s.tool_errors,
    s.input_tokens,
    s.uncached_tokens,
    s.cache_read_tokens,
    s.cache_write_tokens,
    s.output_tokens,
    s.reasoning_tokens,
    s.cost_usd,
    s.unpriced_calls,
    s.cost_missing_reason,
    CASE WHEN s.cost_usd IS NOT NULL THEN coalesce(s.wasted_cost_usd, 0) END AS wasted_cost_usd,
    CASE WHEN s.cost_usd IS NOT NULL THEN coalesce(s.wasted_failed_attempt_usd, 0) END
        AS wasted_failed_attempt_usd,
    CASE WHEN s.cost_usd IS NOT NULL THEN coalesce(s.wasted_duplicate_usd, 0) END
        AS wasted_duplicate_usd,
    CASE WHEN s.cost_usd IS NOT NULL THEN coalesce(s.wasted_cancelled_sibling_usd, 0) END
        AS wasted_cancelled_sibling_usd,
    CASE WHEN s.cost_usd IS NOT NULL THEN coalesce(s.wasted_after_done_usd, 0) END
        AS wasted_after_done_usd,
    c.traces,
    n.tasks,
    s.handoffs,
    s.approvals,
    s.root_seen,
    t.stop_reason,
    t.stop_category,
    t.stop_outcome,
    t.stop_fault,
    t.stop_rule,
    t.stop_rule_version,
    t.stop_evidence,
    t.stop_contributing,
    t.stop_raw,
    t.stop_framework_raw,
    t.inferred_stop_reason,
    t.outcome_inferred,
    t.outcome_declared,
    -- What a collector saw and decided stands in the lake alone: all that spans can say, whatever came through here was kept.
    CAST(NULL AS VARCHAR) AS trigger,
    CAST(NULL AS BIGINT) AS bytes,
    TRUE AS kept,
    s.weight,
    CAST(NULL AS VARCHAR) AS policy,
    CAST(NULL AS VARCHAR) AS rule,
    CAST(NULL AS VARCHAR) AS stratum,
    CAST(NULL AS VARCHAR) AS reasons,
    CAST(NULL AS BIGINT) AS threshold,
    CAST(NULL AS BIGINT) AS randomness,
    CAST(NULL AS DOUBLE) AS probability,
    CAST(NULL AS DOUBLE) AS inclusion,
    CAST(NULL AS BIGINT) AS decided_ns,
    CAST(NULL AS BIGINT) AS decided_spans,
    CAST(NULL AS BIGINT) AS degrade,
    CAST(NULL AS BIGINT) AS overruled_ns
FROM sums AS s
JOIN dialects AS d ON d.session_id = s.session_id
JOIN trace_counts AS c ON c.session_id = s.session_id
JOIN task_counts AS n ON n.session_id = s.session_id
JOIN last_tasks AS t ON t.session_id = s.session_id
LEFT JOIN models AS m ON m.session_id = s.session_id
LEFT JOIN errors AS e ON e.session_id = s.session_id;
