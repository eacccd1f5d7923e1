-- Calls that failed for good, and whether a later one made them good. Made once per connection, which shows one version
-- of the lake.
-- Reads  sla_attempts.
-- Makes  sla_failed: the last attempts of these calls, with is_recovered.

CREATE OR REPLACE TEMP TABLE sla_failed AS
WITH failed AS (
    -- What the terms ask for, and no more: long columns of a whole month take their time.
    SELECT
        session_id, task_id, span_id, agent_name, provider, model, server_address, region,
        service_tier_requested, service_tier, http_status, error_type, failure_class, attempt, retry_wait_s,
        start_ns, end_ns, started_at, duration_s, essential, is_aborted, stands_for
    FROM sla_attempts
    WHERE failure_class IS NOT NULL AND is_final AND NOT is_aborted
),
failed_tasks AS (
    SELECT DISTINCT session_id, task_id FROM failed
),
-- A call that failed for good was made good by one that its agent made afterwards for the same task: a fallback, or
-- a retry nobody declared.
answered AS (
    SELECT a.session_id, a.task_id, a.agent_name, max(a.start_ns) AS last_ns
    FROM sla_attempts AS a
    JOIN failed_tasks AS t ON t.session_id = a.session_id AND t.task_id = a.task_id
    WHERE a.failure_class IS NULL
    GROUP BY a.session_id, a.task_id, a.agent_name
)
SELECT f.*, coalesce(s.last_ns >= f.end_ns, FALSE) AS is_recovered
FROM failed AS f
LEFT JOIN answered AS s
    ON s.session_id = f.session_id
    AND s.task_id = f.task_id
    AND s.agent_name IS NOT DISTINCT FROM f.agent_name
