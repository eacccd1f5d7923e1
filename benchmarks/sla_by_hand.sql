-- The contract of one provider, all three indicators and the losses of a month, for somebody who knows that a task is a
-- session, that nothing falls back, and which failures count: straight from the files.
WITH attempts AS (
    SELECT session_id, provider, is_final, start_ns, http_status, failure_class
    FROM read_parquet('{root}/attempts/*/*.parquet', hive_partitioning = false)
    WHERE start_ns >= 1772323200000000000 AND start_ns < 1775001600000000000
),
sums AS (
    SELECT
        count(*) AS attempts,
        count(failure_class) AS failed_attempts,
        count(*) FILTER (WHERE is_final) AS calls,
        count(*) FILTER (WHERE is_final AND failure_class IS NOT NULL) AS failed_calls,
        count(*) FILTER (WHERE provider = 'openai' AND failure_class IS DISTINCT FROM 'provider.rate_limited')
            AS eligible,
        count(*) FILTER (WHERE provider = 'openai' AND http_status BETWEEN 500 AND 599) AS counted
    FROM attempts
),
lost AS (
    SELECT session_id, arg_min(row(provider, http_status, failure_class), start_ns) AS call
    FROM attempts
    WHERE is_final AND failure_class IS NOT NULL
    GROUP BY session_id
),
tasks AS (
    SELECT session_id, outcome_inferred = 'failure' AS is_failed, stop_reason
    FROM read_parquet('{root}/tasks/*/*.parquet', hive_partitioning = false)
),
losses AS (
    SELECT
        count(*) AS tasks,
        count(*) FILTER (WHERE is_failed) AS failed_tasks,
        count(*) FILTER (WHERE is_failed AND l.call[1] = 'openai' AND l.call[2] BETWEEN 500 AND 599)
            AS provider_counted,
        count(*) FILTER (WHERE is_failed AND l.call[3] = 'provider.rate_limited') AS rate_limit
    FROM tasks AS t
    LEFT JOIN lost AS l ON l.session_id = t.session_id
)
SELECT * FROM sums CROSS JOIN losses
