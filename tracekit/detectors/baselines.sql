-- What a session of a cohort usually costs: medians over the sessions that ended in the {window_days} days up to a day.
-- Reads  sessions, tasks; baseline_days(first_day, end_day), days since 1970: those to make rows for, the last one excluded.
-- Makes  new_baselines.
--
-- A cohort is an agent with a task name (empty where the session names none, or several). Sessions count on the day they
-- ended, UTC: when that is over nothing changes them any more. The median of an even number is the lower one of the middle
-- two, so that it is the cost of a session and the same on every engine.
CREATE OR REPLACE TEMP TABLE new_baselines AS
WITH named AS (
    SELECT session_id, CASE WHEN min(task_name) = max(task_name) THEN min(task_name) ELSE '' END AS task_name
    FROM tasks
    GROUP BY session_id
),
ended AS (
    SELECT
        coalesce(s.agent_name, '') AS agent_name,
        coalesce(n.task_name, '') AS task_name,
        s.end_ns // 86400000000000 AS day,
        CASE WHEN s.unpriced_calls = 0 THEN s.cost_usd END AS cost_usd,
        CAST(s.input_tokens + s.output_tokens AS DOUBLE) AS tokens
    FROM sessions AS s
    LEFT JOIN named AS n ON s.session_id = n.session_id
    WHERE s.llm_calls > 0
),
-- Only days on which a session of the cohort ended: the row of the latest such day is good for the days after it.
days AS (
    SELECT DISTINCT e.agent_name, e.task_name, e.day
    FROM ended AS e
    JOIN baseline_days AS b ON e.day >= b.first_day AND e.day < b.end_day
),
windows AS (
    SELECT d.agent_name, d.task_name, d.day, e.cost_usd, e.tokens
    FROM days AS d
    JOIN ended AS e
        ON e.agent_name = d.agent_name AND e.task_name = d.task_name AND e.day <= d.day AND e.day > d.day - {window_days}
),
figures AS (
    SELECT agent_name, task_name, day, 'cost' AS kind, cost_usd AS figure FROM windows WHERE cost_usd IS NOT NULL
    UNION ALL
    SELECT agent_name, task_name, day, 'tokens', tokens FROM windows WHERE tokens IS NOT NULL
),
ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY agent_name, task_name, day, kind ORDER BY figure) AS place,
        count(*) OVER (PARTITION BY agent_name, task_name, day, kind) AS n
    FROM figures
)
SELECT
    agent_name,
    task_name,
    DATE '1970-01-01' + CAST(day AS INTEGER) AS day,
    max(figure) FILTER (WHERE kind = 'cost' AND place = (n + 1) // 2) AS median_cost_usd,
    CAST(max(figure) FILTER (WHERE kind = 'tokens' AND place = (n + 1) // 2) AS BIGINT) AS median_tokens,
    coalesce(max(n) FILTER (WHERE kind = 'cost'), 0) AS n_priced,
    max(n) AS n
FROM ranked
GROUP BY agent_name, task_name, day;
