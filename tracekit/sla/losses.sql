-- Failed tasks, and of each the last attempt at the first model call it needed that failed for good.
-- Reads  sla_tasks, sla_failed. {keys} is the grouping, {where} a condition over the columns of tasks.
-- Makes  sla_lost (a row per failed task), sla_lost_calls (at most one row per failed task).

CREATE OR REPLACE TEMP TABLE sla_lost AS
SELECT {keys} session_id, task_id, stop_reason, stands_for,
    coalesce(input_tokens, 0) + coalesce(output_tokens, 0) AS tokens,
    cost_usd,
    unpriced_calls
FROM sla_tasks
WHERE outcome = 'failure' AND start_ns >= {from_ns} AND start_ns < {to_ns} AND {where};

-- For good: no attempt of the call succeeded, and no later call of the same agent for the same task did.
CREATE OR REPLACE TEMP TABLE sla_lost_calls AS
WITH lost AS (
    SELECT c.*
    FROM sla_failed AS c
    JOIN sla_lost AS t ON t.session_id = c.session_id AND t.task_id = c.task_id
    WHERE coalesce(c.essential, TRUE) AND NOT c.is_recovered
),
first_lost AS (
    SELECT session_id, task_id, agent_name, span_id, end_ns
    FROM lost
    QUALIFY row_number() OVER (PARTITION BY session_id, task_id ORDER BY start_ns, span_id) = 1
)
-- Its last attempt: what its agent called when it had failed was to make it good, and did not.
SELECT c.*
FROM lost AS c
JOIN first_lost AS f
    ON f.session_id = c.session_id
    AND f.task_id = c.task_id
    AND f.agent_name IS NOT DISTINCT FROM c.agent_name
WHERE c.span_id = f.span_id OR c.start_ns >= f.end_ns
QUALIFY row_number() OVER (
    PARTITION BY c.session_id, c.task_id ORDER BY c.start_ns DESC, c.span_id DESC
) = 1;

CREATE OR REPLACE TEMP TABLE sla_lost_classes (
    session_id VARCHAR, task_id VARCHAR, terms VARCHAR, class VARCHAR
);
