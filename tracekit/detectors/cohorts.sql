-- Which baseline holds for a session: that of the last day of its cohort before the one the session started on, UTC, if it is
-- not older than {window_days} days. What a session itself cost is never in its baseline. Of a session that a collector
-- decided, it is the one the collector had by the day of the decision.
-- Reads  detector_chosen, tasks, baselines.
-- Makes  detector_cohorts: a row per session; the medians are null where no baseline holds.
CREATE OR REPLACE TEMP TABLE detector_cohorts AS
WITH named AS (
    SELECT session_id, CASE WHEN min(task_name) = max(task_name) THEN min(task_name) ELSE '' END AS task_name
    FROM tasks
    GROUP BY session_id
),
cohorts AS (
    SELECT
        s.session_id,
        coalesce(s.agent_name, '') AS agent_name,
        coalesce(n.task_name, '') AS task_name,
        DATE '1970-01-01' + CAST(s.start_ns // 86400000000000 AS INTEGER) AS start_day,
        s.decided_ns // 86400000000000 AS decided_day
    FROM detector_chosen AS s
    LEFT JOIN named AS n ON s.session_id = n.session_id
),
days AS (
    SELECT c.agent_name, c.task_name, c.start_day, c.decided_day, max(b.day) AS day
    FROM (SELECT DISTINCT agent_name, task_name, start_day, decided_day FROM cohorts) AS c
    JOIN baselines AS b
        ON b.agent_name = c.agent_name AND b.task_name = c.task_name
        AND b.day < c.start_day AND b.day >= c.start_day - {window_days}
        AND (c.decided_day IS NULL OR b.frozen_ns // 86400000000000 <= c.decided_day)
    GROUP BY c.agent_name, c.task_name, c.start_day, c.decided_day
)
SELECT
    c.session_id, c.agent_name, c.task_name, d.day,
    b.median_cost_usd AS cohort_cost_median,
    b.median_tokens AS cohort_tokens_median,
    coalesce(b.n_priced, 0) AS n_priced,
    coalesce(b.n, 0) AS n
FROM cohorts AS c
LEFT JOIN days AS d
    ON c.agent_name = d.agent_name AND c.task_name = d.task_name AND c.start_day = d.start_day
    AND c.decided_day IS NOT DISTINCT FROM d.decided_day
LEFT JOIN baselines AS b ON b.agent_name = d.agent_name AND b.task_name = d.task_name AND b.day = d.day;
