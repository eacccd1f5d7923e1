-- {tasks} made-up tasks of March 2026 with eight calls each on average, on two providers, with retries and three outages:
-- what a month of attempts looks like in the ledger. Everything follows from the hash of the numbers, so that every run
-- makes the same one. A task fails where a call fails for good, and in one of twelve others by itself.

CREATE OR REPLACE TEMP TABLE planned AS
SELECT
    i,
    printf('session-%08d', i) AS session_id,
    1 + CAST(hash(i, 1) % 15 AS BIGINT) AS calls,
    CAST(hash(i, 2) % 4 AS INTEGER) AS model_number,
    CAST(hash(i, 3) % 3 AS INTEGER) AS region_number,
    CAST(hash(i, 4) % 12 AS INTEGER) AS luck,
    1772323200000000000 + CAST(i * ((31 * 86400.0 - 300) / {tasks}) AS BIGINT) * 1000000000 AS start_ns
FROM range({tasks}) AS numbers (i);

CREATE OR REPLACE TEMP VIEW wanted AS
WITH drawn AS (
    SELECT
        p.i, p.session_id, p.model_number, p.region_number, c.number,
        p.start_ns + c.number * 7000000000 AS start_ns,
        (hash(p.i, c.number, 5) % 1000000) / 1e6 AS chance,
        (hash(p.i, c.number, 6) % 1000000) / 1e6 AS again,
        (hash(p.i, c.number, 7) % 1000000) / 1e6 AS speed,
        -- Outages: two hours on the 6th, thirty minutes on the 17th, a bad day on the 26th.
        CASE
            WHEN p.start_ns BETWEEN 1772805600000000000 AND 1772812800000000000 THEN 0.5
            WHEN p.start_ns BETWEEN 1773738000000000000 AND 1773739800000000000 THEN 0.9
            WHEN p.start_ns BETWEEN 1774483200000000000 AND 1774569600000000000 THEN 0.05
            ELSE 0.002
        END AS failing
    FROM planned AS p
    JOIN range(15) AS c (number) ON c.number < p.calls
)
SELECT *, chance < failing AS is_failed, chance < failing AND again < greatest(failing, 0.3) AS is_lost
FROM drawn;

-- A call that fails for good is the last one of its task.
CREATE OR REPLACE TEMP TABLE ended AS
SELECT i, min(number) AS number FROM wanted WHERE is_lost GROUP BY i;

CREATE OR REPLACE TEMP VIEW asked AS
SELECT w.* FROM wanted AS w LEFT JOIN ended AS e ON e.i = w.i WHERE e.i IS NULL OR w.number <= e.number;

CREATE OR REPLACE TEMP VIEW tried AS
SELECT * EXCLUDE (is_failed), 1 AS attempt, is_failed, NOT is_failed AS is_final FROM asked
UNION ALL
SELECT * EXCLUDE (is_failed), 2, is_lost, TRUE FROM asked WHERE is_failed;

CREATE OR REPLACE TEMP VIEW attempts_made AS
SELECT
    session_id,
    session_id AS task_id,
    md5(session_id) AS trace_id,
    printf('%07x%02x%d', i, number, attempt) AS span_id,
    printf('%07x%02x1', i, number) AS call_id,
    attempt,
    is_final,
    start_ns + (attempt - 1) * 2000000000 AS start_ns,
    CASE WHEN is_failed THEN 0.8 ELSE 0.5 + 3 * speed END AS duration_s,
    'support' AS agent_name,
    list_value('openai', 'openai', 'anthropic', 'anthropic')[model_number + 1] AS provider,
    list_value('gpt-4.1-mini', 'gpt-4.1', 'claude-sonnet-4-5', 'claude-haiku-4-5')[model_number + 1] AS model,
    list_value('us-east-1', 'us-east-1', 'eu-west-1')[region_number + 1] AS region,
    CASE WHEN is_failed THEN 'error' ELSE 'ok' END AS status,
    CASE WHEN NOT is_failed THEN 200 WHEN again < 0.2 THEN 429 WHEN again < 0.9 THEN 500 END AS http_status,
    CASE WHEN is_failed AND again < 0.2 THEN 'rate_limit_error' WHEN is_failed THEN 'api_error' END AS error_type,
    CASE
        WHEN NOT is_failed THEN NULL
        WHEN again < 0.2 THEN 'provider.rate_limited'
        WHEN again < 0.9 THEN 'provider.server_error'
        ELSE 'provider.timeout'
    END AS failure_class,
    CASE WHEN NOT is_failed THEN 'clean' END AS stop_class,
    CASE WHEN NOT is_failed THEN 0.3 + speed / 2 END AS ttft_s,
    2000 + 400 * number AS input_tokens,
    CASE WHEN NOT is_failed THEN 200 END AS output_tokens,
    CASE WHEN NOT is_failed THEN 0.002 END AS cost_usd,
    printf('req-%d-%d', i, number) AS request_id
FROM tried;

CREATE OR REPLACE TEMP TABLE made AS
SELECT
    p.session_id,
    p.session_id AS task_id,
    'support' AS agent_name,
    list_value('gpt-4.1-mini', 'gpt-4.1', 'claude-sonnet-4-5', 'claude-haiku-4-5')[p.model_number + 1] AS model,
    list_value('openai', 'openai', 'anthropic', 'anthropic')[p.model_number + 1] AS provider,
    'assistant' AS service_name,
    'production' AS environment,
    p.start_ns,
    p.start_ns + p.calls * 7000000000 AS end_ns,
    p.calls * 7.0 AS duration_s,
    3 * p.calls AS spans,
    p.calls AS llm_calls,
    p.calls * 4000 AS input_tokens,
    p.calls * 200 AS output_tokens,
    p.calls * 0.002 AS cost_usd,
    0 AS unpriced_calls,
    TRUE AS root_seen,
    1 AS traces,
    1 AS tasks,
    TRUE AS essential,
    CASE
        WHEN f.i IS NOT NULL THEN 'provider.server_error'
        WHEN p.luck = 0 THEN 'limit.steps'
        ELSE 'completed.declared'
    END AS stop_reason,
    split_part(stop_reason, '.', 1) AS stop_category,
    CASE WHEN stop_reason = 'completed.declared' THEN 'success' ELSE 'failure' END AS stop_outcome,
    'stop' AS stop_raw,
    stop_reason AS inferred_stop_reason,
    stop_outcome AS outcome_inferred,
    1.0 AS weight,
    TRUE AS kept
FROM planned AS p
LEFT JOIN ended AS f ON f.i = p.i
