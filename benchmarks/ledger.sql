-- {sessions} made-up sessions of one task each over 30 days; three in five have a verified verdict.
-- Everything follows from the hash of the session's number, so every run makes the same ledger.
CREATE OR REPLACE TEMP TABLE numbered AS
SELECT
    i,
    printf('session-%07d', i) AS session_id,
    (hash(i, 1) % 1000000) / 1e6 AS chance,
    (hash(i, 2) % 1000000) / 1e6 AS size,
    (hash(i, 3) % 1000000) / 1e6 AS luck,
    CAST(hash(i, 4) % 8 AS INTEGER) AS agent,
    CAST(hash(i, 5) % 4 AS INTEGER) AS model_number,
    CAST(1767225600000000000 + (i * 30 * 86400.0 / {sessions})::BIGINT * 1000000000 AS BIGINT)
        AS start_ns
FROM range({sessions}) AS numbers (i);

CREATE OR REPLACE TEMP TABLE ended AS
SELECT
    *,
    CAST(2 + size * size * 40 AS BIGINT) AS llm_calls,
    CASE
        WHEN chance < 0.80 THEN 'completed.unverified'
        WHEN chance < 0.88 THEN 'completed.declared'
        WHEN chance < 0.91 THEN 'limit.steps'
        WHEN chance < 0.93 THEN 'tool.error_unrecovered'
        WHEN chance < 0.95 THEN 'truncated.output_limit'
        WHEN chance < 0.97 THEN 'provider.rate_limited'
        WHEN chance < 0.99 THEN 'waiting.human_input'
        ELSE 'unknown.no_evidence'
    END AS stop_reason
FROM numbered;

CREATE OR REPLACE TEMP TABLE made AS
SELECT
    i,
    session_id,
    session_id AS task_id,
    list_value(
        'support', 'orders', 'travel', 'review', 'search', 'billing', 'triage', 'docs'
    )[agent + 1] AS agent_name,
    list_value(
        'gpt-4.1-mini', 'gpt-5', 'claude-sonnet-4-5', 'gemini-2.5-flash'
    )[model_number + 1] AS model,
    list_value('openai', 'openai', 'anthropic', 'gcp.gemini')[model_number + 1] AS provider,
    'assistant' AS service_name,
    'production' AS environment,
    'semconv' AS dialect,
    start_ns,
    start_ns + CAST((5 + size * 600) * 1e9 AS BIGINT) AS end_ns,
    5 + size * 600 AS duration_s,
    3 * llm_calls AS spans,
    llm_calls,
    llm_calls - 1 AS tool_calls,
    CAST(luck < 0.1 AS BIGINT) AS tool_errors,
    0 AS llm_errors,
    llm_calls * 4000 AS input_tokens,
    llm_calls * 1000 AS uncached_tokens,
    llm_calls * 3000 AS cache_read_tokens,
    0 AS cache_write_tokens,
    llm_calls * 200 AS output_tokens,
    0 AS reasoning_tokens,
    CASE WHEN agent = 7 AND luck < 0.05 THEN NULL ELSE llm_calls * (1 + size) / 1000 END AS cost_usd,
    CAST(agent = 7 AND luck < 0.05 AS BIGINT) * llm_calls AS unpriced_calls,
    CASE WHEN luck < 0.1 THEN llm_calls * size / 10000 ELSE 0 END AS wasted_cost_usd,
    TRUE AS root_seen,
    1 AS traces,
    1 AS tasks,
    TRUE AS essential,
    stop_reason,
    split_part(stop_reason, '.', 1) AS stop_category,
    CASE
        WHEN stop_reason = 'completed.declared' THEN 'success'
        WHEN stop_reason LIKE 'completed.%' OR stop_reason LIKE 'waiting.%'
            OR stop_reason LIKE 'unknown.%' THEN 'undetermined'
        ELSE 'failure'
    END AS stop_outcome,
    'stop' AS stop_raw,
    stop_reason AS inferred_stop_reason,
    stop_outcome AS outcome_inferred,
    1.0 AS weight,
    TRUE AS kept
FROM ended;

CREATE OR REPLACE TEMP TABLE judged AS
SELECT
    session_id,
    CAST(NULL AS VARCHAR) AS task_id,
    CASE WHEN hash(i, 6) % 100 < 64 THEN 'success' ELSE 'failure' END AS outcome,
    'verified' AS evidence,
    'reward' AS source,
    end_ns AS decided_ns,
    end_ns + 3600000000000 AS recorded_ns,
    start_ns
FROM made
WHERE hash(i, 7) % 5 < 3;
